"""Floor 2: intensity normalization by statistics of one volume, MONAI dictionary transforms on the key ``image``.

MR intensities have no unit: each normalization decides what two scanners have in common. All see one volume at a
time, so training and inference repeat each other exactly. Statistics are of the body: voxels above 0, or above the
volume's minimum where that is negative. The air that scanners fill with zeros says nothing about tissue; it is moved
with the rest, and so stays dark.
"""

from collections.abc import Hashable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from monai.transforms import Identityd
from monai.transforms.transform import MapTransform, Transform
from torch import Tensor

from prostate_uda.errors import DataError
from prostate_uda.transforms.body import check_numbers

KEY = "image"
LOWER, UPPER = 0.5, 99.5
"""Percentiles that intensities are clipped to: a coil's hot spot and a few dark voxels should not set the scale."""

TINY = 1e-8


class NormalizeBodyd(MapTransform):  # type: ignore[misc]  # MONAI ships no types
    """Clips intensities to percentiles of the body, then moves and scales them by statistics of the body.

    Args:
        mode: ``"zscore"`` for zero mean and unit variance, ``"minmax"`` for the percentiles at 0 and 1.
        keys: Of the images, each ``(1, X, Y, Z)``; a MetaTensor keeps its affine and its history.
    """

    def __init__(self, mode: Literal["zscore", "minmax"], keys: str = KEY) -> None:
        super().__init__(keys)
        self.mode = mode

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same entry with normalized images, float32.

        Raises:
            ShapeError: An image without a voxel.
            DataError: A voxel is NaN or infinite, or all are one number that is not above 0.
        """
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self._normalized(out[key])
        return out

    def _normalized(self, image: Tensor) -> Tensor:
        check_numbers(image)
        image = image.float()
        low, high = body_percentiles(image)
        clipped = image.clamp(low, high)
        if self.mode == "minmax":
            return (clipped - low) / max(high - low, TINY)
        body = torch.as_tensor(clipped).as_subclass(Tensor)[_body(image)].double()
        mean, deviation = float(body.mean()), float(body.std(correction=0))
        return (clipped - mean) / max(deviation, TINY)


def body_percentiles(image: Tensor) -> tuple[float, float]:
    """The values that ``LOWER`` and ``UPPER`` per cent of the body's voxels lie below.

    Args:
        image: Any shape, not constant.

    Returns:
        The two percentiles; the image's extremes where they coincide.

    Raises:
        DataError: Every voxel is the same number, and that is not above 0.
    """
    body = torch.as_tensor(image).as_subclass(Tensor)[_body(image)]
    if not body.numel():
        raise DataError(f"every voxel is {float(image.min()):g}; an image with contrast is needed")
    low, high = np.percentile(body.numpy(), (LOWER, UPPER))
    return (float(low), float(high)) if high > low else (float(image.min()), float(image.max()))


def _body(image: Tensor) -> Tensor:
    plain = torch.as_tensor(image).as_subclass(Tensor)
    return plain > min(0.0, float(plain.min()))


def no_normalization() -> Transform:
    """Intensities as they are."""
    return Identityd(KEY)


def zscore() -> Transform:
    """Clip to the percentiles, then zero mean and unit variance over the body."""
    return NormalizeBodyd("zscore")


def minmax() -> Transform:
    """The percentiles to 0 and 1, clipped beyond."""
    return NormalizeBodyd("minmax")
