"""Floor 5: the oracle of a comparison: the same network, trained on the labels of the target's own training cases.

It is what an adaptation can hope for. Its labels enter nothing else: the oracle starts anew.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from prostate_uda.data.datalists import ALONE, DataList
from prostate_uda.data.domains import PhantomDomain, StreetsDomain, get_domain
from prostate_uda.data.listed import TEST, TRAIN, ListedCase, ListedDomain
from prostate_uda.recipes.comparison.grid import SOURCE_ONLY, CompareSettings, Variant
from prostate_uda.recipes.settings import AdaptSettings
from prostate_uda.recipes.world import target_cases


@dataclass(frozen=True)
class Ceiling:
    """The oracle of one seed.

    Attributes:
        settings: Of its run.
        listed: Who it learns from and is tested on, where the domain's own split for a source would be another.
    """

    settings: AdaptSettings
    listed: DataList | None


def ceilings(settings: CompareSettings, lists: Path) -> dict[int, Ceiling]:
    """The oracle of each seed; nothing where the target's training cases have no labels, or none is tested on.

    Args:
        settings: What is compared.
        lists: Folder of data lists; nothing is written here.

    Raises:
        DataError: the target cannot be used.
    """
    found: dict[int, Ceiling] = {}
    for seed in settings.seeds:
        mine = replace(settings.common, seed=seed)
        steps = mine.source_steps + max(_steps(mine, variant) for variant in settings.variants)
        if _splits_alike(mine):
            found[seed] = Ceiling(_on_itself(mine, steps), None)
            continue
        listed = _labelled_part(mine) if mine.task == "zones" else None
        if listed is not None:
            path = lists / f"oracle-seed-{seed}.json"
            found[seed] = Ceiling(replace(_on_itself(mine, steps), data_list=path, fold=None), listed)
    return found


def _splits_alike(settings: AdaptSettings) -> bool:
    """Whether the target, as a source, has labels to learn from and is tested on the very cases that it is as a target.

    Phantoms are so, and scenes whose data set declares the test part; lists of cases are of prostates alone.
    """
    domain = get_domain(settings.target)
    if isinstance(domain, PhantomDomain | StreetsDomain):
        return settings.data_list is None
    if domain.task == "zones":
        return False
    found = domain.located(settings.target_root, settings.target_labels, role="target")
    labelled = {case.id for case in found.cases if case.label is not None}
    return 0 < len(found.declared_test & labelled) < len(labelled)


def _steps(common: AdaptSettings, variant: Variant) -> int:
    """Of all rounds of a row."""
    rounds, steps = (int(variant.changes.get(name, getattr(common, name))) for name in ("rounds", "steps"))
    return rounds * steps


def _on_itself(settings: AdaptSettings, steps: int) -> AdaptSettings:
    """Source training on the target, with as many steps as the adapted network that has most."""
    return replace(
        settings,
        source=settings.target,
        source_root=settings.target_root,
        source_labels=settings.target_labels,
        source_label_names=settings.target_label_names,
        method=SOURCE_ONLY,
        options={},
        source_steps=steps,
    )


def _labelled_part(settings: AdaptSettings) -> DataList | None:
    """The target's split, its training part with labels; None where there is nothing to learn from or to judge by."""
    split, labelled, values = target_cases(settings)
    train = [case.id for case in split.train if case.id in labelled]
    if not train or not any(case.label for case in split.test):
        return None
    splits = {TRAIN: train, TEST: [case.id for case in split.test]}
    part = ListedDomain(
        domain=settings.target,
        licence=get_domain(settings.target).licence,
        splits={name: tuple(ListedCase(case) for case in cases) for name, cases in splits.items()},
        labels=values,
    )
    return DataList(name="oracle", title="the target's own labels: what adaptation can hope for", parts={ALONE: part})
