"""Floor 5: the two domains of a run, found, checked and cut into slices before anything is written."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import ignite.distributed as idist
import torch
from torch import Tensor

from prostate_uda.data.cache import content_hash
from prostate_uda.data.datalists import DataList
from prostate_uda.data.domains import Case, Domain, PhantomDomain, PhantomSettings, Split, get_domain
from prostate_uda.data.domains.base import Role
from prostate_uda.data.labels import PZ, TZ, ZONE_VALUES, ZONE_WORDS, parse_label_names
from prostate_uda.data.reading import CaseReader, read_truth
from prostate_uda.data.slices import SliceSet
from prostate_uda.data.volumes import read_image, read_label
from prostate_uda.engines.observers import Progress
from prostate_uda.errors import DataError, SettingsError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.recipes.pipeline import Pipeline, build_pipeline
from prostate_uda.recipes.processes import first_alone, is_first, own_cases, together
from prostate_uda.recipes.settings import AdaptSettings

PSEUDO_VALUES = {**ZONE_VALUES, IGNORE: IGNORE}


@dataclass(frozen=True)
class World:
    """Source and target of a run.

    Attributes:
        source_split: Training and held-out cases, labelled.
        target_split: Training cases without labels; test cases, labelled where the data are.
        source: Slices of this process's share of the source's training cases.
        target: Slices of its share of the target's training cases, without labels.
        pipeline: From files to slices.
        others: Further files that decide a run, by what they are.
    """

    source_split: Split
    target_split: Split
    source: SliceSet
    target: SliceSet
    pipeline: Pipeline
    others: Mapping[str, Path]

    def with_labels(self, cases: Sequence[Case]) -> SliceSet:
        """The target's slices with these cases' labels (pseudo-labels: 0, 1, 2, and 255 for none)."""
        named = [replace(case, values=PSEUDO_VALUES) for case in cases]
        return SliceSet.from_cases(named, replace(self.pipeline.reader, store=None))

    def everyone(self) -> dict[str, SliceSet]:
        """The training slices of both domains, of all processes' patients."""
        if idist.get_world_size() == 1:
            return {"source": self.source, "target": self.target}
        splits = {"source": self.source_split, "target": self.target_split}
        return {role: SliceSet.from_cases(split.train, self.pipeline.reader) for role, split in splits.items()}

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
        found = {name: content_hash(path) for name, path in self.others.items()}
        for role, split in (("source", self.source_split), ("target", self.target_split)):
            for part, cases in (("train", split.train), ("test", split.test)):
                found |= case_hashes(f"{role}/{part}", cases)
        return found


def case_hashes(part: str, cases: Sequence[Case]) -> dict[str, str]:
    """SHA-256 of the image and label of each case, by ``part/case/file``."""
    files = ((case, kind, path) for case in cases for kind, path in (("image", case.image), ("label", case.label)))
    return {f"{part}/{case.id}/{kind}": content_hash(path) for case, kind, path in files if path is not None}


def _slices(title: str, cases: Sequence[Case], reader: CaseReader, progress: Progress) -> SliceSet:
    with progress.task(title, len(cases)) as task:
        return SliceSet.from_cases(cases, reader, progress=lambda _: task.advance())


def _domain(name: str, settings: AdaptSettings) -> Domain:
    """The registry's domain; a phantom with the cohort that the settings ask for."""
    domain = get_domain(name)
    if not isinstance(domain, PhantomDomain):
        return domain
    wanted = PhantomSettings(
        size=settings.phantom_size, train=settings.phantom_train, test=settings.phantom_test, seed=settings.seed
    )
    return domain.configured(wanted)


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
        return domain.cases(root, labels, role=role, seed=settings.seed)
    return listed.apply(domain.located(root, labels, role=role), role, settings.fold)


def _check_test_cases(cases: Sequence[Case], channel: int, progress: Progress) -> None:
    """Read what is judged at the end once now: a damaged scan is to stop a run before it trains, not after.

    Raises:
        DataError: an image or label cannot be used, or they lie on different grids.
    """
    with progress.task("checking the test cases", len(cases)) as task:
        for case in cases:
            read_truth(case, read_image(case.image, channel))
            task.advance()


def _check_zones(source: SliceSet, settings: AdaptSettings, progress: Progress) -> None:
    """Refuse a source without both zones; warn where PZ lies in front of TZ (rows run anterior to posterior).

    Raises:
        DataError: no label of the source, in no process, holds PZ, or none holds TZ.
    """
    rows = [torch.nonzero(source.labels == zone)[:, 1].double() for zone in (PZ, TZ)]
    counts, sums = idist.all_reduce(torch.stack([row.new_tensor([len(row), row.sum()]) for row in rows])).T
    missing = [name for name, count in zip(("PZ", "TZ"), counts, strict=True) if not count]
    if missing:
        raise DataError(
            f"no label of the source holds {' or '.join(missing)}; both zones are needed, a whole gland's label is not "
            "enough"
        )
    behind, before = sums / counts
    if behind < before:
        named = settings.source_label_names
        mend = f"leave out --source-label-names {named}" if named else "say --source-label-names 1=TZ,2=PZ"
        progress.note(
            f"warning: the source's PZ lies in front of its TZ, which no prostate has: are the values exchanged? {mend}"
        )


def _check_shared(source: Split, target: Split, progress: Progress) -> None:
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


def zone_volumes(cases: Sequence[Case]) -> Tensor:
    """``(C,)`` float64, the mean mL of each class in these cases' labels.

    Args:
        cases: Labelled, at least one.

    Raises:
        DataError: a label cannot be used.
    """
    volumes = []
    for case in cases:
        label = read_label(cast("Path", case.label), case.values)
        counts = torch.from_numpy(label.array).flatten().long().bincount(minlength=len(ZONE_WORDS))
        volumes.append(counts[: len(ZONE_WORDS)].double() * (math.prod(label.grid.spacing) / 1000))
    return torch.stack(volumes).mean(dim=0)


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


def open_world(settings: AdaptSettings, progress: Progress) -> World:
    """Find both domains' cases and read them; of several processes the first checks, and each reads its own patients.

    Raises:
        DataError: something is missing or cannot be used; it names the file.
        SettingsError: there are more processes than patients.
    """
    with together():
        with first_alone():
            source_split, target_split, channel = splits(settings)
            mine = own_cases(source_split.train, "source"), own_cases(target_split.train, "target")
            if is_first():
                _check_shared(source_split, target_split, progress)
                _check_test_cases((*source_split.test, *target_split.test), channel, progress)
            pipeline = build_pipeline(settings.grid, settings.normalize, source_split.train, progress, channel=channel)
        source = _slices("reading the source", mine[0], pipeline.reader, progress)
        target = _slices("reading the target", mine[1], pipeline.reader, progress)
    _check_zones(source, settings, progress)
    others = {name: path for name in ("weights", "data_list") if (path := getattr(settings, name)) is not None}
    return World(source_split, target_split, source, target, pipeline, others)
