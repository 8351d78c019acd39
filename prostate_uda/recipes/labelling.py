"""Floor 5: a round's pseudo-labels: the class thresholds of the whole target first, then case after case.

Both are files, ``thresholds.json`` and one label per case, and an interrupted round goes on with what is there.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import ignite.distributed as idist
import torch
from torch import Tensor

from prostate_uda.data.domains import Case
from prostate_uda.engines.rounds import Labeller, count_cases, label_cases
from prostate_uda.engines.stages import Workplace
from prostate_uda.errors import CheckpointError
from prostate_uda.maths.label_noise import LabelNoise
from prostate_uda.maths.selection import BINS, Selection
from prostate_uda.recipes.processes import own_cases, together
from prostate_uda.recipes.record import read_json, write_json
from prostate_uda.recipes.settings import AdaptSettings

THRESHOLDS = "thresholds.json"


def label_target(
    teacher: Labeller,
    cases: Sequence[Case],
    selection: Selection,
    rule: str,
    number: int,
    place: Workplace,
    noise: LabelNoise | None = None,
    source: Sequence[Case] = (),
) -> tuple[tuple[Case, ...], Tensor]:
    """Label the target's training cases; each process labels its own patients by thresholds that all have in common.

    What is there of an interrupted round is kept, unless its rule was another.

    Args:
        teacher: Frozen.
        cases: Of all processes.
        selection: The round's rule. One that looks at the distribution of confidences costs a second prediction of
            every case.
        rule: All of it as text: :func:`round_rule`.
        number: Of the round.
        place: Gets ``pseudo_labels/round_<number>/``.
        noise: What is injected into the labels, for experiments.
        source: Labelled cases of all processes, whose amounts of each class a rule that counts may read.

    Returns:
        This process's cases with their labels, and the ``(C,)`` thresholds.

    Raises:
        CheckpointError: ``thresholds.json`` is there and cannot be read.
    """
    mine = own_cases(cases, "target")
    folder = place.folder / "pseudo_labels" / f"round_{number}"
    with together():  # ends before anyone looks for the file
        if place.writes:
            _drop_other_rule(folder, rule, place, number)
    with together():  # ends when all have looked for the file, and before one writes it
        thresholds = _read(folder / THRESHOLDS, teacher.classes)
        counts = torch.zeros(len(teacher.classes), BINS, dtype=torch.float64)
        amounts = torch.zeros(len(teacher.classes))
        if thresholds is None and selection.counts:
            counts += count_cases(teacher, mine, selection, place.progress, f"round {number}: confidences")
            amounts = mean_amounts(teacher, source) * len(cases) if source else amounts
    if thresholds is None:
        counts = idist.all_reduce(counts)
        thresholds = selection.thresholds(counts, amounts)
        if place.writes:
            found = selection.found(counts) if selection.counts else None
            _write(folder / THRESHOLDS, rule, teacher.classes, thresholds, found)
    with together():
        title = f"round {number}: pseudo-labels"
        distort = None if noise is None else partial(noise.applied, number=number)
        return label_cases(teacher, mine, folder, selection, thresholds, place.progress, title, distort), thresholds


def mean_amounts(teacher: Labeller, cases: Sequence[Case]) -> Tensor:
    """``(C,)`` float64, how much of each class the mean labelled case holds, in the teacher's unit.

    Args:
        teacher: Knows how labels are read.
        cases: Labelled, at least one.

    Raises:
        DataError: a label cannot be used.
    """
    return torch.stack([teacher.amounts(case) for case in cases]).mean(dim=0)


def round_rule(settings: AdaptSettings, number: int) -> str:
    """All that decides a round's labels beside its network's weights: of one source network, the same text, the same.

    Args:
        settings: Of the run.
        number: Of the round.

    Raises:
        SettingsError: as :meth:`AdaptSettings.selection`.
    """
    noise = "" if settings.noise is None else f" with {settings.noise!r}"
    warm = "" if settings.warm_up == "none" else f" after {settings.warm_up} warm-up"
    warm = warm if settings.before_rounds is None else f" after {settings.steps} steps of {settings.warm_up}"
    return f"{settings.selection(number)!r}{noise}{warm}"


def recorded_rule(folder: Path) -> str:
    """The rule of a round's labels; a file that names none is of before methods had their own.

    Raises:
        CheckpointError: ``thresholds.json`` is not there or cannot be read.
    """
    return str(read_json(folder / THRESHOLDS).get("rule", repr(Selection())))


def _drop_other_rule(folder: Path, rule: str, place: Workplace, number: int) -> None:
    """Remove labels that another version's rule chose."""
    path = folder / THRESHOLDS
    if not path.exists() or recorded_rule(folder) == rule:
        return
    place.progress.note(f"round {number}'s pseudo-labels are of another rule, and are made anew")
    for label in folder.glob("[!.]*"):
        if label != path:
            label.unlink()
    path.unlink()  # last: where this is interrupted, the next call finds it and does the rest


def _write(path: Path, rule: str, classes: tuple[str, ...], thresholds: Tensor, found: Tensor | None) -> None:
    """Thresholds by class with the rule that they are of, and how much the teacher predicts of each (pixels, or mL)."""
    content: dict[str, object] = {
        "rule": rule,
        "thresholds": dict(zip(classes, thresholds.tolist(), strict=True)),
    }
    if found is not None:
        content["predicted"] = dict(zip(classes, found.tolist(), strict=True))
    write_json(path, content)


def _read(path: Path, classes: tuple[str, ...]) -> Tensor | None:
    """The thresholds that were written, in float32, which JSON's decimals give back bit by bit."""
    if not path.exists():
        return None
    try:
        named = read_json(path)["thresholds"]
        return torch.tensor([float(named[name]) for name in classes])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} holds no threshold of each class; delete its folder to label anew") from error
