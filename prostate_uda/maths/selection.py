"""Floor 1: which pixels take part, as pseudo-label or as meta data."""

import math

import torch
from torch import Tensor

from prostate_uda.maths.losses import IGNORE


def confident_labels(probs: Tensor, threshold: float) -> Tensor:
    """Hard pseudo-labels ``argmax p``, IGNORE where ``max p < threshold``.

    Source: threshold self-training, "Threshold" row of table 4 in Guo et al. 2021. ``threshold = 0`` keeps all.

    Args:
        probs: ``(C, ...)`` probabilities over the first axis.
        threshold: in [0, 1].

    Returns:
        uint8 labels of shape ``(...)``.
    """
    confidence, label = probs.max(dim=0)
    return torch.where(confidence >= threshold, label, torch.full_like(label, IGNORE)).to(torch.uint8)


def target_like(probability: Tensor, label: Tensor, threshold: float, minimum_share: float) -> Tensor:
    """The meta labels: source labels on the pixels that look as if they came from the target.

    A pixel is kept where the domain predictor gives it ``p(target) ≥ threshold`` (Guo et al. 2021, "domain-invariant
    source pixels"). A good predictor may find none; then the ``minimum_share`` most target-like labelled pixels are
    taken, so that the mean over the meta set is never a mean over nothing.

    Args:
        probability: ``(B, H, W)`` p(target), at full label resolution.
        label: ``(B, H, W)`` int64 source labels; IGNORE stays IGNORE.
        threshold: τ in [0, 1].
        minimum_share: in [0, 1]; share of the batch's labelled pixels that is always kept.

    Returns:
        ``(B, H, W)`` int64.
    """
    known = label != IGNORE
    keep = known & (probability >= threshold)
    wanted = math.ceil(minimum_share * int(known.sum()))  # rounded up: a small share of few pixels is still one
    if int(keep.sum()) < wanted:
        ranked = torch.where(known, probability, torch.full_like(probability, -torch.inf)).flatten()
        chosen = torch.zeros_like(ranked, dtype=torch.bool)
        chosen[ranked.topk(wanted).indices] = True
        keep = chosen.view_as(keep)
    return torch.where(keep, label, torch.full_like(label, IGNORE))
