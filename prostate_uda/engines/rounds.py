"""Floor 4: pseudo-labels, made once per round by a frozen teacher and kept as files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from prostate_uda.data.domains.base import Case
from prostate_uda.data.volumes import read_image, write_label
from prostate_uda.engines.evaluation import Segmenter
from prostate_uda.engines.observers import Progress
from prostate_uda.maths.selection import Selection, count_confidences


def count_cases(teacher: Segmenter, cases: Sequence[Case], progress: Progress, title: str) -> Tensor:
    """How often the teacher predicts each class with which confidence, over all voxels of the cases.

    Args:
        teacher: Does not move while the round lasts.
        cases: At least one.
        progress: Is told.
        title: Of the bar.

    Returns:
        ``(C, BINS)`` int64; see :func:`~prostate_uda.maths.selection.count_confidences`.
    """
    with progress.task(title, len(cases)) as task:
        counts = []
        for case in cases:
            counts.append(count_confidences(teacher.probabilities(case.image)))
            task.advance()
    return torch.stack(counts).sum(dim=0)


def label_cases(
    teacher: Segmenter,
    cases: Sequence[Case],
    folder: Path,
    selection: Selection,
    thresholds: Tensor,
    progress: Progress,
    title: str,
) -> tuple[Case, ...]:
    """The cases with the teacher's labels in place of none, on their native grids.

    Labels that are there already are kept: they are written whole or not at all, and a frozen teacher would write
    the same again.

    Args:
        teacher: Does not move while the round lasts.
        cases: Unlabelled.
        folder: Gets one NIfTI per case, 255 where the rule keeps no label.
        selection: The rule.
        thresholds: ``(C,)``, the rule's for the whole target.
        progress: Is told.
        title: Of the bar.
    """
    folder.mkdir(parents=True, exist_ok=True)
    labelled = []
    with progress.task(title, len(cases)) as task:
        for case in cases:
            path = folder / f"{case.id}.nii.gz"
            if not path.exists():
                label = selection.labels(teacher.probabilities(case.image), thresholds)
                write_label(path, label.numpy(), read_image(case.image, teacher.channel))
            labelled.append(replace(case, label=path))
            task.advance()
    return tuple(labelled)
