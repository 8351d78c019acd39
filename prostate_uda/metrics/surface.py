"""Floor 1: how far two surfaces are apart, in millimetres.

The surface of a mask is its voxels with a face towards the background or the edge of the array; distances run
between voxel centres. These are the definitions of MONAI's metrics, so numbers can be compared.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from prostate_uda.errors import SettingsError
from prostate_uda.metrics.overlap import check_masks


def hd95(pred: Tensor, truth: Tensor, spacing_mm: Sequence[float]) -> Tensor:
    """The larger of the two directed 95th percentiles of surface distances, in millimetres.

    Args:
        pred: ``(D, H, W)`` boolean mask (any number of axes is accepted).
        truth: Boolean mask of the same shape.
        spacing_mm: Voxel size along each axis, in the order of the mask's axes; no default, because 1 mm is a
            guess.

    Returns:
        A float64 scalar on the CPU; ``inf`` where exactly one mask is empty, NaN where both are.

    Raises:
        ShapeError: The masks are not boolean or differ in shape.
        SettingsError: ``spacing_mm`` is not one positive number for each axis.
    """
    there, back = _surface_distances(pred, truth, spacing_mm)
    if there.size == 0 or back.size == 0:
        return _empty_answer(pred, truth)
    return torch.tensor(max(np.quantile(there, 0.95), np.quantile(back, 0.95)), dtype=torch.float64)


def assd(pred: Tensor, truth: Tensor, spacing_mm: Sequence[float]) -> Tensor:
    """Average symmetric surface distance: the mean over both surfaces' voxels together, in millimetres.

    Args:
        pred: ``(D, H, W)`` boolean mask (any number of axes is accepted).
        truth: Boolean mask of the same shape.
        spacing_mm: Voxel size along each axis, in the order of the mask's axes; no default, because 1 mm is a
            guess.

    Returns:
        A float64 scalar on the CPU; ``inf`` where exactly one mask is empty, NaN where both are.

    Raises:
        ShapeError: The masks are not boolean or differ in shape.
        SettingsError: ``spacing_mm`` is not one positive number for each axis.
    """
    there, back = _surface_distances(pred, truth, spacing_mm)
    if there.size == 0 or back.size == 0:
        return _empty_answer(pred, truth)
    return torch.tensor(np.concatenate([there, back]).mean(), dtype=torch.float64)


def check_spacing(spacing_mm: Sequence[float], axes: int) -> None:
    """Refuse a spacing that is not one positive, finite number of millimetres for each axis.

    Raises:
        SettingsError: As said.
    """
    if len(spacing_mm) != axes or not all(0 < step < math.inf for step in spacing_mm):
        raise SettingsError(
            f"spacing {tuple(spacing_mm)} mm for a mask with {axes} axes; "
            "one positive number per axis is allowed; take Grid.spacing of the image"
        )


def _surface_distances(
    pred: Tensor, truth: Tensor, spacing_mm: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances from every surface voxel to the other surface, both ways; empty where a mask is empty."""
    check_masks(pred, truth)
    check_spacing(spacing_mm, pred.ndim)
    masks = pred.cpu().numpy(), truth.cpu().numpy()
    if not (masks[0].any() and masks[1].any()):
        return np.empty(0), np.empty(0)
    # Distances between the surfaces do not change in the common bounding box; the transform has less to do.
    box = ndimage.find_objects((masks[0] | masks[1]).astype(np.uint8))[0]
    first, second = (mask[box] & ~ndimage.binary_erosion(mask[box]) for mask in masks)
    to_first, to_second = (
        ndimage.distance_transform_edt(~edge, sampling=tuple(spacing_mm)) for edge in (first, second)
    )
    return to_second[first], to_first[second]


def _empty_answer(pred: Tensor, truth: Tensor) -> Tensor:
    both = not (pred.any() or truth.any())
    return torch.tensor(torch.nan if both else torch.inf, dtype=torch.float64)
