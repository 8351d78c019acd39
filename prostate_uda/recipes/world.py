"""Floor 5: the two domains of a run, found and checked before anything is written; what is seen in them is a task's."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import nn

from prostate_uda.data.cache import content_hash
from prostate_uda.data.datalists import DataList
from prostate_uda.data.domains import (
    Case,
    Domain,
    PhantomDomain,
    PhantomSettings,
    Split,
    StreetsDomain,
    StreetsSettings,
    get_domain,
)
from prostate_uda.data.domains.base import Role
from prostate_uda.data.labels import parse_label_names
from prostate_uda.data.slices import ImageSet
from prostate_uda.engines.observers import Progress
from prostate_uda.engines.rounds import Labeller
from prostate_uda.errors import DataError, SettingsError
from prostate_uda.recipes.record import Record
from prostate_uda.recipes.settings import AdaptSettings

HOLDOUT = {"zones": 0.2, "scenes": 0.02}
"""Share of a source's labelled cases that is kept to judge by: the papers on driving scenes learn from all."""
Seen = TypeVar("Seen", bound=ImageSet)
Judged = TypeVar("Judged", bound=Labeller)


@dataclass(frozen=True)
class World(ABC, Generic[Seen, Judged]):
    """Source and target of a run, and what is done with whole cases of them.

    Attributes:
        settings: Of the run.
        source_split: Training and held-out cases, labelled.
        target_split: Training cases without labels; test cases, labelled where the data are.
        source: Images of this process's share of the source's training cases.
        target: Images of its share of the target's training cases, without labels.
    """

    settings: AdaptSettings
    source_split: Split
    target_split: Split
    source: Seen
    target: Seen

    @abstractmethod
    def with_labels(self, cases: Sequence[Case]) -> Seen:
        """The images of these cases of the target with the labels that they have: a round's pseudo-labels."""

    @abstractmethod
    def segmenter(self, network: nn.Module) -> Judged:
        """The network, of logits, over whole cases of the target."""

    @abstractmethod
    def judge(self, out: Path, record: Record, source_only: Judged, adapted: Judged, progress: Progress) -> None:
        """Predict every shown case with both networks, and judge it where it has a label.

        Writes ``predictions/``, ``pictures/`` and ``cases.csv``, and puts the means into ``record``.
        """

    @abstractmethod
    def write_bundle(self, folder: Path, network: nn.Module, provenance: Mapping[str, Any], progress: Progress) -> None:
        """The finished network, inside ``FinalLogits``, as a MONAI bundle."""

    def shown(self) -> tuple[Case, ...]:
        """The target cases that are predicted at the end: the test cases, or all where there are none."""
        return self.target_split.test or self.target_split.train

    def case_ids(self) -> dict[str, dict[str, list[str]]]:
        """Who is in which part."""
        return {
            role: {"train": [case.id for case in split.train], "test": [case.id for case in split.test]}
            for role, split in (("source", self.source_split), ("target", self.target_split))
        }

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every image and label that is read, by ``role/part/case/file``, and of other files by name."""
        others = {name: getattr(self.settings, name) for name in ("weights", "data_list")}
        found = {name: content_hash(path) for name, path in others.items() if path is not None}
        for role, split in (("source", self.source_split), ("target", self.target_split)):
            for part, cases in (("train", split.train), ("test", split.test)):
                found |= case_hashes(f"{role}/{part}", cases)
        return found


def case_hashes(part: str, cases: Sequence[Case]) -> dict[str, str]:
    """SHA-256 of the image and label of each case, by ``part/case/file``."""
    files = ((case, kind, path) for case in cases for kind, path in (("image", case.image), ("label", case.label)))
    return {f"{part}/{case.id}/{kind}": content_hash(path) for case, kind, path in files if path is not None}


def _domain(name: str, settings: AdaptSettings) -> Domain:
    """The registry's domain; a phantom with the cohort that the settings ask for."""
    domain = get_domain(name)
    numbers = {"train": settings.phantom_train, "test": settings.phantom_test, "seed": settings.seed}
    if isinstance(domain, PhantomDomain):
        return domain.configured(PhantomSettings(size=settings.phantom_size, **numbers))
    if isinstance(domain, StreetsDomain):
        return domain.configured(StreetsSettings(size=settings.phantom_size, **numbers))
    return domain


def _data_list(settings: AdaptSettings) -> DataList | None:
    if settings.data_list is None:
        return None
    listed = DataList.read(settings.data_list)
    if not (listed.concerns("source", settings.source) or listed.concerns("target", settings.target)):
        raise SettingsError(
            f"{settings.data_list} lists neither {settings.source!r} nor {settings.target!r}; give another --data-list"
        )
    return listed


def _split(domain: Domain, role: Role, settings: AdaptSettings, listed: DataList | None) -> Split:
    """The cases of a role: by the data list where there is one, else as the domain splits them."""
    root, labels = getattr(settings, f"{role}_root"), getattr(settings, f"{role}_labels")
    if listed is None or not listed.concerns(role, domain.name):
        return domain.cases(root, labels, role=role, seed=settings.seed, holdout=HOLDOUT[domain.task])
    return listed.apply(domain.located(root, labels, role=role), role, settings.fold)


def check_shared(source: Split, target: Split, progress: Progress) -> None:
    """Refuse to judge by scans that were learned from; warn where one is in both domains.

    Raises:
        DataError: a test case of the target is a training case of the source.
    """
    learned = {content_hash(case.image) for case in source.train}
    judged = [case.id for case in target.test if content_hash(case.image) in learned]
    if judged:
        raise DataError(
            f"{', '.join(judged[:4])} would be tested on in the target and is learned from in the source (the same "
            "file); keep the two apart"
        )
    ours = learned | {content_hash(case.image) for case in source.test}
    shared = [case.id for case in (*target.train, *target.test) if content_hash(case.image) in ours]
    if shared:
        progress.note(f"warning: {len(shared)} scans are in both source and target: {', '.join(shared[:4])}")


def _named(split: Split, names: str | None) -> Split:
    """The split with the label values that the user names, where he does."""
    if names is None:
        return split
    values = parse_label_names(names)
    train, test = (tuple(replace(case, values=values) for case in part) for part in (split.train, split.test))
    return Split(train, test)


def splits(settings: AdaptSettings) -> tuple[Split, Split, int]:
    """Source, target, and which channel of the target's 4D images is T2.

    Raises:
        DataError: a domain cannot be used.
    """
    source_domain, target_domain = _domain(settings.source, settings), _domain(settings.target, settings)
    listed = _data_list(settings)
    source = _named(_split(source_domain, "source", settings, listed), settings.source_label_names)
    target = _named(_split(target_domain, "target", settings, listed), settings.target_label_names)
    if not target.train:
        raise DataError(f"{settings.target_root} has no case to adapt to; give more scans with --target-root")
    return source, target, target_domain.channel


def target_cases(settings: AdaptSettings) -> tuple[Split, Mapping[str, Case], Mapping[str, str]]:
    """The target's split, all its labelled cases by id, and what a data list says that label values mean.

    Raises:
        DataError: the target cannot be used.
    """
    domain, listed = _domain(settings.target, settings), _data_list(settings)
    found = domain.located(settings.target_root, settings.target_labels, role="target")
    labelled = {case.id: case for case in found.cases if case.label is not None}
    concerned = listed is not None and listed.concerns("target", domain.name)
    values = listed.part("target").labels if listed is not None and concerned else {}
    return _split(domain, "target", settings, listed), labelled, values
