"""A tiny run of driving scenes that many tests look at, and its settings."""

from pathlib import Path

import pytest

from prostate_uda.recipes import AdaptSettings, adapt

STREETS = {
    "source": "streets-render",
    "target": "streets-photo",
    "network": "deeplab-small",
    "size": 48,
    "phantom_train": 3,
    "phantom_test": 2,
    "source_steps": 5,
    "predictor_steps": 3,
    "steps": 4,
    "batch_size": 2,
    "checkpoint_every": 2,
    "device": "cpu",
}


@pytest.fixture(scope="session")
def street_run(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on streets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROSTATE_UDA_CACHE", str(cache))
        out = tmp_path_factory.mktemp("streets") / "run"
        adapt(AdaptSettings(**STREETS), out)
    return out
