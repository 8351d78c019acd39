"""Floor 1: self-training losses that keep a network from being surer than its pseudo-labels deserve.

Source: Zou et al., Confidence Regularized Self-Training, ICCV 2019: model regularisers (MRKLD, MRENT) smooth the
prediction, the label regulariser (LRENT) smooths the label.
"""

from torch import Tensor
from torch.nn import functional

from prostate_uda.errors import ShapeError
from prostate_uda.maths.losses import masked_nll, widened


def regularized_nll(
    logits: Tensor,
    label: Tensor,
    count: Tensor | None = None,
    *,
    kld_weight: float = 0.0,
    entropy_weight: float = 0.0,
) -> Tensor:
    """``mean [-log p_ŷ - a_k (1/C) Σ_c log p_c + a_e Σ_c p_c log p_c]`` over the labelled pixels.

    Args:
        logits: ``(B, C, H, W)``.
        label: ``(B, H, W)`` int64 pseudo-labels, IGNORE where there is none.
        count: As in :func:`prostate_uda.maths.losses.masked_nll`.
        kld_weight: a_k of MRKLD, the divergence from the uniform distribution (but for the constant ``log C``).
        entropy_weight: a_e of MRENT, the negative entropy.
    """
    log_probs = functional.log_softmax(widened(logits), dim=1)
    uniform = log_probs.mean(dim=1, keepdim=True)
    negative_entropy = (log_probs.exp() * log_probs).sum(dim=1, keepdim=True)
    return masked_nll(log_probs + kld_weight * uniform - entropy_weight * negative_entropy, label, count)


def soft_nll(logits: Tensor, label: Tensor, count: Tensor | None = None, *, soft: Tensor) -> Tensor:
    """``mean [-Σ_c y_c log p_c]`` over the labelled pixels: cross-entropy with soft pseudo-labels.

    Args:
        logits: ``(B, C, H, W)``.
        label: ``(B, H, W)`` int64; says by IGNORE which pixels take no part, and nothing else.
        count: As in :func:`prostate_uda.maths.losses.masked_nll`.
        soft: ``(B, C, H, W)`` y, without a gradient.

    Raises:
        ShapeError: the soft labels are not of these pixels and classes.
    """
    if soft.shape != logits.shape:
        raise ShapeError(f"soft labels of shape {tuple(soft.shape)}; allowed is {tuple(logits.shape)}, the logits'")
    log_probs = functional.log_softmax(widened(logits), dim=1)
    return masked_nll((soft * log_probs).sum(dim=1, keepdim=True).expand_as(log_probs), label, count)
