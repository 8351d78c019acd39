"""Floor 6: the door of a MONAI bundle: what its configs call and stock MONAI does not have. Paths come as text.

``bundles/*/configs`` name what is here, so ``python -m monai.bundle run`` does what the commands of this package do.
What they tell goes to the log, which ``configs/logging.conf`` prints.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import ignite.distributed as idist
import torch
import torch.distributed as dist
from monai.utils import set_determinism
from torch import Tensor

from prostate_uda.data.domains import Case, Split
from prostate_uda.data.domains.folder import FOLDER
from prostate_uda.data.labels import parse_label_names
from prostate_uda.engines.evaluation import Segmenter
from prostate_uda.engines.observers import Silent
from prostate_uda.engines.stages import Workplace
from prostate_uda.errors import DataError, SettingsError
from prostate_uda.maths.selection import Selection
from prostate_uda.methods import Method, build_method
from prostate_uda.recipes import evaluate
from prostate_uda.recipes.bundle_weights import put_weights, with_weights
from prostate_uda.recipes.devices import pick_device
from prostate_uda.recipes.labelling import label_target
from prostate_uda.recipes.processes import PATIENCE, is_first, launched
from prostate_uda.recipes.record import writing
from prostate_uda.recipes.scene_pictures import FullSize, ReadScene, SaveScene, pictures_in
from prostate_uda.recipes.scene_truth import judge_pictures, scene_labels
from prostate_uda.recipes.zone_world import PSEUDO_VALUES

FLAGS = {"--source-root": "--source_dir", "--source-labels": "--source_labels_dir", "--target-root": "--target_dir"}
"""What the commands of this package call a folder, and what a bundle calls it."""
__all__ = [
    "FullSize",
    "Logged",
    "PseudoLabels",
    "ReadScene",
    "SaveScene",
    "join_processes",
    "judge_folder",
    "judge_pictures",
    "label_folder",
    "labelled_cases",
    "method",
    "own_device",
    "pictures_in",
    "pseudo_labelled",
    "put_weights",
    "scene_labels",
    "unlabelled_cases",
    "with_weights",
]
SHOWN = ("PZ", "TZ", "WP", "WP_hd95_mm")


def method(name: str, **options: Any) -> Method:  # noqa: ANN401  a method's settings are any
    """A method of ``METHODS``; JSON's lists become the tuples that settings are.

    Raises:
        UnknownNameError: no such method.
        SettingsError: an option that it does not have, or a value that it refuses.
    """
    told = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    return build_method(name, **told)


def labelled_cases(
    folder: str, labels: str | None = None, *, label_names: str | None = None, holdout: float = 0.2, seed: int = 0
) -> Split:
    """The labelled scans of a folder, split by patient into those to learn from and those to validate on.

    Args:
        folder: ``imagesTr`` and ``labelsTr``, ``images`` and ``labels``, or scans beside their labels
            (``case.nii.gz``, ``case_label.nii.gz``).
        labels: Folder of the labels where they lie elsewhere.
        label_names: What their values mean, such as ``1=TZ,2=PZ``; by default 1 = PZ, 2 = TZ.
        holdout: Share to validate on, at least one scan.
        seed: Of the split.

    Raises:
        DataError: no such folder, or fewer than two labelled scans.
    """
    with _own_words():
        split = FOLDER.cases(
            Path(folder), None if labels is None else Path(labels), role="source", seed=seed, holdout=holdout
        )
    if label_names is None:
        return split
    values = parse_label_names(label_names)
    return Split(*(tuple(replace(case, values=values) for case in part) for part in (split.train, split.test)))


def unlabelled_cases(folder: str) -> tuple[Case, ...]:
    """All scans of a folder; labels that lie there are not looked at.

    Raises:
        DataError: no such folder, or no scan in it.
    """
    with _own_words():
        found = FOLDER.located(Path(folder), role="target")
    return tuple(replace(case, label=None) for case in found.cases)


@contextmanager
def _own_words() -> Iterator[None]:
    """Let a mistake name the setting of a bundle, not the command's flag."""
    try:
        yield
    except DataError as error:
        told = str(error)
        for flag, name in FLAGS.items():
            told = told.replace(flag, name)
        raise DataError(told) from error


@dataclass(frozen=True)
class PseudoLabels:
    """What a round's frozen teacher says of the target.

    Attributes:
        cases: This process's scans with the files of their pseudo-labels.
        selection: The rule that chose them.
        thresholds: ``(C,)`` of the rule.
    """

    cases: tuple[Case, ...]
    selection: Selection
    thresholds: Tensor


