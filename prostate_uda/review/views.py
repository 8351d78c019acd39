"""Floor 2, review: a volume turned to radiological convention and cropped around the gland, ready to be drawn."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours

from prostate_uda.errors import GeometryError, ShapeError

_PZ, _TZ = 1, 2
_MARGIN_MM = 12.0
_HEADROOM = 1.3  # white is this much above the gland's own brightest
_WORTH_SEEING = 0.2  # of the largest slice's gland area: the last millimetres of apex and base say little


@dataclass(frozen=True)
class View:
    """A volume turned to LPS and cropped in plane to a square around everything labelled.

    Attributes:
        image: ``(X, Y, Z)`` grey values; indices grow to the patient's left, back and head.
        labels: Name to ``(X, Y, Z)`` labels.
        spacing: Millimetres along X, Y, Z.
        gland: ``(Z,)`` labelled voxels in each slice, over the labels that are cropped around.
        window: Grey values shown black and white.
    """

    image: NDArray[Any]
    labels: Mapping[str, NDArray[Any]]
    spacing: tuple[float, float, float]
    gland: NDArray[Any]
    window: tuple[float, float]

    @classmethod
    def of(
        cls,
        image: NDArray[Any],
        labels: Mapping[str, NDArray[Any]],
        spacing_mm: Sequence[float],
        orientation: str,
        *,
        around: Collection[str] | None = None,
    ) -> Self:
        """Turn and crop.

        Args:
            image: ``(X, Y, Z)`` grey values, axes as stored.
            labels: Name to ``(X, Y, Z)`` integer labels, 1 = PZ, 2 = TZ, the rest background.
            spacing_mm: Voxel size along the stored axes.
            orientation: Where the stored axes point to (``"LPS"``), as ``nibabel.aff2axcodes`` says.
            around: Names of the labels that are cropped around and counted as gland; by default all.

        Raises:
            ShapeError: ``image`` has not three axes or a label has another shape.
            GeometryError: ``orientation`` or ``spacing_mm`` is not one of a volume.
        """
        _check(image, labels, spacing_mm, orientation)
        order, flips = _to_lps(orientation)
        across, down, up = (float(spacing_mm[axis]) for axis in order)
        turned = {name: np.transpose(label, order)[flips] for name, label in labels.items()}
        gland = np.zeros([image.shape[axis] for axis in order], dtype=bool)
        for name in turned if around is None else around:
            gland |= prostate(turned[name])
        box = _square(np.asarray(gland.any(axis=2)), (across, down))
        crop = np.transpose(image, order)[flips][box]
        return cls(
            image=crop,
            labels={name: label[box] for name, label in turned.items()},
            spacing=(across, down, up),
            gland=gland.sum(axis=(0, 1)),
            window=_window(crop, gland[box]),
        )

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height of a slice."""
        return self.image.shape[0] * self.spacing[0], self.image.shape[1] * self.spacing[1]

    def spread(self, count: int) -> list[int]:
        """At most ``count`` slices, evenly through the part of the gland worth seeing, the superior one first.

        Without any label they go through the middle half of the volume.
        """
        depth = self.gland.size
        worth = np.flatnonzero(self.gland >= max(1.0, _WORTH_SEEING * self.gland.max()))
        if worth.size == 0:
            worth = np.arange(depth // 4, depth - depth // 4)
        if worth.size > count:
            middles = (np.arange(count) + 0.5) * worth.size / count - 0.5
            worth = worth[np.round(middles).astype(int)]
        return [int(index) for index in worth[::-1]]

    def outlines(self, mask: NDArray[Any]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Closed curves around a ``(X, Y)`` mask, as millimetres across and down from the crop's corner."""
        for curve in find_contours(np.pad(mask, 1).astype(np.float64), 0.5):
            yield (curve[:, 0] - 0.5) * self.spacing[0], (curve[:, 1] - 0.5) * self.spacing[1]


def prostate(label: NDArray[Any]) -> NDArray[np.bool_]:
    """PZ ∪ TZ of a label array of any shape."""
    return np.asarray((label == _PZ) | (label == _TZ))


def transition_zone(label: NDArray[Any]) -> NDArray[np.bool_]:
    """TZ of a label array of any shape."""
    return np.asarray(label == _TZ)


def _window(image: NDArray[Any], gland: NDArray[np.bool_]) -> tuple[float, float]:
    """Grey values for black and white: the crop's, but a full bladder does not push the gland into the dark."""
    low, high = (float(value) for value in np.percentile(image, (1, 99)))
    if gland.any():
        high = min(high, low + _HEADROOM * (float(np.percentile(image[gland], 99)) - low))
    return low, high


def _square(occupied: NDArray[Any], spacing: tuple[float, float]) -> tuple[slice, slice]:
    """Index ranges of a square in millimetres around what is occupied, pushed inside the image.

    Args:
        occupied: ``(X, Y)`` mask; nothing occupied gives the whole image.
        spacing: Millimetres along X and Y.
    """
    if not occupied.any():
        return slice(None), slice(None)
    where = np.nonzero(occupied)
    extent = [(int(index.min()), int(index.max()) + 1) for index in where]
    sides = [(last - first) * step for (first, last), step in zip(extent, spacing, strict=True)]
    side = max(sides) + 2 * _MARGIN_MM
    first, second = (
        _pushed_inside((low + high) / 2, math.ceil(side / step), size)
        for (low, high), step, size in zip(extent, spacing, occupied.shape, strict=True)
    )
    return first, second


def _pushed_inside(centre: float, length: int, size: int) -> slice:
    start = max(0, min(round(centre - length / 2), size - length))
    return slice(start, min(start + length, size))


def _to_lps(orientation: str) -> tuple[tuple[int, ...], tuple[slice, ...]]:
    """Axis order and flips that bring an array to L, P, S."""
    places = [next(axis for axis, code in enumerate(orientation) if code in pair) for pair in ("LR", "PA", "SI")]
    flips = [slice(None, None, 1 if orientation[axis] in "LPS" else -1) for axis in places]
    return tuple(places), tuple(flips)


def _check(
    image: NDArray[Any], labels: Mapping[str, NDArray[Any]], spacing_mm: Sequence[float], orientation: str
) -> None:
    if image.ndim != 3 or image.size == 0:
        raise ShapeError(f"an image of shape {image.shape}; (X, Y, Z) is allowed; pick one channel first")
    for name, label in labels.items():
        if label.shape != image.shape:
            raise ShapeError(
                f"label {name!r} of shape {label.shape} on an image of shape {image.shape}; equal shapes are "
                "allowed; bring the label onto the image's grid first"
            )
    axes = sorted("LPS"["RAI".index(code)] if code in "RAI" else code for code in orientation)
    if axes != ["L", "P", "S"]:
        raise GeometryError(
            f"orientation {orientation!r}; one letter of each of L/R, P/A, S/I is allowed; "
            "take nibabel.aff2axcodes(affine)"
        )
    if len(spacing_mm) != 3 or not all(0 < step < math.inf for step in spacing_mm):
        raise GeometryError(f"spacing {tuple(spacing_mm)} mm; three positive numbers are allowed; see the affine")
