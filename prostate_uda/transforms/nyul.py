"""Floor 2: intensity standardization by landmarks (Nyúl & Udupa, MRM 1999; Nyúl, Udupa & Zhang, IEEE TMI 2000).

Landmarks are percentiles of the body. Training averages them on a standard scale; an image is then mapped so that its
own landmarks fall on the standard ones, linearly between them and, with the slope of the end pieces, beyond.
"""

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Literal, TypeAlias
from uuid import uuid4

import numpy as np
import torch
from monai.config import KeysCollection
from numpy.typing import ArrayLike
from torch import Tensor

from prostate_uda.errors import DataError, SettingsError
from prostate_uda.transforms.body import Array, Floats, Spacing, each_volume, like, tissue_percentiles, volumes
from prostate_uda.transforms.correction import Correction, Correctiond, Fitted

PERCENTILES = (1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 99.0)
"""The deciles, and two ends inside the few voxels that are all noise or all hot spot."""

Outside: TypeAlias = Literal["extrapolate", "clip"]


@dataclass(frozen=True)
class Landmarks:
    """A standard scale.

    Attributes:
        percentiles: Of the body, increasing, in 0 to 100.
        values: Where they go, increasing; no unit.

    Raises:
        SettingsError: Fewer than two, of unequal number, not increasing, or not finite.
    """

    percentiles: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, numbers in (("percentiles", self.percentiles), ("values", self.values)):
            if not all(math.isfinite(n) for n in numbers) or not all(a < b for a, b in pairwise(numbers)):
                raise SettingsError(f"landmark {name} are {list(numbers)}; they must be finite and increase")
        if len(self.percentiles) < 2 or len(self.percentiles) != len(self.values):
            counts = f"{len(self.percentiles)} percentiles and {len(self.values)} values"
            raise SettingsError(f"landmarks of {counts}; give as many of one as of the other, two at least")
        if not 0 <= self.percentiles[0] < self.percentiles[-1] <= 100:
            raise SettingsError(f"landmark percentiles are {list(self.percentiles)}; they must lie in 0 to 100")

    def unit(self) -> "Landmarks":
        """The same scale moved and stretched to zero mean and unit variance of an image that is on it.

        Between two landmarks the voxels are taken as spread evenly, beyond the ends as lying on them.
        """
        share = np.diff([0.0, *self.percentiles, 100.0]) / 100
        ends = np.array([self.values[0], *self.values, self.values[-1]])
        low, high = ends[:-1], ends[1:]
        mean = float((share * (low + high)).sum() / 2)
        variance = float((share * (low * low + low * high + high * high)).sum() / 3) - mean * mean
        moved = (np.array(self.values) - mean) / math.sqrt(variance)
        return Landmarks(self.percentiles, tuple(float(value) for value in moved))


def learn_landmarks(
    images: Iterable[Tensor], percentiles: Sequence[float] = PERCENTILES, scale: tuple[float, float] = (0.0, 100.0)
) -> Landmarks:
    """Average the landmarks of images whose outer two are brought to the ends of one scale.

    The order of the images does not matter, to the last bit.

    Args:
        images: ``(C, X, Y, Z)`` each, one at least; every channel counts.
        percentiles: Of the body.
        scale: Values of the outer two landmarks.

    Raises:
        DataError: No image, or one whose outer landmarks coincide.
        SettingsError: Percentiles or a scale that do not increase.
    """
    low, high = scale
    checked = Landmarks(tuple(percentiles), tuple(np.linspace(low, high, len(percentiles)).tolist()))
    rows: list[Floats] = []
    for volume, spacing in chain.from_iterable(map(volumes, images)):
        marks = tissue_percentiles(volume, spacing, checked.percentiles)
        if not marks[-1] > marks[0]:
            raise DataError(f"image {len(rows) + 1} has one brightness in its body, {marks[0]:g}; leave it out")
        rows.append(low + (marks - marks[0]) * ((high - low) / (marks[-1] - marks[0])))
    if not rows:
        raise DataError("no image to learn landmarks from; give one at least")
    means = [math.fsum(column) / len(rows) for column in np.stack(rows).T.tolist()]
    inner = _increasing(means[1:-1], low, high)
    return Landmarks(checked.percentiles, (low, *inner, high))


def _increasing(values: Sequence[float], low: float, high: float) -> list[float]:
    """Values pushed apart by a millionth of the scale where all images tie, strictly between the ends."""
    step, count = (high - low) * 1e-6, len(values)
    out: list[float] = []
    for i, value in enumerate(values):
        least = (out[-1] if out else low) + step
        out.append(min(max(value, least), high - (count - i) * step))
    return out


def save_landmarks(landmarks: Landmarks, path: Path) -> None:
    """Write JSON, whole or not at all."""
    content = {"percentiles": list(landmarks.percentiles), "values": list(landmarks.values)}
    part = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(part, path)  # noqa: PTH105  says that it replaces
    finally:
        part.unlink(missing_ok=True)


