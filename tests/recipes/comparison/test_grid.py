"""The grid of a comparison as text, and what is refused before anything runs."""

import json
from pathlib import Path

import pytest

from prostate_uda.errors import SettingsError, UnknownNameError
from prostate_uda.methods import METHODS, SelfTraining
from prostate_uda.recipes import AdaptSettings
from prostate_uda.recipes.comparison.ceiling import ceilings
from prostate_uda.recipes.comparison.grid import (
    CompareSettings,
    Variant,
    every_method,
    folder_name,
    plan,
    row_order,
    shown,
)
from prostate_uda.recipes.comparison.queue import _with_start, startable


def settings(*variants: Variant, **changes: object) -> CompareSettings:
    given = {"common": AdaptSettings(), "variants": variants, "seeds": (0,), "protocols": ("paper",), **changes}
    return CompareSettings(**given)


DMLC = Variant("dmlc", "dmlc")
LEARNED = Variant("metacorrection?ntm_mode=learned", "metacorrection", {"ntm_mode": "learned"})
PLAIN = Variant("self-training", "self-training")


def test_the_grid_by_hand() -> None:
    """Source first; who makes the domain predictor or pseudo-labels before who needs them; oracles from nothing."""
    made = settings(PLAIN, DMLC, LEARNED, seeds=(0, 4), protocols=("paper", "strong"))
    runs = plan(made, {seed: ceiling.settings for seed, ceiling in ceilings(made, None).items()})
    found = {run.folder: run.after for run in runs}
    assert list(found)[:4] == [
        "paper/seed-0/source-only",
        "paper/seed-0/dmlc",
        "paper/seed-0/metacorrection,ntm_mode=learned",
        "paper/seed-0/self-training",
    ]
    assert len(found) == len(runs) == 2 * 2 * 5
    for block in ("paper/seed-0", "paper/seed-4", "strong/seed-0", "strong/seed-4"):
        source, dmlc = f"{block}/source-only", f"{block}/dmlc"
        assert found[source] == found[f"{block}/oracle"] == ()
        assert found[dmlc] == (source,)
        assert found[f"{block}/self-training"] == found[f"{block}/metacorrection,ntm_mode=learned"] == (dmlc, source)


def test_a_rule_is_labelled_once_and_the_predictor_trained_once() -> None:
    """Each run's start, or that one's start, has what it needs; who needs neither waits for the source alone."""
    noisy = Variant("noisy", "self-training", changes={"label_noise": "symmetric:0.2"})
    threshold, entropy, cbst = (Variant(name, name) for name in ("threshold", "entropy", "cbst"))
    confident = Variant("confident", "metacorrection", changes={"pseudo_threshold": 0.9})
    more = Variant("more", "metacorrection", {"ntm_rate": 0.1}, {"pseudo_threshold": 0.9})
    rows = (threshold, PLAIN, noisy, entropy, cbst, Variant("mrkld", "mrkld"), DMLC, confident, more)
    found = {run.row: [folder.rpartition("/")[2] for folder in run.after] for run in plan(settings(*rows))}
    assert found == {
        "source-only": [],
        "dmlc": ["source-only"],
        "confident": ["dmlc", "source-only"],
        "more": ["confident", "dmlc", "source-only"],
        "threshold": ["confident", "source-only"],
        "self-training": ["dmlc", "source-only"],
        "noisy": ["source-only"],
        "entropy": ["source-only"],
        "cbst": ["source-only"],
        "mrkld": ["cbst", "source-only"],
    }


def test_what_each_run_is_told() -> None:
    made = settings(LEARNED, protocols=("strong",), seeds=(3,), common=AdaptSettings(steps=7, rounds=2, source_steps=5))
    source, learned, oracle = plan(made, {3: ceilings(made, None)[3].settings})
    assert (source.settings.method, source.settings.seed, source.settings.augment) == ("source-only", 3, "strong")
    assert (learned.settings.method, learned.settings.options) == ("metacorrection", {"ntm_mode": "learned"})
    assert (oracle.settings.source, oracle.settings.target) == ("phantom-1.5t", "phantom-1.5t")
    assert (oracle.settings.source_steps, oracle.settings.augment, oracle.settings.seed) == (5 + 2 * 7, "strong", 3)


def test_a_run_waits_for_those_it_starts_from() -> None:
    runs = plan(settings(PLAIN, DMLC, LEARNED, protocols=("paper", "strong")))
    source, dmlc, learned, plain, other = runs[:5]
    assert startable(runs, ()) == [source, other]
    assert startable(runs[1:], (source.folder,)) == [other]
    assert startable([dmlc, learned, plain], ()) == [dmlc]
    assert startable([learned, plain], ()) == [learned, plain]


