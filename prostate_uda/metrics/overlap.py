"""Floor 1: how much two masks overlap (Dice, intersection over union), per zone and for the whole gland.

One policy for empty masks everywhere: both empty is NaN (the question has no answer, and
:func:`prostate_uda.metrics.summarize` counts it), exactly one empty is 0.
"""

import torch
from torch import Tensor

from prostate_uda.errors import ShapeError
from prostate_uda.maths.losses import IGNORE

_PZ, _TZ = 1, 2


def dice(pred: Tensor, truth: Tensor) -> Tensor:
    """Dice coefficient ``2 |P ∩ G| / (|P| + |G|)`` of two masks (Dice 1945).

    Args:
        pred: ``(D, H, W)`` boolean mask (any shape is accepted).
        truth: Boolean mask of the same shape.

    Returns:
        A float64 scalar in ``[0, 1]``; NaN where both masks are empty, 0 where exactly one is.

    Raises:
        ShapeError: The masks are not boolean or differ in shape.
    """
    check_masks(pred, truth)
    return _ratio(2 * (pred & truth).sum(), pred.sum() + truth.sum())


def iou(pred: Tensor, truth: Tensor) -> Tensor:
    """Intersection over union ``|P ∩ G| / |P ∪ G|`` of two masks (Jaccard 1912).

    Args:
        pred: ``(D, H, W)`` boolean mask (any shape is accepted).
        truth: Boolean mask of the same shape.

    Returns:
        A float64 scalar in ``[0, 1]``; NaN where both masks are empty, 0 where exactly one is.

    Raises:
        ShapeError: The masks are not boolean or differ in shape.
    """
    check_masks(pred, truth)
    return _ratio((pred & truth).sum(), (pred | truth).sum())


def zone_dice(pred_labels: Tensor, truth_labels: Tensor) -> dict[str, float]:
    """Dice of one case, zone by zone and for the whole prostate.

    Voxels whose truth is ``IGNORE`` are left out of every count. ``WP`` is the Dice of the union PZ ∪ TZ;
    ``WP_pooled`` pools the voxel counts of both zones, ``2 Σ TP / Σ (|P| + |G|)``, so a voxel given to the
    wrong zone counts as wrong. Papers write "whole prostate" for either.

    Args:
        pred_labels: ``(D, H, W)`` integer labels, 1 = PZ, 2 = TZ, everything else background.
        truth_labels: Integer labels of the same shape.

    Returns:
        ``PZ``, ``TZ``, ``WP`` and ``WP_pooled`` to a number in ``[0, 1]``; NaN where prediction and truth are
        both empty, 0 where exactly one is.

    Raises:
        ShapeError: The shapes differ or a label map is not of an integer type.
    """
    _check_labels(pred_labels, truth_labels)
    known = truth_labels != IGNORE
    pred, truth = pred_labels[known], truth_labels[known]
    pz = pred == _PZ, truth == _PZ
    tz = pred == _TZ, truth == _TZ
    pooled = _ratio(
        2 * ((pz[0] & pz[1]).sum() + (tz[0] & tz[1]).sum()),
        torch.stack([mask.sum() for mask in (*pz, *tz)]).sum(),
    )
    scores = {"PZ": dice(*pz), "TZ": dice(*tz), "WP": dice(pz[0] | tz[0], pz[1] | tz[1]), "WP_pooled": pooled}
    return {name: score.item() for name, score in scores.items()}


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """``part / whole`` in float64; NaN where ``whole`` is 0."""
    undefined = torch.full_like(whole, torch.nan, dtype=torch.float64)
    return torch.where(whole > 0, part.double() / whole.clamp_min(1).double(), undefined)


def check_masks(pred: Tensor, truth: Tensor) -> None:
    """Refuse a pair that is not two boolean masks of one shape.

    Raises:
        ShapeError: The masks are not boolean or differ in shape.
    """
    if pred.dtype != torch.bool or truth.dtype != torch.bool:
        raise ShapeError(
            f"masks of type {pred.dtype} and {truth.dtype}; boolean is allowed; compare first, as in labels == 1"
        )
    if pred.shape != truth.shape:
        raise ShapeError(
            f"masks of shape {tuple(pred.shape)} and {tuple(truth.shape)}; "
            "equal shapes are allowed; bring the prediction onto the truth's grid first"
        )


def _check_labels(pred: Tensor, truth: Tensor) -> None:
    for labels in (pred, truth):
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise ShapeError(
                f"a label map of type {labels.dtype}; integers are allowed; take the argmax of probabilities first"
            )
    if pred.shape != truth.shape:
        raise ShapeError(
            f"label maps of shape {tuple(pred.shape)} and {tuple(truth.shape)}; "
            "equal shapes are allowed; bring the prediction onto the truth's grid first"
        )