def load_landmarks(path: Path) -> Landmarks:
    """Read what :func:`save_landmarks` wrote.

    Raises:
        DataError: The file is missing, no JSON, or holds no landmarks.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Landmarks(*(tuple(float(n) for n in content[name]) for name in ("percentiles", "values")))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; give a file of landmarks") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} holds no landmarks; it needs lists 'percentiles' and 'values' of numbers") from error
    except SettingsError as error:
        raise DataError(f"{path}: {error}") from error


def piecewise_linear(x: ArrayLike, knots: Floats, values: Floats, outside: Outside = "extrapolate") -> Floats:
    """Linear between knots; beyond them the slope of the end pieces, or the end values.

    Args:
        x: Any shape.
        knots: ``(n,)`` strictly increasing, n ≥ 2.
        values: ``(n,)``.
        outside: What to do beyond the knots.
    """
    x = np.asarray(x, dtype=np.float64)
    y = np.asarray(np.interp(x, knots, values), dtype=np.float64)
    if outside == "clip":
        return y
    first, last = ((values[i + 1] - values[i]) / (knots[i + 1] - knots[i]) for i in (0, len(knots) - 2))
    y = np.where(x < knots[0], values[0] + (x - knots[0]) * first, y)
    return np.asarray(np.where(x > knots[-1], values[-1] + (x - knots[-1]) * last, y), dtype=np.float64)


class NyulNormalize(Correction):
    """Maps an image so that its body's percentiles fall on the standard scale, strictly increasing.

    Landmarks of the image that coincide are one knot, at the mean of their standard values. Where all coincide, the
    image's extremes go to the ends of the scale.

    Args:
        landmarks: From :func:`learn_landmarks` or :func:`load_landmarks`.
        outside: Beyond the ends, go on with the slope of the end pieces, or clip, which cannot be undone.

    Raises:
        SettingsError: ``outside`` is neither.
    """

    def __init__(self, landmarks: Landmarks, outside: Outside = "extrapolate") -> None:
        if outside not in ("extrapolate", "clip"):
            raise SettingsError(f"outside is {outside!r}; choose extrapolate or clip")
        self.landmarks = landmarks
        self.outside: Outside = outside

    def fit(self, image: Tensor) -> Fitted:
        """Knots and values of each volume, ``(volumes, n)`` float64 padded with NaN.

        Raises:
            DataError: A volume is constant.
        """
        knots, values = [], []
        for volume, spacing in volumes(image):
            x, y = self._knots(volume, spacing)
            padding = np.full(len(self.landmarks.values) - len(x), np.nan)
            knots.append(np.concatenate([x, padding]))
            values.append(np.concatenate([y, padding]))
        return {"knots": torch.from_numpy(np.stack(knots)), "values": torch.from_numpy(np.stack(values))}

    def _knots(self, volume: Array, spacing: Spacing) -> tuple[Floats, Floats]:
        standard = np.array(self.landmarks.values)
        marks = tissue_percentiles(volume, spacing, self.landmarks.percentiles)
        knots, group = np.unique(marks, return_inverse=True)
        if len(knots) > 1:
            return knots, np.bincount(group, weights=standard) / np.bincount(group)
        extremes = np.array([volume.min(), volume.max()], dtype=np.float64)
        if extremes[0] == extremes[1]:
            raise DataError(f"every voxel is {extremes[0]:g}; an image with contrast is needed")
        return extremes, standard[[0, -1]]

    def apply(self, image: Tensor, fitted: Fitted) -> Tensor:
        """The image on the standard scale."""
        return _mapped(image, fitted["knots"], fitted["values"], self.outside)

    def undo(self, image: Tensor, fitted: Fitted) -> Tensor:
        """The image on its own scale.

        Raises:
            SettingsError: What was clipped is lost.
        """
        if self.outside == "clip":
            raise SettingsError("landmarks that clip cannot be undone; use outside='extrapolate'")
        return _mapped(image, fitted["values"], fitted["knots"], self.outside)


def _mapped(image: Tensor, knots: Tensor, values: Tensor, outside: Outside) -> Tensor:
    """Each volume through its own piecewise linear map; kind and meta data as the image's."""
    rows = iter(zip(knots.numpy(), values.numpy(), strict=True))

    def change(volume: Array, _: Spacing) -> Array:
        x, y = next(rows)
        known = np.isfinite(x)
        return piecewise_linear(volume, x[known], y[known], outside).astype(np.float32)

    return like(each_volume(image, change), image)


class NyulNormalized(Correctiond):
    """Dictionary version of :class:`NyulNormalize`.

    Args:
        keys: Of the images.
        landmarks: As in the array version, or the file that holds them.
        outside: Beyond the ends.
        invertible: Record the image's own landmarks, so that ``inverse`` maps back; see :class:`Correctiond`.
        allow_missing_keys: Pass over entries without a key.

    Raises:
        SettingsError: ``invertible`` with ``outside="clip"``.
        DataError: The file holds no landmarks.
    """

    def __init__(
        self,
        keys: KeysCollection,
        landmarks: Landmarks | Path,
        outside: Outside = "extrapolate",
        *,
        invertible: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        if invertible and outside == "clip":
            raise SettingsError("landmarks that clip cannot be undone; use outside='extrapolate'")
        known = landmarks if isinstance(landmarks, Landmarks) else load_landmarks(landmarks)
        nyul = NyulNormalize(known, outside)
        super().__init__(nyul, keys, invertible=invertible, allow_missing_keys=allow_missing_keys)
