"""Floor 4: pseudo-labels, made once per round by a frozen teacher and kept as files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prostate_uda.data.domains.base import Case
from prostate_uda.data.volumes import read_image, write_label
from prostate_uda.engines.evaluation import Segmenter
from prostate_uda.engines.observers import Progress
from prostate_uda.maths.selection import confident_labels


def label_cases(
    teacher: Segmenter, cases: Sequence[Case], folder: Path, threshold: float, progress: Progress, title: str
) -> tuple[Case, ...]:
    """The cases with the teacher's labels in place of none, on their native grids.

    Labels that are there already are kept: they are written whole or not at all, and a frozen teacher would write
    the same again.

    Args:
        teacher: Does not move while the round lasts.
        cases: Unlabelled.
        folder: Gets one NIfTI per case, 255 where the teacher is not confident.
        threshold: Least confidence that counts.
        progress: Is told.
        title: Of the bar.
    """
    folder.mkdir(parents=True, exist_ok=True)
    labelled = []
    with progress.task(title, len(cases)) as task:
        for case in cases:
            path = folder / f"{case.id}.nii.gz"
            if not path.exists():
                label = confident_labels(teacher.probabilities(case.image), threshold)
                write_label(path, label.numpy(), read_image(case.image, teacher.channel))
            labelled.append(replace(case, label=path))
            task.advance()
    return tuple(labelled)
