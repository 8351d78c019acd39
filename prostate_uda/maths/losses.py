"""Floor 1: segmentation losses as pure functions, differentiable twice.

``torch.nn.functional.nll_loss`` cannot be differentiated twice through a strided input ("grad_input must be
contiguous", torch 2.13 on CPU), and the bilevel step needs exactly that; a ``gather`` can.
"""

import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.errors import ShapeError

IGNORE = 255
"""Label of a pixel that takes part in no loss and no metric."""


def widened(values: Tensor) -> Tensor:
    """The same values in float32 where they come in half precision; float32 and float64 stay what they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def masked_nll(log_probs: Tensor, label: Tensor, count: Tensor | None = None) -> Tensor:
    """Negative log-likelihood, averaged over the pixels that have a label.

    Args:
        log_probs: ``(B, C, H, W)`` natural logarithms of probabilities.
        label: ``(B, H, W)`` int64 class indices, :data:`IGNORE` where there is none.
        count: What the sum is divided by, scalar; the labelled pixels of ``label`` where it is left out, those of all
            processes where the batch is one process's share.

    Returns:
        A scalar, float32 at least; exactly zero (with a zero gradient) when every pixel is ignored.

    Raises:
        ShapeError: the two do not describe the same pixels.
    """
    batch, _, *space = log_probs.shape
    if label.shape != (batch, *space):
        raise ShapeError(
            f"label of shape {tuple(label.shape)} beside log-probabilities of shape {tuple(log_probs.shape)}; "
            f"allowed is {(batch, *space)}; resample the label to the prediction's grid"
        )
    known = label != IGNORE
    index = torch.where(known, label, torch.zeros_like(label))
    picked = widened(log_probs).gather(1, index.unsqueeze(1)).squeeze(1)
    total = torch.where(known, picked, torch.zeros_like(picked)).sum()
    return -total / (known.sum() if count is None else count).clamp_min(1)


def cross_entropy(logits: Tensor, label: Tensor, count: Tensor | None = None) -> Tensor:
    """Cross-entropy of ``(B, C, H, W)`` logits with ``(B, H, W)`` labels; see :func:`masked_nll`."""
    return masked_nll(functional.log_softmax(widened(logits), dim=1), label, count)


def safe_log(probs: Tensor) -> Tensor:
    """Natural logarithm that is finite at zero: probabilities are floored at the dtype's smallest normal."""
    probs = widened(probs)
    return probs.clamp_min(torch.finfo(probs.dtype).tiny).log()


def one_weight_per_level(levels: int, weights: tuple[float, ...]) -> None:
    """Refuse weights that would leave a head out of the loss, or have no head.

    Raises:
        ShapeError: there is not one weight per level.
    """
    if levels != len(weights):
        raise ShapeError(f"{len(weights)} level weights for a network with {levels} heads; give one weight per head")


def weighted_sum(losses: list[Tensor], weights: tuple[float, ...]) -> Tensor:
    """``Σ_l α_l L_l`` over the levels, shallow to deep.

    Raises:
        ShapeError: there is not one weight per level.
    """
    one_weight_per_level(len(losses), weights)
    return torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum()
