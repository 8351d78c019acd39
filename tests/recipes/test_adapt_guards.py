"""The floor below which a learned NTM stops a run: the user's to set, and to change when the run is taken up."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from prostate_uda.engines.guards import Guards
from prostate_uda.engines.stages import Workplace
from prostate_uda.errors import SettingsError
from prostate_uda.recipes import AdaptSettings, adapt
from tests.recipes.conftest import TINY


def test_the_floor_is_the_guards_own_unless_it_is_set() -> None:
    assert AdaptSettings().guards == Guards()
    assert AdaptSettings(ntm_floor=0.5).guards.ntm_floor == 0.5
    with pytest.raises(SettingsError, match="allowed are 0 ≤ ntm_floor < 1"):
        AdaptSettings(ntm_floor=1.0)


def test_stages_get_the_floor_and_a_run_goes_on_with_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def interrupted(_stage: object, _network: object, _pairs: object, place: Workplace, **_: object) -> None:
        seen.append(place.guards.ntm_floor)
        raise InterruptedError

    monkeypatch.setattr(sys.modules["prostate_uda.recipes.adapt"], "train", interrupted)
    settings = AdaptSettings(**TINY, ntm_floor=0.5)
    with pytest.raises(InterruptedError):
        adapt(settings, tmp_path / "run")
    with pytest.raises(InterruptedError):
        adapt(replace(settings, ntm_floor=0.0), tmp_path / "run", resume=True)
    assert seen == [0.5, 0.0]
