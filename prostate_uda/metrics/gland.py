"""Floor 1: what a reader wants to know of a segmented prostate: volumes, extents, pieces."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from prostate_uda.metrics.volume import volume_ml

PIECE_ML = 0.05
"""Pieces below this volume are specks and not counted."""


def gland_measures(label: Tensor, spacing_mm: Sequence[float], *, slice_axis: int = 2) -> dict[str, float]:
    """Volumes in mL, the ratio of the zones, the gland's extents and its pieces.

    Args:
        label: ``(X, Y, Z)`` integer labels, 1 = PZ, 2 = TZ.
        spacing_mm: Voxel size along each axis.
        slice_axis: The axis along which slices lie.

    Returns:
        ``WP_mL``, ``PZ_mL``, ``TZ_mL``; ``TZ_PZ_ratio`` (NaN without PZ); ``ellipsoid_mL``, the volume a reader gets
        of three diameters, π/6 abc; ``slices``, how many hold gland; ``pieces``, connected pieces of at least
        :data:`PIECE_ML`, and ``second_mL``, the volume of the second largest.
    """
    whole = label > 0
    volumes = {"WP": volume_ml(whole, spacing_mm), "PZ": volume_ml(label == 1, spacing_mm)}
    volumes["TZ"] = volume_ml(label == 2, spacing_mm)
    pieces = sorted(_pieces_ml(whole, spacing_mm), reverse=True)
    other = tuple(axis for axis in range(3) if axis != slice_axis)
    return {
        **{f"{zone}_mL": volume for zone, volume in volumes.items()},
        "TZ_PZ_ratio": volumes["TZ"] / volumes["PZ"] if volumes["PZ"] > 0 else math.nan,
        "ellipsoid_mL": math.pi / 6 * math.prod(extents_mm(whole, spacing_mm)) / 1000,
        "slices": float(whole.any(dim=other[1]).any(dim=other[0]).sum()),
        "pieces": float(len(pieces)),
        "second_mL": pieces[1] if len(pieces) > 1 else 0.0,
    }


def extents_mm(mask: Tensor, spacing_mm: Sequence[float]) -> tuple[float, float, float]:
    """How far a mask reaches along each axis, in mm; 0 where it is empty.

    Args:
        mask: ``(X, Y, Z)`` boolean.
        spacing_mm: Voxel size along each axis.
    """
    if not bool(mask.any()):
        return 0.0, 0.0, 0.0
    where = torch.nonzero(mask)
    counts = (where.amax(dim=0) - where.amin(dim=0) + 1).tolist()
    x, y, z = (count * step for count, step in zip(counts, spacing_mm, strict=True))
    return x, y, z


def _pieces_ml(mask: Tensor, spacing_mm: Sequence[float]) -> list[float]:
    pieces, count = ndimage.label(mask.numpy(), structure=np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:] * math.prod(spacing_mm) / 1000
    return [float(size) for size in sizes if size >= PIECE_ML]
