"""One tiny run that many tests look at, and its settings."""

from pathlib import Path

import pytest

from prostate_uda.engines.observers import Silent
from prostate_uda.recipes import AdaptSettings, adapt

TINY = {
    "network": "deeplab-small",
    "phantom_train": 3,
    "phantom_test": 2,
    "source_steps": 6,
    "predictor_steps": 4,
    "steps": 4,
    "batch_size": 2,
    "checkpoint_every": 2,
    "device": "cpu",
}


class Heard(Silent):
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROSTATE_UDA_CACHE", str(cache))


@pytest.fixture(scope="session")
def finished(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROSTATE_UDA_CACHE", str(cache))
        out = tmp_path_factory.mktemp("runs") / "finished"
        adapt(AdaptSettings(**TINY), out)
    return out
