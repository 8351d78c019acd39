"""Floor 1: class means of features, the anchors they make, and labels by the nearest anchor."""

import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.errors import ShapeError
from prostate_uda.maths.losses import IGNORE, widened


def pooled_label(label: Tensor, size: tuple[int, int]) -> Tensor:
    """``(B, h, w)`` int64: a ``(B, H, W)`` label at the size of a feature map, each pixel the nearest one's."""
    return functional.interpolate(label.unsqueeze(1).float(), size=size, mode="nearest").squeeze(1).long()


def class_sums(features: Tensor, label: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """What the features of each image's classes add up to.

    Args:
        features: ``(B, F, h, w)``.
        label: ``(B, h, w)`` int64, IGNORE where there is none.
        classes: C.

    Returns:
        Sums ``(B, C, F)``, float32 at least also under autocast, and counts of pixels ``(B, C)`` of the same type.

    Raises:
        ShapeError: the two do not describe the same pixels.
    """
    batch, _, *space = features.shape
    if label.shape != (batch, *space):
        raise ShapeError(
            f"label of shape {tuple(label.shape)} beside features of shape {tuple(features.shape)}; "
            f"allowed is {(batch, *space)}; pool the label to the features' size"
        )
    values = widened(features).flatten(2)
    known = torch.arange(classes, device=label.device)[:, None] == label.flatten(1)[:, None]
    member = known.to(values.dtype)
    with torch.autocast(features.device.type, enabled=False):
        return member @ values.transpose(1, 2), member.sum(dim=2)


def anchor_distances(features: Tensor, anchors: Tensor, anchored: Tensor) -> Tensor:
    """``(B, C, h, w)`` Euclidean distance of every pixel's features from every class's anchor.

    Args:
        features: ``(B, F, h, w)``.
        anchors: ``(C, F)``.
        anchored: ``(C,)`` bool; a class without an anchor is infinitely far.
    """
    batch, _, height, width = features.shape
    points = widened(features).flatten(2).transpose(1, 2)
    anchors = anchors.to(points.dtype).expand(batch, *anchors.shape)
    # the quick way, by |a|² + |b|² - 2ab, loses the difference of two near distances
    far = torch.cdist(points, anchors, compute_mode="donot_use_mm_for_euclid_dist")
    far = far.masked_fill(~anchored, torch.inf)
    return far.transpose(1, 2).view(batch, len(anchored), height, width)


def active_labels(distances: Tensor, margin: float) -> Tensor:
    """The class of the nearest anchor, where the second nearest is farther by more than the margin; IGNORE elsewhere.

    Source: Zhang et al., Category Anchor-Guided Unsupervised Domain Adaptation for Semantic Segmentation, NeurIPS 2019,
    the active target samples.

    Args:
        distances: ``(B, C, h, w)`` of :func:`anchor_distances`, infinite where a class has no anchor.
        margin: in the features' own unit.

    Returns:
        ``(B, h, w)`` int64; IGNORE everywhere where there are fewer than two anchors, which leave nothing to compare.
    """
    if distances.shape[1] < 2:
        return torch.full_like(distances[:, 0], IGNORE, dtype=torch.int64)
    (nearest, second), place = distances.topk(2, dim=1, largest=False)[0].unbind(1), distances.argmin(dim=1)
    active = second.isfinite() & (second - nearest > margin)
    return torch.where(active, place, torch.full_like(place, IGNORE))


def sure_labels(probs: Tensor, threshold: float) -> Tensor:
    """``(B, H, W)`` int64: the class whose probability is above the threshold, IGNORE where none is.

    Args:
        probs: ``(B, C, H, W)``.
        threshold: in [0.5, 1], so that one class at most is above it.
    """
    confidence, label = probs.max(dim=1)
    return torch.where(confidence > threshold, label, torch.full_like(label, IGNORE))


def anchor_loss(features: Tensor, label: Tensor, anchors: Tensor, anchored: Tensor) -> tuple[Tensor, Tensor]:
    """``Σ SmoothL1(mean features of the class, its anchor)`` over the classes of each image, and how many these are.

    SmoothL1 is averaged over the features. A class that an image does not have, or that has no anchor, gives no term.

    Source: Zhang et al., NeurIPS 2019, the distance loss as released (RogerZhangzz/CAG_UDA).

    Args:
        features: ``(B, F, h, w)``.
        label: ``(B, h, w)`` int64, IGNORE where there is none.
        anchors: ``(C, F)``.
        anchored: ``(C,)`` bool, which classes have one.

    Returns:
        The sum, a scalar with an exactly zero gradient where there is no term, and the int64 count of terms.

    Raises:
        ShapeError: the label is not of the features' pixels.
    """
    sums, counts = class_sums(features, label, len(anchors))
    means = sums / counts.clamp_min(1).unsqueeze(2)
    there = (counts > 0) & anchored
    apart = functional.smooth_l1_loss(means, anchors.to(means.dtype).expand_as(means), reduction="none").mean(dim=2)
    return torch.where(there, apart, torch.zeros_like(apart)).sum(), there.sum()
