"""Floor 1: where a prediction is in doubt, class by class, and which images are the least in doubt."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.maths.losses import widened


def self_information(logits: Tensor) -> Tensor:
    """``-p_c log p_c / log C``: summed over the classes, the normalized entropy of the pixel.

    Source: Vu et al., ADVENT, CVPR 2019, the weighted self-information maps that its discriminators see. The released
    code takes ``log2(p + 1e-30) / log2(C)``, which is the same number but for p below 1e-30. With one class: 0.

    Args:
        logits: ``(B, C, H, W)``.

    Returns:
        ``(B, C, H, W)``, float32 at least, from 0 to ``1 / (e log C)``; finite, with a finite slope, also where p
        underflows.
    """
    log_probs = functional.log_softmax(widened(logits), dim=1)
    return -(log_probs.exp() * log_probs) / math.log(max(logits.shape[1], 2))


def easiest(doubts: Tensor, share: float) -> Tensor:
    """Which images are the easy split: ``⌊share · N⌋`` of N, one at least, those of the least doubt.

    Source: Pan et al., Unsupervised Intra-domain Adaptation, CVPR 2020, entropy-based ranking; of images that are
    equally in doubt the first come first, and one whose doubt is no number comes last.

    Args:
        doubts: ``(N,)`` mean entropy of each image's prediction.
        share: λ in (0, 1).

    Returns:
        ``(N,)`` bool.
    """
    chosen = torch.zeros_like(doubts, dtype=torch.bool)
    chosen[doubts.argsort(stable=True)[: max(int(share * len(doubts)), 1)]] = True
    return chosen
