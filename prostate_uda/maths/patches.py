"""Floor 1: patches of a label by what their four quarters hold, and clusters of such patches."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.maths.losses import IGNORE

QUARTERS = 2
"""Cells along each side of a patch that have a histogram of their own."""
DIGITS = 5
"""Decimals by which histograms differ: beyond it is round-off."""


def patch_histograms(label: Tensor, classes: int, grid: int) -> tuple[Tensor, Tensor]:
    """Which share of each quarter of each patch is which class: what a patch looks like in a label.

    Source: Tsai et al., Domain Adaptation for Structured Output via Discriminative Patch Representations, ICCV 2019.

    Args:
        label: ``(B, H, W)`` int64, IGNORE where there is none.
        classes: C.
        grid: Patches along each side, which share the image as ``adaptive_avg_pool2d`` does.

    Returns:
        ``(B, grid, grid, 4 C)`` float32 shares of the labelled pixels, and ``(B, grid, grid)`` bool, False where a
        quarter has no labelled pixel.
    """
    member = torch.arange(classes, device=label.device)[:, None, None] == label.unsqueeze(1)
    shares = functional.adaptive_avg_pool2d(member.float(), QUARTERS * grid)
    known = functional.adaptive_avg_pool2d((label != IGNORE).unsqueeze(1).float(), QUARTERS * grid)
    shares = shares / known.clamp_min(torch.finfo(known.dtype).tiny)
    quarters = functional.pixel_unshuffle(shares, QUARTERS).permute(0, 2, 3, 1)
    return quarters, functional.pixel_unshuffle(known, QUARTERS).gt(0).all(dim=1)


def thinned(parts: Iterable[Tensor], most: int) -> Tensor:
    """All rows one after another, or evenly every second, fourth, ... of them, so that ``most`` are never exceeded.

    Args:
        parts: At least one tensor ``(n, F)``; they are not held together before they are thinned.
        most: At least 1.
    """
    kept: list[Tensor] = []
    stride, seen = 1, 0
    for rows in parts:
        kept.append(rows[-seen % stride :: stride])
        seen += len(rows)
        while sum(map(len, kept)) > most:
            kept, stride = [torch.cat(kept)[::2]], 2 * stride
    return torch.cat(kept)


def cluster_centers(patches: Tensor, clusters: int) -> Tensor:
    """K-means: the centers of groups of patches, the same ones for the same patches in the same order.

    Args:
        patches: ``(N, F)``, at least one.
        clusters: K; as many as there are different patches, where these are fewer.

    Returns:
        ``(K, F)`` float32 on the CPU.
    """
    from sklearn.cluster import KMeans  # here: other methods need not wait for it

    rows = patches.detach().cpu().double().numpy().round(DIGITS)
    different = np.unique(rows, axis=0)
    if len(different) <= clusters:
        return torch.from_numpy(different).float()
    found = KMeans(clusters, n_init=1, random_state=0).fit(rows)
    return torch.from_numpy(np.asarray(found.cluster_centers_)).float()


def nearest_center(patches: Tensor, known: Tensor, centers: Tensor) -> Tensor:
    """``(B, g, g)`` int64: which cluster each patch is of, IGNORE where it is not known.

    Args:
        patches: ``(B, g, g, F)``.
        known: ``(B, g, g)`` bool.
        centers: ``(K, F)``, fewer than IGNORE.
    """
    distances = torch.cdist(patches.flatten(0, 2), centers, compute_mode="donot_use_mm_for_euclid_dist")
    place = distances.argmin(dim=1).view(known.shape)
    return torch.where(known, place, torch.full_like(place, IGNORE))
