"""Floor 5: the grid of a comparison: which runs there are, and which of them others start from. Nothing is touched."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from prostate_uda.errors import SettingsError, UnknownNameError
from prostate_uda.methods import METHODS
from prostate_uda.recipes.resuming import first_rule
from prostate_uda.recipes.settings import GOES_WITH, OWN, AdaptSettings

PROTOCOLS = {"paper": "plain", "strong": "strong"}
"""Name of a protocol to its augmentation."""
SOURCE_ONLY, ORACLE = "source-only", "oracle"


@dataclass(frozen=True)
class Variant:
    """A row of the table: a method with settings of its own.

    Attributes:
        name: Of the row.
        method: Name in ``METHODS``.
        options: Settings of the method, by field name.
        changes: Other settings of the adaptation in place of the grid's, those in
            :data:`~prostate_uda.recipes.settings.OWN` alone: the source network is the same for all.
        labeller: The method whose network makes the pseudo-labels, where the table is to tell.
    """

    name: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    labeller: str | None = None


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """What is compared.

    Attributes:
        common: Settings of every run; method, options, augmentation, seed and start are the grid's.
        variants: Rows of the table beside source-only and oracle, which are always there.
        seeds: Each with its own cohort of phantoms, network and batches.
        protocols: Names in :data:`PROTOCOLS`.

    Raises:
        SettingsError: nothing to compare, something is there twice, or a setting that no method has.
        UnknownNameError: a method or protocol of that name is not there.
    """

    common: AdaptSettings
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    protocols: tuple[str, ...] = ("paper", "strong")

    def __post_init__(self) -> None:
        rows = [folder_name(variant.name) for variant in self.variants]
        for kind, values in (("method", rows), ("seed", self.seeds), ("protocol", self.protocols)):
            if not values or len({*values}) < len(values):
                told = ", ".join(map(str, values)) or "none"
                raise SettingsError(f"{kind}s to compare: {told}; give one or more, each once")
        for name in self.protocols:
            if name not in PROTOCOLS:
                raise UnknownNameError("protocol", name, PROTOCOLS)
        for variant in self.variants:
            _check_name(variant)
            if not {*variant.changes} <= OWN - {"start_from", "target_labels", "target_label_names"}:
                raise SettingsError(f"{variant.name} changes {', '.join(variant.changes)}; allowed are {sorted(OWN)}")
        plan(self)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of the grid.

    Attributes:
        protocol: Name in :data:`PROTOCOLS`.
        row: Of the table.
        settings: All of it but what it starts from.
        after: Folders of the runs that it starts from, the first that there is; they are done before.
    """

    protocol: str
    row: str
    settings: AdaptSettings
    after: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Where it lies below ``runs/``."""
        return f"{self.protocol}/seed-{self.settings.seed}/{folder_name(self.row)}"

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.row}, {self.protocol}, seed {self.settings.seed}"


def folder_name(row: str) -> str:
    """A row's name as a file system has it: ``metacorrection?ntm_mode=learned`` is ``metacorrection,ntm_mode=learned``.

    Two rows of a table have two folders, or are refused.
    """
    return re.sub(r"[^\w.,=+-]", "_", re.sub(r"[?&]\s*|,\s+", ",", row)).strip(".")


def _check_name(variant: Variant) -> None:
    """Refuse a row whose folder is that of a row that is always there.

    Raises:
        SettingsError: so it is.
    """
    folder = folder_name(variant.name)
    if folder == ORACLE or (folder == SOURCE_ONLY and variant != Variant(SOURCE_ONLY, SOURCE_ONLY)):
        raise SettingsError(
            f"a row named {variant.name!r}; {ORACLE!r} is the one trained on the target, {SOURCE_ONLY!r} the one "
            "without adaptation; choose another name"
        )


def every_method() -> tuple[Variant, ...]:
    """What ``METHODS`` holds now, as it is without options."""
    return tuple(Variant(name, name) for name in METHODS)


def plan(settings: CompareSettings, ceilings: Mapping[int, AdaptSettings] | None = None) -> tuple[Run, ...]:
    """Every run of a comparison, those that others start from before them.

    Of each protocol and seed the run ``source-only`` trains the source network, and the others start from it, or from
    one that did. The first whose method needs the domain predictor trains it, and the first of each rule of
    pseudo-labels makes them; the others that need the same start there. A run starts from one folder, so those that
    need the predictor come first: who makes labels for one of them has the predictor, too.

    A method that goes with an augmentation is run under that protocol alone, whichever are asked for.

    Args:
        settings: What is compared.
        ceilings: Settings of the oracle by seed, where there is one.
    """
    runs: list[Run] = []
    for protocol in dict.fromkeys((*settings.protocols, *filter(None, map(home, settings.variants)))):
        asked = protocol in settings.protocols
        variants = [row for row in settings.variants if home(row) == protocol or (asked and home(row) is None)]
        for seed in settings.seeds:
            runs += _block(settings, variants, protocol, seed)
    for run in tuple(runs):
        ceiling = (ceilings or {}).get(run.settings.seed)
        if run.row == SOURCE_ONLY and run.protocol in settings.protocols and ceiling is not None:
            runs.append(replace(run, row=ORACLE, settings=replace(ceiling, augment=run.settings.augment)))
    return tuple(runs)


def lent(protocol: str) -> str:
    """Name of the row that source-only of another protocol has in a table."""
    return f"{SOURCE_ONLY}, {protocol}"


def home(variant: Variant) -> str | None:
    """The protocol of the augmentation that is a part of the method; None where it has none."""
    augment = GOES_WITH.get(variant.method, {}).get("augment")
    return next((name for name, theirs in PROTOCOLS.items() if theirs == augment), None)


def shown(settings: CompareSettings, runs: Sequence[Run], protocol: str) -> list[tuple[str, Run]]:
    """Every run that a protocol's table shows, with the name of its row.

    Beside its own: methods that go with another augmentation, and source-only with it, which they are to be seen
    beside.
    """
    found = [(run.row, run) for run in runs if run.protocol == protocol]
    away = {row.name: at for row in settings.variants if (at := home(row)) not in (None, protocol)}
    found += [(run.row, run) for run in runs if away.get(run.row) == run.protocol]
    others = {*away.values()} | {"strong"} - {protocol}
    return found + [(lent(run.protocol), run) for run in runs if run.row == SOURCE_ONLY and run.protocol in others]


def _block(settings: CompareSettings, variants: Sequence[Variant], protocol: str, seed: int) -> list[Run]:
    """The runs of one protocol and seed but for the oracle's."""
    common = replace(settings.common, seed=seed, augment=PROTOCOLS[protocol], start_from=None)
    source = Run(protocol=protocol, row=SOURCE_ONLY, settings=replace(common, method=SOURCE_ONLY, options={}))
    rows = [
        Run(
            protocol=protocol,
            row=variant.name,
            settings=replace(common, method=variant.method, options=variant.options, **_changes(variant)),
        )
        for variant in variants
        if variant.name != SOURCE_ONLY
    ]
    rows.sort(key=lambda run: not run.settings.trains_predictor)  # stable
    runs, predicted, labelled = [source], "", dict[str, str]()
    for run in rows:
        predicts, rule = run.settings.trains_predictor, first_rule(run.settings)
        makers = labelled.get(rule or "", ""), predicted if predicts else "", source.folder
        runs.append(replace(run, after=tuple(dict.fromkeys(filter(None, makers)))))
        if predicts:
            predicted = predicted or run.folder
        if rule is not None:
            labelled.setdefault(rule, run.folder)
    return runs


def _changes(variant: Variant) -> dict[str, Any]:
    """What a row has in place of the grid's settings: what its method goes with, but for the grid's protocol."""
    own = {name: value for name, value in GOES_WITH.get(variant.method, {}).items() if name != "augment"}
    return {**own, **variant.changes}


def row_order(names: Sequence[str]) -> list[str]:
    """Source-only, then the methods as ``METHODS`` has them, each with its variants, the oracle last."""
    ranks = {name: rank for rank, name in enumerate((SOURCE_ONLY, *METHODS))}
    return sorted(names, key=lambda name: (name == ORACLE, ranks.get(re.split(r"[?,]", name)[0], len(ranks))))
