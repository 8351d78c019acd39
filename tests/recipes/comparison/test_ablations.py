"""Every row of an ablation can be run, and differs from the subject in what the ablation is of."""

import pytest

from prostate_uda.errors import UnknownNameError
from prostate_uda.methods import build_method
from prostate_uda.recipes import AdaptSettings, CompareSettings, ablation
from prostate_uda.recipes.comparison.ablations import ABLATIONS
from prostate_uda.recipes.comparison.grid import plan


@pytest.mark.parametrize("name", ABLATIONS)
def test_rows_are_runs_of_their_own(name: str) -> None:
    settings = CompareSettings(common=AdaptSettings(), variants=ablation(name), seeds=(0,), protocols=("paper",))
    runs = plan(settings)
    assert len({run.folder for run in runs}) == len(runs) == 1 + len(ABLATIONS[name])
    told = [(build_method(row.method, **row.options), dict(row.changes)) for row in ABLATIONS[name]]
    assert len({repr(pair) for pair in told}) == len(told)
    published = {"rounds": 1} if name == "rounds" else {}
    assert (build_method("metacorrection"), published) in told


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
