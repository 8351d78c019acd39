"""What a user types, in this process; a tiny pair of data sets and a finished run on them."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from prostate_uda.cli import main
from prostate_uda.recipes import AdaptSettings, adapt
from tests.hostile.faults import save, scan, zones

TINY = {
    "method": "self-training",
    "network": "deeplab-small",
    "source_steps": 4,
    "predictor_steps": 2,
    "steps": 3,
    "batch_size": 2,
    "checkpoint_every": 1,
    "size": 48,
    "device": "cpu",
}
"""Settings under which a run takes a second or two."""


@dataclass(frozen=True)
class Done:
    """A command that ended: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The only line of standard error, of a command that was refused."""
        assert self.code == 2, self
        (line,) = self.err.strip().splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")


Command = Callable[..., Done]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """``command("infer", ...)`` as the terminal has it; an exception of Python's comes through."""

    def typed(*arguments: object) -> Done:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["prostate-uda", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), *capfd.readouterr())

    return typed


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROSTATE_UDA_CACHE", str(cache))


def write_pair(folder: Path) -> Path:
    """``source`` and ``target``, three labelled cases each."""
    for number, name in enumerate(("source", "target")):
        for case in range(3):
            save(folder / name / "images" / f"{name}{case}.nii.gz", scan(10 * number + case))
            save(folder / name / "labels" / f"{name}{case}.nii.gz", zones())
    return folder


@pytest.fixture(scope="session")
def pair_of_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def pair(pair_of_all: Path, tmp_path: Path) -> Path:
    """A copy of the pair, to be spoiled."""
    return Path(shutil.copytree(pair_of_all, tmp_path / "pair"))


def flags(pair: Path, **changes: object) -> list[str]:
    """The flags of a tiny ``adapt`` from one half of a pair to the other."""
    given = {**TINY, "spacing": 1.5, "source": "folder", "target": "folder"}
    given |= {"source_root": pair / "source", "target_root": pair / "target", **changes}
    return [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]


@pytest.fixture(scope="session")
def finished(pair_of_all: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the pair; not to be written to."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    roots = {"source_root": pair_of_all / "source", "target_root": pair_of_all / "target"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROSTATE_UDA_CACHE", str(cache))
        adapt(AdaptSettings(**TINY, spacing_mm=1.5, source="folder", target="folder", **roots), out)
    return out


def leftovers(folder: Path) -> list[str]:
    """Temporary names below a folder, which nothing may leave."""
    return [
        path.name for path in folder.rglob("*") if path.name.startswith(".") and path.name != ".lock" and path.is_file()
    ]
