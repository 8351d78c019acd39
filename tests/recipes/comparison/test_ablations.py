"""Every row of an ablation can be run, and differs from the subject in what the ablation is of."""

from pathlib import Path

import pytest

from prostate_uda.errors import SettingsError, UnknownNameError
from prostate_uda.methods import build_method
from prostate_uda.recipes import AdaptSettings, CompareSettings, ablation
from prostate_uda.recipes.comparison.ablations import ABLATIONS, SCENES
from prostate_uda.recipes.comparison.ceiling import ceilings
from prostate_uda.recipes.comparison.grid import plan
from prostate_uda.recipes.comparison.published import LABELLED


@pytest.mark.parametrize("name", ABLATIONS)
def test_rows_are_runs_of_their_own(name: str) -> None:
    settings = CompareSettings(common=AdaptSettings(), variants=ablation(name), seeds=(0,), protocols=("strong",))
    runs = plan(settings)
    assert len({run.folder for run in runs}) == len(runs) == 1 + len(ABLATIONS[name])
    told = [(build_method(row.method, **row.options), dict(row.changes)) for row in ABLATIONS[name]]
    assert len({repr(pair) for pair in told}) == len(told)
    if not name.startswith("noise"):
        published = {"rounds": 1} if name == "rounds" else {}
        subject = "recommended" if name == "recommended" else "metacorrection"
        assert (build_method(subject), published) in told


def test_noise_of_rows_is_none_of_the_oracles(tmp_path: Path) -> None:
    settings = CompareSettings(common=AdaptSettings(method="source-only"), variants=ablation("noise"), seeds=(0,))
    (oracle,) = ceilings(settings, tmp_path).values()
    assert (oracle.settings.label_noise, oracle.settings.source_steps) == ("none", 900)


def test_noise_is_the_balanced_methods_ntm_on_all_labels_beside_self_training() -> None:
    rows = {row.name: row for row in ablation("noise")}
    assert len(rows) == 30
    balanced = build_method("metacorrection-balanced", portion=0.0)
    for kind in ("symmetric", "asymmetric", "boundary"):
        assert [row for row in rows.values() if kind in row.name.split()] == [*ablation(f"noise-{kind}")]
        for rate in (0.1, 0.2, 0.3, 0.4, 0.5):
            plain, learned = (rows[f"{name}, {kind} {rate}"] for name in ("self-training", "metacorrection, learned"))
            assert plain.changes == learned.changes == {"label_noise": f"{kind}:{rate}"}
            assert build_method(plain.method, **plain.options) == build_method("self-training")
            assert build_method(learned.method, **learned.options) == balanced


def test_rounds_change_the_rounds_alone() -> None:
    settings = CompareSettings(common=AdaptSettings(rounds=7), variants=ablation("rounds"), seeds=(0,))
    found = {run.row: (run.settings.method, run.settings.rounds) for run in plan(settings)}
    assert found["metacorrection, rounds 3"] == ("metacorrection", 3)
    assert found["self-training, rounds 1"] == ("self-training", 1)


def test_names_are_what_a_user_would_write() -> None:
    assert [variant.name for variant in ablation("levels")] == [
        "self-training",
        "metacorrection?level_weights=[1.0,0.0]",
        "metacorrection?level_weights=[0.0,1.0]",
        "metacorrection?level_weights=[0.1,1.0]",
    ]
    with pytest.raises(UnknownNameError, match="unknown ablation 'level'; choose one of: alpha, gamma, levels"):
        ablation("level")


def test_noise_is_of_prostates_alone() -> None:
    for name in ("noise", "noise-boundary"):
        with pytest.raises(
            SettingsError, match=rf"ablation '{name}' from 'gta5': noise .* choose one of: alpha, gamma"
        ):
            ablation(name, "gta5")
        assert ablation(name, "decathlon") == ablation(name)
    assert ablation("levels", "gta5") == ablation("levels")


@pytest.mark.parametrize("name", SCENES)
def test_rows_of_scenes_can_be_run(name: str) -> None:
    common = AdaptSettings(source="gta5", target="cityscapes", method="source-only")
    settings = CompareSettings(common=common, variants=ablation(name, "gta5"), seeds=(0,), protocols=("strong",))
    runs = plan(settings)
    assert len({run.folder for run in runs}) == len(runs) == 1 + len(SCENES[name])


def test_pseudo_labels_of_scenes_are_those_of_table_4() -> None:
    rows = ablation("pseudo-labels", "streets-render")
    told = [(row.method, row.labeller) for row in rows]
    theirs = [(row.ours, row.labeller) for row in LABELLED]
    assert [*told, ("source-only", None)] == sorted(theirs, key=lambda pair: pair == ("source-only", None))
    warm = {"adaptsegnet": "adversarial", "ltir": "ltir", "source-only": "none"}
    assert all(row.changes == {"warm_up": warm[row.labeller]} for row in rows if row.labeller)
