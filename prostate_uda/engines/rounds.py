"""Floor 4: pseudo-labels, made once per round by a frozen teacher and kept as files."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prostate_uda.data.batch import Batch
from prostate_uda.data.domains.base import Case
from prostate_uda.engines.observers import Progress
from prostate_uda.maths.noise import confusion_counts
from prostate_uda.maths.selection import Selection
from prostate_uda.networks.teacher import Teacher


class Labeller(Protocol):
    """A frozen network over whole files: what a round asks of it, be they volumes or pictures.

    Attributes:
        classes: Their names, by number.
        suffix: Of a label's file.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """C names."""

    @property
    def suffix(self) -> str:
        """Such as ``.nii.gz``."""

    def probabilities(self, image: Path) -> Tensor:
        """``(C, ...)`` on the image's own grid."""

    def unit(self, image: Path) -> float:
        """What one pixel of the image amounts to: mL, or its share of the picture."""

    def amounts(self, case: Case) -> Tensor:
        """``(C,)`` float64, how much of each class a labelled case holds, in that unit; NaN where it has the rest."""

    def write_label(self, path: Path, label: NDArray[np.uint8], image: Path) -> None:
        """Write a label on the image's grid, whole or not at all."""


def count_cases(
    teacher: Labeller, cases: Sequence[Case], selection: Selection, progress: Progress, title: str
) -> Tensor:
    """What the rule counts of the teacher's predictions, over all pixels of the cases.

    Args:
        teacher: Does not move while the round lasts.
        cases: At least one.
        selection: The rule.
        progress: Is told.
        title: Of the bar.

    Returns:
        ``(C, BINS)``, see :meth:`~prostate_uda.maths.selection.Selection.count`.
    """
    with progress.task(title, len(cases)) as task:
        counts = []
        for case in cases:
            counts.append(selection.count(teacher.probabilities(case.image), teacher.unit(case.image)))
            task.advance()
    return torch.stack(counts).sum(dim=0)


def count_confusion(
    teacher: Teacher, batches: Iterable[Batch], selection: Selection, progress: Progress, title: str, steps: int
) -> Tensor:
    """How often the rule makes which pseudo-label of which true class, on labelled images.

    Args:
        teacher: Frozen, with the round's thresholds.
        batches: Labelled, such as source slices under strong augmentation.
        selection: The round's rule.
        progress: Is told.
        title: Of the bar.
        steps: How many batches there are.

    Returns:
        ``(C, C)`` int64, true by pseudo.
    """
    thresholds = teacher.thresholds
    with progress.task(title, steps) as task:
        counts = []
        for batch in batches:
            pseudo = selection.labels(teacher(batch.image.to(thresholds.device)).transpose(0, 1), thresholds).cpu()
            counts.append(confusion_counts(pseudo, batch.label, len(thresholds)))
            task.advance()
    return torch.stack(counts).sum(dim=0)


def label_cases(
    teacher: Labeller,
    cases: Sequence[Case],
    folder: Path,
    selection: Selection,
    thresholds: Tensor,
    progress: Progress,
    title: str,
    distort: Callable[[NDArray[np.uint8], str], NDArray[np.uint8]] | None = None,
) -> tuple[Case, ...]:
    """The cases with the teacher's labels in place of none, on their native grids.

    Labels that are there already are kept: they are written whole or not at all, and a frozen teacher would write
    the same again.

    Args:
        teacher: Does not move while the round lasts.
        cases: Unlabelled.
        folder: Gets one file per case, 255 where the rule keeps no label.
        selection: The rule.
        thresholds: ``(C,)``, the rule's for the whole target.
        progress: Is told.
        title: Of the bar.
        distort: What becomes of a case's labels before they are written, by its id; a function of both alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    labelled = []
    with progress.task(title, len(cases)) as task:
        for case in cases:
            path = folder / f"{case.id}{teacher.suffix}"
            if not path.exists():
                label = selection.labels(teacher.probabilities(case.image), thresholds).numpy()
                label = label if distort is None else distort(label, case.id)
                teacher.write_label(path, label, case.image)
            labelled.append(replace(case, label=path))
            task.advance()
    return tuple(labelled)
