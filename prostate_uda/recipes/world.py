"""Floor 5: the two domains of a run, found, checked and cut into slices before anything is written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from monai.transforms import Compose

from prostate_uda.data.domains import Case, Domain, PhantomDomain, PhantomSettings, Split, get_domain
from prostate_uda.data.labels import ZONE_VALUES, parse_label_names
from prostate_uda.data.slices import SliceSet
from prostate_uda.engines.observers import Progress
from prostate_uda.errors import DataError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.recipes.record import file_hash
from prostate_uda.recipes.settings import AdaptSettings

PSEUDO_VALUES = {**ZONE_VALUES, IGNORE: IGNORE}


@dataclass(frozen=True)
class World:
    """Source and target of a run.

    Attributes:
        source_domain: Where labels come from.
        target_domain: Where they are wanted.
        source_split: Training and held-out cases, labelled.
        target_split: Training cases without labels; test cases, labelled where the data are.
        source: Slices of the source's training cases.
        target: Slices of the target's training cases, without labels.
    """

    source_domain: Domain
    target_domain: Domain
    source_split: Split
    target_split: Split
    source: SliceSet
    target: SliceSet

    def with_labels(self, cases: Sequence[Case], preprocessing: Compose) -> SliceSet:
        """The target's slices with these cases' labels (pseudo-labels: 0, 1, 2, and 255 for none)."""
        return SliceSet.from_cases([replace(case, values=PSEUDO_VALUES) for case in cases], preprocessing)

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
        """SHA-256 of every image and label file, by ``role/part/case/file``."""
        found = {}
        for role, split in (("source", self.source_split), ("target", self.target_split)):
            for part, cases in (("train", split.train), ("test", split.test)):
                for case in cases:
                    for kind, path in (("image", case.image), ("label", case.label)):
                        if path is not None:
                            found[f"{role}/{part}/{case.id}/{kind}"] = file_hash(path)
        return found


def _slices(title: str, cases: Sequence[Case], preprocessing: Compose, progress: Progress) -> SliceSet:
    with progress.task(title, len(cases)) as task:
        return SliceSet.from_cases(cases, preprocessing, progress=lambda _: task.advance())


def _domain(name: str, settings: AdaptSettings) -> Domain:
    """The registry's domain; a phantom with the cohort that the settings ask for."""
    domain = get_domain(name)
    if not isinstance(domain, PhantomDomain):
        return domain
    wanted = PhantomSettings(
        size=settings.phantom_size, train=settings.phantom_train, test=settings.phantom_test, seed=settings.seed
    )
    return domain.configured(wanted)


def _named(split: Split, names: str | None) -> Split:
    """The split with the label values that the user names, where he does."""
    if names is None:
        return split
    values = parse_label_names(names)
    train, test = (tuple(replace(case, values=values) for case in part) for part in (split.train, split.test))
    return Split(train, test)


def open_world(settings: AdaptSettings, preprocessing: Compose, progress: Progress) -> World:
    """Find both domains' cases and read them.

    Raises:
        DataError: something is missing or cannot be used; it names the file.
    """
    source_domain = _domain(settings.source, settings)
    target_domain = _domain(settings.target, settings)
    source_split = source_domain.cases(settings.source_root, settings.source_labels, role="source", seed=settings.seed)
    target_split = target_domain.cases(settings.target_root, settings.target_labels, role="target", seed=settings.seed)
    source_split = _named(source_split, settings.source_label_names)
    target_split = _named(target_split, settings.target_label_names)
    if not target_split.train:
        raise DataError(f"{settings.target_root} has no case to adapt to; give more scans with --target-root")
    return World(
        source_domain,
        target_domain,
        source_split,
        target_split,
        _slices("reading the source", source_split.train, preprocessing, progress),
        _slices("reading the target", target_split.train, preprocessing, progress),
    )
