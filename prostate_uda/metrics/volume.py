"""Floor 1: the volume of a mask in millilitres."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from prostate_uda.errors import ShapeError
from prostate_uda.metrics.surface import check_spacing

_MM3_PER_ML = 1000.0


def volume_ml(mask: Tensor, spacing_mm: Sequence[float]) -> float:
    """Volume of a mask: voxels times voxel size.

    Args:
        mask: ``(D, H, W)`` boolean mask (any number of axes is accepted).
        spacing_mm: Voxel size along each axis, in millimetres; no default, because 1 mm is a guess.

    Returns:
        Millilitres; 0 where the mask is empty.

    Raises:
        ShapeError: The mask is not boolean.
        SettingsError: ``spacing_mm`` is not one positive number for each axis.
    """
    if mask.dtype != torch.bool:
        raise ShapeError(f"a mask of type {mask.dtype}; boolean is allowed; compare first, as in labels == 1")
    check_spacing(spacing_mm, mask.ndim)
    return int(mask.sum()) * math.prod(spacing_mm) / _MM3_PER_ML
