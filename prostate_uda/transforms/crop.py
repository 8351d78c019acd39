"""Floor 2: crop to the gland's region, in millimetres, and back."""

from collections.abc import Hashable, Mapping, Sequence
from math import ceil, isinf
from typing import Any, TypeAlias

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Crop, InvertibleTransform, MapTransform
from torch import Tensor

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.maths.losses import IGNORE

Millimetres: TypeAlias = float | Sequence[float]
"""One length for all axes or one each; ``inf`` leaves an axis whole."""


class CropGlandRegion(Crop):  # type: ignore[misc]  # MONAI ships no types
    """Crops to the gland with a margin where its label is known, to a region around the middle where it is not.

    A crop never reaches beyond the image, is never narrower than a voxel and never cuts a voxel of the gland. It is
    undone by ``inverse``, which pads with zeros.

    Args:
        margin_mm: Beyond the label's bounding box, to each side.
        region_mm: Whole width of the region where there is no label, or none of the gland in it.

    Raises:
        SettingsError: a margin below 0 or a region that is not above 0.
    """

    def __init__(self, margin_mm: Millimetres, region_mm: Millimetres) -> None:
        super().__init__()
        self.margin_mm, self.region_mm = _lengths(margin_mm), _lengths(region_mm)
        if not (all(length >= 0 for length in self.margin_mm) and all(length > 0 for length in self.region_mm)):
            raise SettingsError(
                f"margin {margin_mm} mm, region {region_mm} mm; allowed are margins ≥ 0 and regions > 0"
            )

    def __call__(self, img: MetaTensor, label: Tensor | None = None) -> MetaTensor:
        """The image's part.

        Args:
            img: ``(C, X, Y, Z)`` with an affine, which is where the voxel's size comes from.
            label: ``(1, X, Y, Z)`` on the same grid: the gland is what is neither 0 nor IGNORE.

        Returns:
            ``(C, x, y, z)``, its affine moved along.

        Raises:
            ShapeError: an image without an affine or a label of another shape.
        """
        return super().__call__(img, self.box(img, label))

    def box(self, img: MetaTensor, label: Tensor | None = None) -> tuple[slice, ...]:
        """The part of the spatial axes that is kept; see :meth:`__call__`."""
        if not isinstance(img, MetaTensor) or img.ndim != 4:
            raise ShapeError(
                f"{type(img).__name__} of shape {tuple(img.shape)}; allowed is a MetaTensor (C, X, Y, Z) with an affine"
            )
        sides, voxel = img.shape[1:], [float(size) for size in img.pixdim]
        spans = None if label is None else _gland_spans(label, sides)
        if spans is not None:
            margins = [_voxels(length, size) for length, size in zip(self.margin_mm, voxel, strict=True)]
            wide = [(first - more, last + 1 + more) for (first, last), more in zip(spans, margins, strict=True)]
        else:
            widths = [max(_voxels(length, size), 1) for length, size in zip(self.region_mm, voxel, strict=True)]
            starts = [(side - width) // 2 for side, width in zip(sides, widths, strict=True)]
            wide = [(start, start + width) for start, width in zip(starts, widths, strict=True)]
        return tuple(slice(max(low, 0), min(high, side)) for (low, high), side in zip(wide, sides, strict=True))


def _lengths(given: Millimetres) -> tuple[float, ...]:
    lengths = tuple(given) if isinstance(given, Sequence) else (given,) * 3
    if len(lengths) != 3:
        raise SettingsError(f"lengths {given} mm; allowed are one number or three")
    return lengths


def _voxels(length_mm: float, size_mm: float) -> int:
    """Voxels that cover a length; a huge number for an axis that stays whole."""
    return 2**30 if isinf(length_mm) else ceil(length_mm / size_mm - 1e-6)


def _gland_spans(label: Tensor, sides: Sequence[int]) -> list[tuple[int, int]] | None:
    """First and last voxel of the gland along each axis; ``None`` where there is none."""
    if tuple(label.shape) != (1, *sides):
        raise ShapeError(
            f"label of shape {tuple(label.shape)} for an image of {tuple(sides)}; allowed is the same grid"
        )
    plain = torch.as_tensor(label).as_subclass(Tensor)[0]
    places = torch.nonzero((plain != 0) & (plain != IGNORE))
    if not len(places):
        return None
    return list(zip(places.amin(0).tolist(), places.amax(0).tolist(), strict=True))


class CropGlandRegiond(MapTransform, InvertibleTransform):  # type: ignore[misc]
    """Dictionary version of :class:`CropGlandRegion`: one box for all keys, found in the label where there is one.

    Args:
        keys: Of what is cropped, images and labels of one grid.
        margin_mm: As the array version.
        region_mm: As the array version.
        label_key: Of the label that is looked for; an entry without it is cropped around its middle.
        allow_missing_keys: Whether an entry may lack a key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        margin_mm: Millimetres,
        region_mm: Millimetres,
        label_key: str = "label",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.crop = CropGlandRegion(margin_mm, region_mm)
        self.label_key = label_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same entry, its images and labels cropped."""
        out, label = dict(data), data.get(self.label_key)
        for key in self.key_iterator(dict(data)):
            out[key] = self.crop(data[key], label)
        return out

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same entry, its images and labels padded with zeros to the grid they came from."""
        return {**data, **{key: self.crop.inverse(data[key]) for key in self.key_iterator(dict(data))}}
