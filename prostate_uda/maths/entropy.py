"""Floor 1: how sure a prediction is, per pixel: entropy, squares, and which predictions are sure enough to teach."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.maths.losses import IGNORE, widened


def normalized_entropy(logits: Tensor) -> Tensor:
    """``-Σ_c p_c log p_c / log C``: 0 where one class has it all, 1 where all classes are equal.

    Source: Vu et al., ADVENT, CVPR 2019, equation 3 without its sum. With one class there is no doubt: 0.

    Args:
        logits: ``(B, C, H, W)``.

    Returns:
        ``(B, H, W)``, float32 at least.
    """
    log_probs = functional.log_softmax(widened(logits), dim=1)
    return -(log_probs.exp() * log_probs).sum(dim=1) / math.log(max(logits.shape[1], 2))


def half_squares(logits: Tensor) -> Tensor:
    """``½ Σ_c p_c²``, from ``1 / 2C`` (all classes equal) to ½ (sure); its slope by p grows linearly, not steeper.

    Source: Chen et al., Maximum Squares Loss, ICCV 2019; their loss is the negative mean.

    Args:
        logits: ``(B, C, H, W)``.

    Returns:
        ``(B, H, W)``, float32 at least.
    """
    return functional.softmax(widened(logits), dim=1).square().sum(dim=1) / 2


def rarity(prediction: Tensor, num_classes: int, exponent: float) -> Tensor:
    """``(N / N_ŷ)^α``: of an image's N pixels, N_ŷ have this pixel's class.

    Source: Chen et al., ICCV 2019, image-wise weighting ``1 / (N_c^α N^(1-α))``, here times N so that pixels are
    averaged and α = 0 weighs all alike. Weights go by a pixel's predicted class, so no class has N_c = 0.

    Args:
        prediction: ``(B, H, W)`` int64 classes.
        num_classes: C.
        exponent: α in [0, 1]; at 1 every class that is there weighs the same in its image.

    Returns:
        ``(B, H, W)`` float32, from 1 upward.
    """
    flat = prediction.flatten(1)
    counts = functional.one_hot(flat, num_classes).sum(dim=1)
    share = counts.gather(1, flat).view_as(prediction) / flat.shape[1]
    return share.pow(-exponent)


def guiding_labels(shallow: Tensor, deep: Tensor, threshold: float) -> Tensor:
    """Labels for a shallow head: the class of both heads' mean distribution where one of them is sure, else IGNORE.

    Source: Chen et al., ICCV 2019, self-produced guidance of the low-level features.

    Args:
        shallow: ``(B, C, H, W)`` logits.
        deep: ``(B, C, H, W)`` logits.
        threshold: δ; a head is sure where ``max p > δ``.

    Returns:
        ``(B, H, W)`` int64.
    """
    probs = torch.stack([functional.softmax(widened(logits.detach()), dim=1) for logits in (shallow, deep)])
    label = probs.mean(dim=0).argmax(dim=1)
    sure = probs.amax(dim=(0, 2)) > threshold
    return torch.where(sure, label, torch.full_like(label, IGNORE))