def pseudo_labelled(
    *,
    teacher: Segmenter,
    cases: Sequence[Case],
    source: Sequence[Case],
    method: Method,
    folder: str,
    number: int = 1,
    threshold: float = 0.0,
) -> PseudoLabels:
    """Label the target with the network as it is now, once, into ``folder/pseudo_labels/round_<number>``.

    Files of an earlier call are made anew: its network was another one. A method that asks for no pseudo-labels gets
    the scans without.

    Args:
        teacher: Over whole scans.
        cases: Of the target, of all processes.
        source: Labelled scans, whose volumes a rule may look at.
        method: Whose rule chooses.
        folder: Gets the files.
        number: Of the round.
        threshold: In place of a rule, for methods that have none: less confident voxels are ignored.

    Raises:
        SettingsError: a threshold beside a rule, or the files cannot be written.
        DataError: a scan cannot be read.
    """
    selection = method.selection(number)
    if threshold:
        if selection != Selection():
            raise SettingsError(f"pseudo_threshold {threshold} beside the method's own rule, {selection}; leave it 0")
        selection = Selection(threshold=threshold)
    if "pseudo_labels" not in method.needs:
        return PseudoLabels(tuple(cases), selection, torch.ones(1))
    place = Workplace(
        folder=Path(folder), device=teacher.device, progress=Logged(), checkpoint_every=1, writes=is_first()
    )
    rule = f"{selection!r}, {uuid4().hex}"
    with writing(Path(folder)):
        labelled, thresholds = label_target(teacher, cases, selection, rule, number, place, source=source)
    named = tuple(replace(case, values=PSEUDO_VALUES) for case in labelled)
    return PseudoLabels(named, selection, thresholds)


class Logged(Silent):
    """A progress that goes to the log."""

    @contextmanager
    def task(self, title: str, total: int, done: int = 0, *, unit: str = "") -> Iterator[Silent]:  # noqa: ARG002
        """One line."""
        _log().info("%s (%d)", title, total)
        yield self

    def note(self, text: str) -> None:
        """One line."""
        _log().info("%s", text)


def label_folder(folder: str | None) -> Path:
    """The folder of the truth, checked before anything is segmented.

    Raises:
        SettingsError: none is given.
        DataError: it is no folder.
    """
    if folder is None:
        raise SettingsError("no labels to judge by; give their folder with --labels_dir")
    if not Path(folder).is_dir():
        raise DataError(f"{folder} is not a folder; give the folder of the labels with --labels_dir")
    return Path(folder)


def judge_folder(predictions: str, labels: Path, out: str, label_names: str | None = None) -> dict[str, float | None]:
    """Judge label maps case by case on the scans' own grids, as ``prostate-uda evaluate`` does.

    Args:
        predictions: Folder of ``<name>_zones.nii.gz``.
        labels: Folder of ``<name>.nii.gz``, NRRD or MHA.
        out: CSV with a row per case.
        label_names: What the labels' values mean, such as ``1=TZ,2=PZ``; by default 1 = PZ, 2 = TZ.

    Returns:
        The mean Dice of PZ, TZ and WP.

    Raises:
        DataError: no name is in both folders, or a pair lies on different grids.
        SettingsError: the CSV cannot be written.
    """
    rows, means = evaluate(Path(predictions), labels, label_names=label_names, out=Path(out), progress=Logged())
    for row in rows:
        _log().info("%s: %s", row["case"], ", ".join(f"{name} {float(row[name]):.3f}" for name in SHOWN))
    found = ", ".join(f"{name} {value:.3f}" for name, value in means.items() if value is not None)
    _log().info("mean of %d cases: %s; rows in %s", len(rows), found, out)
    return means


def own_device() -> torch.device:
    """The GPU of this process of torchrun, or the CPU.

    Raises:
        SettingsError: more processes than GPUs.
    """
    device, local = pick_device("auto"), int(os.environ.get("LOCAL_RANK", "0"))
    if device.type != "cuda":
        return device
    if local >= torch.cuda.device_count():
        raise SettingsError(f"more processes than the {torch.cuda.device_count()} GPUs here; start one per GPU")
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def join_processes(device: torch.device, seed: int = 0) -> None:
    """Join the group that torchrun started: NCCL on GPUs, gloo on CPUs. Each process draws its own random numbers.

    Args:
        device: Of this process.
        seed: Of the first process.

    Raises:
        SettingsError: torchrun did not start this process.
    """
    rank, count = launched()
    if count == 1 and "RANK" not in os.environ:
        raise SettingsError("one process alone; start several with torchrun, or leave out configs/multi_gpu_adapt.json")
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    idist.sync()
    set_determinism(seed=seed + rank)
    if rank:
        logging.disable(logging.INFO)  # MONAI's handlers have levels of their own


def _log() -> logging.Logger:
    return logging.getLogger("prostate_uda.bundle")
