"""Floor 1: noise transition matrices (NTM), ``q = p T`` with ``T[j, k] = p(pseudo = k | true = j)``.

Source: Guo et al., MetaCorrection, CVPR 2021 (loss correction and meta optimization); Patrini et al., Making Deep
Neural Networks Robust to Label Noise, CVPR 2017 (forward correction).
"""

import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.maths.losses import IGNORE, masked_nll, safe_log, widened

LEAST = 1e-3
"""Share of a counted NTM's entries at least: a slope by T is as large as one over it."""


def start(
    num_classes: int,
    epsilon: float,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> Tensor:
    """``(1 - ε)`` on the diagonal and ``ε / (C - 1)`` beside it: the NTM before anything is known.

    At ``T = I`` the gradient ``-p_j / p_k`` is unbounded; from here it is bounded by about ``(C - 1) / ε``.

    Returns:
        ``(C, C)`` row-stochastic.

    Raises:
        SettingsError: fewer than two classes, or ε outside [0, 1).
    """
    if num_classes < 2 or not 0 <= epsilon < 1:
        raise SettingsError(
            f"NTM of {num_classes} classes with epsilon {epsilon}; allowed are ≥ 2 classes and 0 ≤ epsilon < 1"
        )
    off = epsilon / (num_classes - 1)
    transition = torch.full((num_classes, num_classes), off, dtype=dtype, device=device)
    return transition.fill_diagonal_(1 - epsilon)


def confusion_counts(pseudo: Tensor, true: Tensor, num_classes: int) -> Tensor:
    """How many pixels of each true class carry which pseudo-label; counts can be added up.

    Args:
        pseudo: Integer labels of any shape; IGNORE is not counted.
        true: Likewise, of the same shape.
        num_classes: C.

    Returns:
        ``(C, C)`` int64, true by pseudo.
    """
    known = (pseudo != IGNORE) & (true != IGNORE)
    pairs = true[known].long() * num_classes + pseudo[known].long()
    return pairs.bincount(minlength=num_classes**2).view(num_classes, num_classes)


def from_counts(counts: Tensor) -> Tensor:
    """The NTM that was counted, every entry at least about :data:`LEAST`; a class that is nowhere keeps its labels.

    Source: Hendrycks et al., Using Trusted Data to Train Deep Networks on Labels Corrupted by Severe Noise, NeurIPS
    2018, equation 2, with hard labels.

    Args:
        counts: ``(C, C)`` from :func:`confusion_counts`.

    Returns:
        ``(C, C)`` float32, row-stochastic.
    """
    seen = counts.double() + torch.diag((counts.sum(dim=1) == 0).double()).to(counts.device)
    shares = seen / seen.sum(dim=1, keepdim=True) + LEAST
    return (shares / shares.sum(dim=1, keepdim=True)).float()


def correct(probs: Tensor, transition: Tensor) -> Tensor:
    """``q_k = Σ_j p_j T_jk``: the distribution of the *pseudo*-label that the clean prediction implies.

    Written as a 1×1 convolution, whose output is contiguous: a strided einsum cannot be differentiated twice. In
    float32 at least, also under autocast: bfloat16 would round every probability by up to 0.2 %.

    Args:
        probs: ``(B, C, H, W)`` probabilities of the true class.
        transition: ``(C, C)`` row-stochastic.

    Raises:
        ShapeError: the matrix is not ``(C, C)``.
    """
    classes = probs.shape[1]
    if transition.shape != (classes, classes):
        raise ShapeError(f"NTM of shape {tuple(transition.shape)}; allowed is {(classes, classes)}")
    probs, transition = widened(probs), widened(transition)
    with torch.autocast(probs.device.type, enabled=False):
        return functional.conv2d(probs, transition.t()[:, :, None, None])


def corrected_nll(logits: Tensor, transition: Tensor, pseudo_label: Tensor, count: Tensor | None = None) -> Tensor:
    """``-mean log [softmax(z) T]_ŷ`` over the labelled pixels: the loss-corrected self-training term.

    Args:
        logits: ``(B, C, H, W)``.
        transition: ``(C, C)`` row-stochastic.
        pseudo_label: ``(B, H, W)`` int64, IGNORE where there is none.
        count: As in :func:`prostate_uda.maths.losses.masked_nll`.
    """
    return masked_nll(safe_log(correct(functional.softmax(widened(logits), dim=1), transition)), pseudo_label, count)


def project_rows(matrix: Tensor) -> Tensor:
    """The nearest row-stochastic matrix (Euclidean, row by row).

    Source: Duchi et al., Efficient Projections onto the l1-Ball, ICML 2008, figure 1. The published script clamps
    at zero and divides by the row sum instead, which is undefined for a row without a positive entry.

    Args:
        matrix: ``(C, C)`` finite.
    """
    size = matrix.shape[-1]
    # A row's projection does not change when a constant is added to it; centring keeps the sums small.
    rows = matrix - matrix.amax(dim=-1, keepdim=True)
    ordered = rows.sort(dim=-1, descending=True).values
    excess = ordered.cumsum(dim=-1) - 1
    rank = torch.arange(1, size + 1, dtype=matrix.dtype, device=matrix.device)
    support = (ordered * rank > excess).sum(dim=-1, keepdim=True).clamp_min(1)
    threshold = excess.gather(-1, support - 1) / support
    projected = (rows - threshold).clamp_min(0)
    return projected / projected.sum(dim=-1, keepdim=True)


def descend(transition: Tensor, gradient: Tensor, rate: float) -> Tensor:
    """One projected step ``Π(T - γ G / max|G|)``: the entry with the steepest slope moves by ``rate``.

    The published script divides by ``max(G)``. At ``T = I`` the diagonal of G is exactly zero, so ``max(G)`` may be
    zero or negative, and the step is then NaN or uphill. The largest magnitude keeps the direction; a zero
    gradient leaves T where it is.

    Args:
        transition: ``(C, C)`` row-stochastic.
        gradient: ``(C, C)`` ``∂L_meta / ∂T``.
        rate: γ_m, largest change of one entry before projection.
    """
    scale = gradient.abs().amax().clamp_min(torch.finfo(gradient.dtype).tiny)
    return project_rows(transition - rate * (gradient / scale))


def run_away(transitions: Tensor, start: Tensor, floor: float) -> list[tuple[int, int]]:
    """The rows that a learned NTM has given up: weakening what the labels say always helps a loss on other pixels.

    Args:
        transitions: ``(L, C, C)`` row-stochastic, of L levels.
        start: The same of the beginning; a class that the teacher hardly ever found begins low, and may stay there.
        floor: Share of its start that a row's diagonal keeps at least.

    Returns:
        ``(level, class)`` of each, from 0.
    """
    kept, first = (matrix.diagonal(dim1=-2, dim2=-1) for matrix in (transitions, start))
    return [(int(level), int(row)) for level, row in torch.nonzero(kept < floor * first)]
