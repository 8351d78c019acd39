"""Floor 1: pseudo-labels weighed by how far two heads agree."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.errors import ShapeError
from prostate_uda.maths.losses import masked_nll, widened


def divergence(logits: Tensor, other: Tensor) -> Tensor:
    """``KL(p ‖ q) = Σ_c p_c (log p_c - log q_c)`` per pixel: 0 where two heads agree, without bound where not.

    Args:
        logits: ``(B, C, H, W)`` of p.
        other: ``(B, C, H, W)`` of q.

    Returns:
        ``(B, H, W)``, float32 at least.

    Raises:
        ShapeError: the two have other shapes.
    """
    if logits.shape != other.shape:
        raise ShapeError(
            f"logits of shape {tuple(logits.shape)} beside {tuple(other.shape)}; allowed are two heads of one shape"
        )
    log_p, log_q = (functional.log_softmax(widened(z), dim=1) for z in (logits, other))
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


def disagreement(levels: Sequence[Tensor]) -> Tensor:
    """Jensen-Shannon divergence of heads, ``[H(mean_l p_l) - mean_l H(p_l)] / log L``: 0 where all agree, at most 1.

    Source: Lin, Divergence measures based on the Shannon entropy, 1991, equation 5.2 with equal weights.

    Args:
        levels: L ≥ 2 tensors ``(C, ...)`` of logits.

    Returns:
        ``(...)``, float32 at least.

    Raises:
        ShapeError: fewer than two heads, or of other shapes.
    """
    shapes = {tuple(logits.shape) for logits in levels}
    if len(levels) < 2 or len(shapes) > 1:
        raise ShapeError(f"{len(levels)} heads of shapes {sorted(shapes)}; two or more of one shape are needed")
    logs = torch.stack([functional.log_softmax(widened(logits), dim=0) for logits in levels])
    mixed = torch.logsumexp(logs, dim=0) - math.log(len(levels))
    own = -(logs.exp() * logs).sum(dim=1).mean(dim=0)
    return ((-(mixed.exp() * mixed).sum(dim=0) - own) / math.log(len(levels))).clamp_min(0)


def rectified_nll(logits: Tensor, other: Tensor, pseudo_label: Tensor, count: Tensor | None = None) -> Tensor:
    """``mean [exp(-V) CE(p, ŷ) + V]`` over the labelled pixels, V = KL(p ‖ q): doubted labels teach less.

    The second V keeps the heads from disagreeing everywhere, which would silence every label. Slopes reach both heads.

    Source: Zheng and Yang, IJCV 2021, the rectified pseudo-label loss.

    Args:
        logits: ``(B, C, H, W)`` of the head that is taught.
        other: ``(B, C, H, W)`` of the head that it is compared with.
        pseudo_label: ``(B, H, W)`` int64, IGNORE where there is none.
        count: As in :func:`prostate_uda.maths.losses.masked_nll`.

    Raises:
        ShapeError: the two heads have other shapes, or the label is not of their pixels.
    """
    doubt = divergence(logits, other).unsqueeze(1)
    log_probs = functional.log_softmax(widened(logits), dim=1)
    return masked_nll(torch.exp(-doubt) * log_probs - doubt, pseudo_label, count)
