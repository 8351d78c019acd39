"""Floor 1: intersection over union per class from a confusion matrix, as driving scenes are scored.

Counts of all images are added up before anything is divided, as Cityscapes does it: the sum of the images' matrices is
the data set's matrix.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from prostate_uda.errors import DataError, SettingsError, ShapeError
from prostate_uda.maths.losses import IGNORE


def confusion(predicted: Tensor, truth: Tensor, classes: int, ignore: int = IGNORE) -> Tensor:
    """How many pixels of each true class were given each class.

    Args:
        predicted: ``(H, W)`` integer classes (any shape is accepted).
        truth: Integer classes of the same shape, ``ignore`` where nothing is known: there no prediction counts.
        classes: C, 1 or more.
        ignore: No class; a value from 0 to C - 1 leaves that class's pixels out.

    Returns:
        ``(C, C)`` int64, the true class along the first axis.

    Raises:
        SettingsError: ``classes`` below 1.
        ShapeError: The shapes differ or a label map is not of an integer type.
        DataError: A class that is not one of the C, where the truth is known.
    """
    if classes < 1:
        raise SettingsError(f"classes {classes}; 1 or more is allowed; give the number of classes, as in 19")
    _check(predicted, truth)
    known = truth != ignore
    _check_values("truth", truth, known, classes)
    _check_values("prediction", predicted, known, classes)
    cell = torch.where(known, truth.long() * classes + predicted.long(), classes**2)
    return torch.bincount(cell.flatten(), minlength=classes**2 + 1)[:-1].view(classes, classes)


def intersection_union(confusion: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels of both, and pixels of either, per class.

    Args:
        confusion: ``(C, C)`` integer counts, see :func:`confusion`.

    Returns:
        Two ``(C,)`` int64.

    Raises:
        ShapeError: Not a square matrix of integers.
    """
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1] or not _whole_numbers(confusion):
        raise ShapeError(
            f"a confusion matrix of shape {tuple(confusion.shape)} and type {confusion.dtype}; "
            "(C, C) integers are allowed; give what confusion() counted"
        )
    counts = confusion.long()
    both = counts.diagonal().clone()
    return both, counts.sum(dim=0) + counts.sum(dim=1) - both


def class_iou(confusion: Tensor) -> Tensor:
    """Intersection over union of each class (Jaccard 1912).

    Args:
        confusion: ``(C, C)`` integer counts, see :func:`confusion`.

    Returns:
        ``(C,)`` float64 in ``[0, 1]``; NaN for a class that is neither in the truth nor predicted.

    Raises:
        ShapeError: Not a square matrix of integers.
    """
    both, either = intersection_union(confusion)
    undefined = torch.full_like(either, torch.nan, dtype=torch.float64)
    return torch.where(either > 0, both.double() / either.clamp_min(1).double(), undefined)


def mean_iou(iou: Tensor, of: Sequence[int] | None = None) -> float:
    """Mean over classes, leaving out those whose IoU is NaN.

    Args:
        iou: ``(C,)``, see :func:`class_iou`.
        of: The classes that count, as 13 or 16 of SYNTHIA's; None takes all.

    Returns:
        A number in ``[0, 1]``; NaN where no class is left.

    Raises:
        ShapeError: ``iou`` has not one axis.
        SettingsError: A class of ``of`` that is not one of the C.
    """
    if iou.ndim != 1:
        raise ShapeError(f"IoU of shape {tuple(iou.shape)}; (C,) is allowed; give what class_iou() returned")
    wrong = sorted({place for place in of or () if not 0 <= place < len(iou)})
    if wrong:
        raise SettingsError(f"mean over classes {wrong}; 0 to {len(iou) - 1} are allowed; give train ids")
    chosen = iou if of is None else iou[torch.tensor(list(of), dtype=torch.long, device=iou.device)]
    return float(chosen.nanmean())


def _whole_numbers(labels: Tensor) -> bool:
    return not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)


def _check(predicted: Tensor, truth: Tensor) -> None:
    for labels in (predicted, truth):
        if not _whole_numbers(labels):
            raise ShapeError(
                f"a label map of type {labels.dtype}; integers are allowed; take the argmax of probabilities first"
            )
    if predicted.shape != truth.shape:
        raise ShapeError(
            f"label maps of shape {tuple(predicted.shape)} and {tuple(truth.shape)}; "
            "equal shapes are allowed; bring the prediction to the truth's size first"
        )


def _check_values(name: str, labels: Tensor, known: Tensor, classes: int) -> None:
    """Refuse a class beyond the last one at a pixel that counts."""
    wrong = known & ((labels < 0) | (labels >= classes))
    if bool(wrong.any()):
        raise DataError(
            f"{name} with class {int(labels[wrong].min())}; 0 to {classes - 1} are allowed; map label ids to train ids"
        )
