"""Floor 2: what the intensity transforms share: the body, the working grid, one volume at a time.

Arrays are ``(X, Y, Z)`` float32 with the two in-plane axes first. Nothing here depends on the number of threads.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from torch import Tensor
from torch.nn import functional

from prostate_uda.errors import DataError, ShapeError

Array: TypeAlias = NDArray[np.float32]
Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]
Spacing: TypeAlias = tuple[float, float, float]

BODY_SHARE = 0.15
"""Tissue is brighter than this share of the median of the image's bright half: between muscle and the noise in air."""

BLUR_MM = 1.0
FLOOR = 1e-3


def plain(image: Tensor) -> Tensor:
    """The numbers of a MetaTensor as a float32 tensor, the same memory where it is float32 already."""
    return torch.as_tensor(image).as_subclass(Tensor).detach().to(torch.float32)


def spacings_mm(image: Tensor) -> Iterator[Spacing]:
    """Voxel size of each volume of ``(..., X, Y, Z)`` by a MetaTensor's affine; 1 mm where there is no affine."""
    count = int(np.prod(image.shape[:-3]))
    if not isinstance(image, MetaTensor):
        yield from [(1.0, 1.0, 1.0)] * count
        return
    affines = np.asarray(image.affine, dtype=np.float64).reshape(-1, 4, 4)
    for affine in np.repeat(affines, count // len(affines), axis=0):
        x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
        yield float(x), float(y), float(z)


def check_volume(image: Tensor) -> None:
    """Refuse what is not ``(C, X, Y, Z)``, or a batch of such.

    Raises:
        ShapeError: Another number of axes, or an empty one.
        DataError: A voxel is NaN or infinite.
    """
    if image.ndim not in (4, 5) or 0 in image.shape:
        raise ShapeError(f"an image of shape {tuple(image.shape)}; give (C, X, Y, Z), or a batch (B, C, X, Y, Z)")
    check_numbers(image)


def check_numbers(image: Tensor) -> None:
    """Refuse an image with nothing in it, or with voxels that are no numbers.

    Raises:
        ShapeError: There is no voxel.
        DataError: A voxel is NaN or infinite.
    """
    if not image.numel():
        raise ShapeError(f"an image of shape {tuple(image.shape)}; at least one voxel along each axis is needed")
    if not bool(torch.isfinite(plain(image)).all()):
        raise DataError("an image with voxels that are NaN or infinite; replace them before it is normalized")


def volumes(image: Tensor) -> Iterator[tuple[Array, Spacing]]:
    """Every ``(X, Y, Z)`` of ``(C, X, Y, Z)`` or ``(B, C, X, Y, Z)``, with its voxel size in mm.

    Raises:
        ShapeError: Another number of axes, or an empty one.
        DataError: A voxel is NaN or infinite.
    """
    check_volume(image)
    yield from zip(plain(image).cpu().reshape(-1, *image.shape[-3:]).numpy(), spacings_mm(image), strict=True)


def each_volume(image: Tensor, function: Callable[[Array, Spacing], Array]) -> Tensor:
    """``function`` of every volume by itself, stacked to a plain float32 tensor of the image's shape.

    Args:
        image: ``(C, X, Y, Z)`` or ``(B, C, X, Y, Z)``; a MetaTensor's affine gives the voxel size.
        function: From a volume ``(X, Y, Z)`` and its voxel size in mm to an array of the same shape.
    """
    results = [function(volume, spacing) for volume, spacing in volumes(image)]
    return torch.from_numpy(np.stack(results).astype(np.float32)).reshape(image.shape).to(image.device)


def like(numbers: Tensor, image: Tensor) -> Tensor:
    """New numbers in place of an image's: a MetaTensor with its affine, meta data and operations where it was one."""
    return MetaTensor(numbers).copy_meta_from(image) if isinstance(image, MetaTensor) else numbers


def tissue_percentiles(volume: Array, spacing: Spacing, percentiles: Sequence[float]) -> Floats:
    """Percentiles of the voxels of ``(X, Y, Z)`` that are tissue, one or more."""
    return np.asarray(np.percentile(volume[body_mask(volume, spacing)], percentiles), dtype=np.float64)


def body_mask(volume: Array, spacing: Spacing) -> Mask:
    """Where there is tissue: not the air around, in the bowel or in an endorectal balloon.

    The image is blurred a little, Otsu's threshold (1979) on its logarithm finds the bright half, and what reaches
    a fixed share of that half's median is body. A coil's hot spot moves neither.

    Args:
        volume: ``(X, Y, Z)``; a negative minimum is taken as zero signal.
        spacing: Voxel size in mm.

    Returns:
        ``(X, Y, Z)``, never empty.
    """
    smooth = ndimage.gaussian_filter(volume - min(0.0, float(volume.min())), _sigma(spacing))
    highest = float(smooth.max())
    if not highest > 0:
        return np.ones(volume.shape, dtype=np.bool_)
    sample = smooth[::2, ::2] if min(volume.shape[:2]) >= 128 else smooth
    logs = np.log(np.maximum(sample[sample > 0], highest * FLOOR))
    bright = np.exp(logs[logs > threshold_otsu(logs)] if logs.min() < logs.max() else logs)
    return np.asarray(smooth > BODY_SHARE * np.median(bright), dtype=np.bool_)


def _sigma(spacing: Spacing) -> tuple[float, float, float]:
    """In-plane blur in pixels."""
    return BLUR_MM / spacing[0], BLUR_MM / spacing[1], 0.0


def shrink_factor(shape: tuple[int, ...], spacing: Spacing, pixel_mm: float, fewest: int = 8) -> int:
    """How many pixels to average along each in-plane axis to come near ``pixel_mm``, ``fewest`` pixels at least."""
    wanted = round(pixel_mm / max(spacing[0], spacing[1]))
    return max(1, min(wanted, shape[0] // fewest, shape[1] // fewest))


def shrink(volume: Array, factor: int) -> Array:
    """Mean of blocks of ``factor × factor`` pixels; a border that fills no block is repeated until it does."""
    over = [(0, -size % factor) for size in volume.shape[:2]]
    x, y, z = (padded := np.pad(volume, [*over, (0, 0)], mode="edge")).shape
    blocks = padded.reshape(x // factor, factor, y // factor, factor, z)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float64), dtype=np.float32)


def stretch(field: Array, factor: int, shape: tuple[int, ...]) -> Array:
    """A smooth field from the grid of :func:`shrink` back to ``shape``, bilinear, block centres where they were."""
    slices = torch.from_numpy(np.ascontiguousarray(field.transpose(2, 0, 1)))[:, None]
    fine = functional.interpolate(slices, scale_factor=float(factor), mode="bilinear", align_corners=False)
    return np.ascontiguousarray(fine[:, 0, : shape[0], : shape[1]].numpy().transpose(1, 2, 0))