def test_where_it_started_counts_while_it_is_there(tmp_path: Path) -> None:
    """A begun run goes on from where it did; in a comparison that was moved, from the run of now."""
    learned = plan(settings(DMLC, LEARNED))[2]
    old, ours, source = tmp_path / "old", tmp_path / learned.folder, tmp_path / "paper" / "seed-0" / "source-only"
    for folder in (old, ours, source):
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"settings": {"start_from": str(old)}}))
    assert _with_start(learned, tmp_path).start_from == old
    (old / "run.json").unlink()
    assert _with_start(learned, tmp_path).start_from == source


def test_every_method_is_every_method_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "newcomer", SelfTraining)
    assert [variant.name for variant in every_method()] == [*METHODS]
    assert "paper/seed-0/newcomer" in [run.folder for run in plan(settings(*every_method()))]


def test_rows_stand_as_the_methods_do() -> None:
    given = ["oracle", "metacorrection?ntm_mode=learned", "a name of its own", "dmlc", "self-training", "source-only"]
    assert row_order(given) == [
        "source-only",
        "self-training",
        "dmlc",
        "metacorrection?ntm_mode=learned",
        "a name of its own",
        "oracle",
    ]


def test_a_row_is_a_folder() -> None:
    assert folder_name("cbst?start=0.1&step=0.05") == "cbst,start=0.1,step=0.05"
    assert folder_name("dmlc?level_weights=[0.1,1]") == "dmlc,level_weights=_0.1,1_"
    assert "/" not in folder_name("a?b=../../c")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seeds": ()}, "seeds to compare: none"),
        ({"seeds": (1, 1)}, "seeds to compare: 1, 1"),
        ({"protocols": ("paper", "paper")}, "each once"),
        ({"variants": (DMLC, DMLC)}, "methods to compare: dmlc, dmlc"),
        ({"variants": (Variant("oracle", "dmlc"),)}, "choose another name"),
        ({"variants": (Variant("source-only", "dmlc"),)}, "choose another name"),
        ({"variants": (Variant("source-only.", "source-only"),)}, "choose another name"),
        ({"variants": (Variant("source-only", "source-only", changes={"steps": 9}),)}, "choose another name"),
        ({"variants": (Variant("x", "dmlc", changes={"network": "other"}),)}, "x changes network"),
        ({"variants": (Variant("x", "dmlc", {"nothing": 1}),)}, "no option 'nothing'"),
    ],
)
def test_what_cannot_be_compared(changes: dict, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        settings(**{"variants": (DMLC,), **changes})


def test_names_that_are_not_there() -> None:
    with pytest.raises(UnknownNameError, match="unknown protocol 'plain'; choose one of: paper, strong"):
        settings(DMLC, protocols=("plain",))
    with pytest.raises(UnknownNameError, match="unknown method 'dmcl'"):
        settings(Variant("dmcl", "dmcl"))


def test_source_only_may_be_named_among_the_methods() -> None:
    assert [run.row for run in plan(settings(Variant("source-only", "source-only"), DMLC))] == ["source-only", "dmlc"]


RECOMMENDED = Variant("recommended", "recommended")


def test_a_method_that_goes_with_an_augmentation_is_run_there_alone() -> None:
    both = settings(PLAIN, RECOMMENDED, protocols=("paper", "strong"))
    runs = plan(both, {0: AdaptSettings(source="phantom-1.5t")})
    blocks = {name: {run.row for run in runs if run.protocol == name} for name in ("paper", "strong")}
    assert blocks["strong"] - blocks["paper"] == {"recommended"}
    own = {(run.row == "recommended", run.settings.warm_up) for run in runs}
    assert own == {(True, "adversarial"), (False, "none")}
    assert {run.settings.augment for run in runs if run.row == "recommended"} == {"strong"}
    table = {name: [row for row, _ in shown(both, runs, name)] for name in ("paper", "strong")}
    assert table["strong"] == ["source-only", "recommended", "self-training", "oracle"]
    assert table["paper"] == ["source-only", "self-training", "oracle", "recommended", "source-only, strong"]
    lent = dict(shown(both, runs, "paper"))
    assert lent["recommended"] == dict(shown(both, runs, "strong"))["recommended"]
    assert lent["source-only, strong"].folder == "strong/seed-0/source-only"


def test_under_the_papers_protocol_alone_it_brings_its_own_source_network() -> None:
    made = settings(PLAIN, RECOMMENDED)
    runs = plan(made, {0: AdaptSettings(source="phantom-1.5t")})
    assert [run.folder for run in runs] == [
        "paper/seed-0/source-only",
        "paper/seed-0/self-training",
        "strong/seed-0/source-only",
        "strong/seed-0/recommended",
        "paper/seed-0/oracle",
    ]
    assert "recommended" in [row for row, _ in shown(made, runs, "paper")]
    alone = settings(PLAIN)
    assert [row for row, _ in shown(alone, plan(alone), "paper")] == ["source-only", "self-training"]
