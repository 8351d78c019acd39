"""Floor 2: what a domain is, and how its cases become a train and a test part.

One case is one patient: splits never part a case, and they depend on nothing but the ids, the role and the seed.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal
from zlib import crc32

import numpy as np

from prostate_uda.data.labels import ZONE_VALUES
from prostate_uda.errors import DataError, SettingsError

Role = Literal["source", "target"]
Task = Literal["zones", "scenes"]
"""What is segmented: the zones of a prostate, or the classes of a driving scene."""
TARGET_HOLDOUT = 0.25
"""Share of a target domain's cases that is tested on where every case has a label."""


@dataclass(frozen=True)
class Case:
    """One patient's T2 image, or one driving scene, and, where known, its label.

    Args:
        id: Unique within the domain.
        image: An image file, or a folder with a DICOM series.
        label: A label file on the image's grid, or None.
        values: What the label file's values mean: file value to ours (0 background, 1 PZ, 2 TZ; of scenes the train
            ids 0 to 18 and IGNORE), total.
    """

    id: str
    image: Path
    label: Path | None = None
    values: Mapping[int, int] = field(default_factory=lambda: ZONE_VALUES, compare=False)


@dataclass(frozen=True)
class Found:
    """What a domain found in a root: all its cases, and the ids that the data set itself declares as test."""

    cases: tuple[Case, ...]
    declared_test: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Split:
    """The cases to learn from and the cases to judge by; a target's training cases carry no label."""

    train: tuple[Case, ...]
    test: tuple[Case, ...]


@dataclass(frozen=True, kw_only=True)
class Domain(ABC):
    """A data set: its names, its label values and where its files lie.

    Args:
        name: The registry's key.
        title: One line for people: scanner, field, coil.
        licence: Under which terms the data may be used.
        needs_root: Whether the user must say where the files are.
        channel: Which channel of a 4D image is T2.
        task: What is segmented.
        resize: Of scenes: height and width that a picture is resized to where the training crop is 512 × 1024.
        absent: Of scenes: classes that the data set never labels.
    """

    name: str
    title: str
    licence: str
    needs_root: bool = True
    channel: int = 0
    task: Task = "zones"
    resize: tuple[int, int] = (512, 1024)
    absent: tuple[int, ...] = ()

    @abstractmethod
    def find(self, root: Path | None, labels: Path | None = None) -> Found:
        """Find all cases, labelled or not, sorted by id.

        Args:
            root: The folder with the data set; None only where ``needs_root`` is False.
            labels: A folder with the labels, where they do not lie in the data set's own place.

        Raises:
            DataError: If the folder cannot be used.
        """

    def cases(
        self,
        root: Path | None,
        labels: Path | None = None,
        *,
        role: Role,
        seed: int,
        holdout: float = 0.2,
    ) -> Split:
        """Find the cases and split them for their role.

        Args:
            root: The folder with the data set.
            labels: A folder with the labels, where they do not lie in the data set's own place.
            role: ``"source"`` learns from labels; ``"target"`` loses its training labels here.
            seed: Of the split; the same seed gives the same split on every machine.
            holdout: Share of a source's labelled cases that is kept for testing.

        Raises:
            DataError: If the root is missing, is no folder, or holds too few usable cases.
        """
        found = self.located(root, labels, role=role)
        return split_cases(found.cases, role=role, seed=seed, holdout=holdout, declared_test=found.declared_test)

    def located(self, root: Path | None, labels: Path | None = None, *, role: Role) -> Found:
        """What :meth:`find` finds, once the folders are known to be there and to hold something.

        Raises:
            DataError: If a folder is missing or holds no case; the message names the flag of the role.
        """
        if root is None and self.needs_root:
            raise DataError(f"domain {self.name!r} needs its folder; say where it is with --{role}-root")
        if root is not None and not root.is_dir():
            raise DataError(f"{root} is not a folder; give the folder of domain {self.name!r} with --{role}-root")
        if labels is not None and not labels.is_dir():
            raise DataError(f"{labels} is not a folder; give the folder of the labels with --{role}-labels")
        found = self.find(root, labels)
        if not found.cases:
            raise DataError(f"{root} holds no case of domain {self.name!r}; give another folder with --{role}-root")
        return found


