"""Floor 1: what a network tells itself about a target image: its pixels, its squares, and how large each class is.

Source: Lian et al., PyCDA, ICCV 2019.
"""

import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.errors import ShapeError
from prostate_uda.maths.losses import IGNORE, widened

ROBUST = 1e-6
"""Added inside the logarithms of :func:`distribution_gap`, as published: a class that is nowhere has a finite loss."""


def sure_labels(logits: Tensor, confidence: float) -> Tensor:
    """The network's own answer where it is sure: ``argmax p`` where ``max p > confidence``, else IGNORE.

    Args:
        logits: ``(B, C, H, W)``; no gradient passes.
        confidence: in [0, 1).

    Returns:
        ``(B, H, W)`` int64.
    """
    sureness, label = functional.softmax(widened(logits.detach()), dim=1).max(dim=1)
    return torch.where(sureness > confidence, label, torch.full_like(label, IGNORE))


def squares(logits: Tensor, side: int) -> Tensor:
    """Logits averaged over squares that do not overlap; what is left over at the right and lower edge is dropped.

    Args:
        logits: ``(B, C, H, W)``.
        side: Of a square in pixels.

    Returns:
        ``(B, C, H // side, W // side)``, float32 at least.

    Raises:
        ShapeError: the image is smaller than one square.
    """
    if min(logits.shape[-2:]) < side:
        raise ShapeError(f"logits of {tuple(logits.shape[-2:])} pixels; squares of {side} allow {side} or more a side")
    return functional.avg_pool2d(widened(logits), side)


def distribution_gap(logits: Tensor, frequencies: Tensor, count: Tensor | None = None) -> Tensor:
    """``mean BCE(mean_pixels p_c, q_c)`` over images and classes: how far classes are from their usual size.

    Least where the image's mean probability is q. The logarithms are of p + 1e-6 and 1 - p + 1e-6.

    Args:
        logits: ``(B, C, H, W)``.
        frequencies: ``(C,)`` q, summing to 1.
        count: What the sum over the images is divided by, scalar; B where it is left out.

    Returns:
        A scalar, float32 at least.
    """
    size = functional.softmax(widened(logits), dim=1).mean(dim=(2, 3))
    usual = frequencies.to(size)
    loss = -(usual * (size + ROBUST).log() + (1 - usual) * (1 - size + ROBUST).log())
    return loss.mean(dim=1).sum() / (len(logits) if count is None else count)


def class_counts(label: Tensor, classes: int) -> Tensor:
    """How many pixels each class has, ``(C,)`` int64, IGNORE not counted.

    Args:
        label: ``(B, H, W)`` int64.
        classes: C.
    """
    return torch.bincount(label[label != IGNORE], minlength=classes)
