"""Floor 5: a round's pseudo-labels: the class thresholds of the whole target first, then case after case.

Both are files, ``thresholds.json`` and one NIfTI per case, and an interrupted round goes on with what is there.
"""

from collections.abc import Sequence
from pathlib import Path

import ignite.distributed as idist
import torch
from torch import Tensor

from prostate_uda.data.domains import Case
from prostate_uda.data.labels import ZONE_WORDS
from prostate_uda.engines.evaluation import Segmenter
from prostate_uda.engines.rounds import count_cases, label_cases
from prostate_uda.engines.stages import Workplace
from prostate_uda.errors import CheckpointError
from prostate_uda.maths.selection import BINS, Selection
from prostate_uda.recipes.processes import own_cases, together
from prostate_uda.recipes.record import read_json, write_json

ZONES = tuple(words[0] for words in ZONE_WORDS.values())


def label_target(
    teacher: Segmenter, cases: Sequence[Case], selection: Selection, number: int, place: Workplace
) -> tuple[tuple[Case, ...], Tensor]:
    """Label the target's training cases; each process labels its own patients by thresholds that all have in common.

    What is there of an interrupted round is kept, unless its rule was another.

    Args:
        teacher: Frozen.
        cases: Of all processes.
        selection: The round's rule. One that looks at the distribution of confidences costs a second prediction of
            every case.
        number: Of the round.
        place: Gets ``pseudo_labels/round_<number>/``.

    Returns:
        This process's cases with their labels, and the ``(C,)`` thresholds.

    Raises:
        CheckpointError: ``thresholds.json`` is there and cannot be read.
    """
    mine = own_cases(cases, "target")
    folder = place.folder / "pseudo_labels" / f"round_{number}"
    with together():  # ends before anyone looks for the file
        if place.writes:
            _drop_other_rule(folder, selection, place, number)
    with together():  # ends when all have looked for the file, and before one writes it
        thresholds = _read(folder / "thresholds.json")
        counts = torch.zeros(len(ZONES), BINS, dtype=torch.int64)
        if thresholds is None and selection.portion is not None:
            counts = count_cases(teacher, mine, place.progress, f"round {number}: confidences")
    if thresholds is None:
        counts = idist.all_reduce(counts)
        thresholds = selection.thresholds(counts)
        if place.writes:
            _write(folder / "thresholds.json", selection, thresholds, counts)
    with together():
        title = f"round {number}: pseudo-labels"
        return label_cases(teacher, mine, folder, selection, thresholds, place.progress, title), thresholds


def _drop_other_rule(folder: Path, selection: Selection, place: Workplace, number: int) -> None:
    """Remove labels that another version's rule chose; a file that names no rule is of before methods had their own."""
    path = folder / "thresholds.json"
    if not path.exists() or read_json(path).get("rule", repr(Selection())) == repr(selection):
        return
    place.progress.note(f"round {number}'s pseudo-labels are of another rule, and are made anew")
    for label in folder.glob("*.nii.gz"):
        label.unlink()
    path.unlink()  # last: where this is interrupted, the next call finds it and does the rest


def _write(path: Path, selection: Selection, thresholds: Tensor, counts: Tensor) -> None:
    """Thresholds by class with the rule that they are of, and of how many voxels where it counted them."""
    content: dict[str, object] = {
        "rule": repr(selection),
        "thresholds": dict(zip(ZONES, thresholds.tolist(), strict=True)),
    }
    if selection.portion is not None:
        content["voxels"] = dict(zip(ZONES, counts.sum(dim=1).tolist(), strict=True))
    write_json(path, content)


def _read(path: Path) -> Tensor | None:
    """The thresholds that were written, in float32, which JSON's decimals give back bit by bit."""
    if not path.exists():
        return None
    try:
        named = read_json(path)["thresholds"]
        return torch.tensor([float(named[name]) for name in ZONES])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} holds no threshold of each class; delete its folder to label anew") from error
