"""Floor 1: how unlike the scans of a training set a scan is, by its grey values after normalization."""

from collections.abc import Sequence
from statistics import median

import torch
from torch import Tensor

from prostate_uda.errors import ShapeError

LEVELS = tuple(0.02 + 0.04 * step for step in range(25))
"""Quantiles that describe a scan: 2 %, 6 % … 98 %."""

MARGIN = 2.0
"""A scan is unlike where it is this many times further away than the median training scan."""


def profile(image: Tensor) -> Tensor:
    """``(25,)`` quantiles of a scan's normalized grey values, see :data:`LEVELS`.

    Args:
        image: Of any shape.
    """
    flat = image.flatten().double()
    step = max(1, flat.numel() // 1_000_000)
    return torch.quantile(flat[::step], torch.tensor(LEVELS, dtype=torch.float64))


def distance(one: Tensor, other: Tensor) -> float:
    """Wasserstein-1 distance of two distributions by their quantiles, in normalized grey values.

    Args:
        one: ``(Q,)``.
        other: ``(Q,)``.

    Raises:
        ShapeError: they have other lengths.
    """
    if one.shape != other.shape:
        raise ShapeError(f"{len(one)} quantiles beside {len(other)}; equally many are needed")
    return float((one.double() - other.double()).abs().mean())


def typical(profiles: Sequence[Tensor]) -> tuple[Tensor, float]:
    """The mean profile of a training set, and the distance from it up to which a scan counts as like it.

    Args:
        profiles: N ≥ 1 tensors ``(Q,)``.

    Returns:
        ``(Q,)``, and :data:`MARGIN` times the median of their distances (each against the mean of the others): a few
        odd scans in the set do not widen it.

    Raises:
        ShapeError: there is none.
    """
    if not profiles:
        raise ShapeError("no profile; a training set has one scan at least")
    stacked = torch.stack(list(profiles))
    total, count = stacked.sum(dim=0), len(profiles)
    alone = [distance(one, (total - one) / (count - 1)) for one in profiles] if count > 1 else [0.0]
    return total / count, MARGIN * median(alone)