def split_cases(
    cases: Iterable[Case],
    *,
    role: Role,
    seed: int,
    holdout: float = 0.2,
    declared_test: frozenset[str] = frozenset(),
) -> Split:
    """Split cases into train and test, by patient.

    A source keeps its labelled cases only and holds out a seeded share of at least one. A target tests on its labelled
    cases and learns from the others; where all are labelled it holds out a seeded quarter; where none is, it tests on
    nothing. A test part that the data set declares goes before all that, unless it has no labels to judge by:
    then its cases count as unlabelled ones. A target's training labels are dropped here: nothing downstream sees them.

    Args:
        cases: All cases, with unique ids.
        role: ``"source"`` or ``"target"``.
        seed: Of the shuffle; the order in which cases come does not matter.
        holdout: Share of a source's labelled cases to test on, in (0, 1).
        declared_test: Ids that the data set itself declares as test.

    Raises:
        DataError: If two cases share an id, or a source has fewer than two labelled cases.
        SettingsError: If ``holdout`` is outside (0, 1) or ``role`` is neither.
    """
    if not 0 < holdout < 1:
        raise SettingsError(f"a holdout of {holdout}; a share between 0 and 1 is needed, such as 0.2")
    ordered = sorted(cases, key=lambda case: case.id)
    if not ordered:
        raise DataError(f"no case to split; give a folder with scans with --{role}-root")
    _check_unique(ordered)
    declared = tuple(case for case in ordered if case.id in declared_test and case.label is not None)
    if role == "source":
        return _source_split(ordered, declared, seed, holdout)
    if role == "target":
        return _target_split(ordered, declared, seed)
    raise SettingsError(f"unknown role {role!r}; choose one of: source, target")


def _source_split(cases: list[Case], declared: tuple[Case, ...], seed: int, holdout: float) -> Split:
    labelled = [case for case in cases if case.label is not None]
    if len(labelled) < 2:
        raise DataError(
            f"a source with {len(labelled)} labelled of {len(cases)} cases; at least 2 are needed, one to learn from "
            "and one to test on; give its labels with --source-labels or another folder with --source-root"
        )
    test = declared if 0 < len(declared) < len(labelled) else _hold_out(labelled, holdout, seed)
    return Split(train=_without(labelled, test), test=test)


def _target_split(cases: list[Case], declared: tuple[Case, ...], seed: int) -> Split:
    labelled = tuple(case for case in cases if case.label is not None)
    test = declared or labelled
    if len(test) == len(cases):
        test = _hold_out(cases, TARGET_HOLDOUT, seed)
    return Split(train=tuple(replace(case, label=None) for case in _without(cases, test)), test=test)


def _hold_out(cases: list[Case], share: float, seed: int) -> tuple[Case, ...]:
    """Draw a share of at least one case that leaves at least one, sorted by id."""
    if len(cases) < 2:
        raise DataError(
            f"one labelled case ({cases[0].id}) cannot be learned from and tested on; add cases, or leave out its label"
        )
    count = min(max(1, round(share * len(cases))), len(cases) - 1)
    order = np.random.default_rng([seed, crc32(b"split")]).permutation(len(cases))
    return tuple(cases[i] for i in sorted(order[:count].tolist()))


def _without(cases: Iterable[Case], others: tuple[Case, ...]) -> tuple[Case, ...]:
    ids = {case.id for case in others}
    return tuple(case for case in cases if case.id not in ids)


def _check_unique(cases: list[Case]) -> None:
    for first, second in pairwise(cases):
        if first.id == second.id:
            raise DataError(
                f"two images of one case {first.id!r}: {first.image} and {second.image}; keep one image per case"
            )
