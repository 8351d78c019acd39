"""Weights that are not what they should be: of another network, damaged, of a newer version, or a program."""

import os
import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.hostile.conftest import Command, flags
from tests.hostile.faults import save, scan


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return os.mkdir, (str(self.mark),)


def torch_bomb(path: Path, mark: Path) -> None:
    torch.save({"format": 1, "network": Bomb(mark)}, path)


def pickle_bomb(path: Path, mark: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb(mark), protocol=2))


def another_network(path: Path, mark: Path) -> None:
    torch.save({"stem.weight": torch.zeros(1)}, path)


def cut(path: Path, mark: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


Spoil = Callable[[Path, Path], None]
BOMBS = (torch_bomb, pickle_bomb)


@pytest.fixture
def scan_file(tmp_path: Path) -> Path:
    return save(tmp_path / "scan.nii.gz", scan())


@pytest.mark.parametrize("bomb", BOMBS)
def test_the_bombs_go_off_where_nobody_is_careful(tmp_path: Path, bomb: Spoil) -> None:
    bomb(tmp_path / "bomb.pt", tmp_path / "mark")
    with suppress(RuntimeError):  # the rest of the file is no checkpoint
        torch.load(tmp_path / "bomb.pt", weights_only=False)
    assert (tmp_path / "mark").is_dir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        *((bomb, "model.pt is damaged; copy the bundle again") for bomb in BOMBS),
        (another_network, "model.pt holds the weights of another network; use the bundle as adapt wrote it"),
        (cut, "model.pt is damaged; copy the bundle again"),
    ],
)
def test_infer_and_review_refuse_weights(
    finished: Path, scan_file: Path, tmp_path: Path, command: Command, spoil: Spoil, message: str
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    spoil(run / "bundle" / "models" / "model.pt", tmp_path / "mark")
    assert message in command("infer", scan_file, "--bundle", run, "--out", tmp_path / "out", "--device=cpu").complaint
    assert message in command("review", run, "--device=cpu").complaint
    assert not any((tmp_path / name).exists() for name in ("mark", "out", "run/review"))


def unfinished(finished: Path, out: Path) -> Path:
    """The finished run as it was before its last round ended."""
    shutil.copytree(finished, out)
    record = out / "run.json"
    record.write_text(
        record.read_text(encoding="utf-8").replace('"status": "done"', '"status": "running"'), encoding="utf-8"
    )
    return out


def newer(path: Path, mark: Path) -> None:
    torch.save({**torch.load(path, weights_only=True), "format": 99}, path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        *((bomb, "is not a readable checkpoint") for bomb in BOMBS),
        (another_network, "checkpoint format None"),
        (newer, "checkpoint format 99"),
        (cut, "is not a readable checkpoint"),
    ],
)
def test_adapt_does_not_go_on_with_a_checkpoint(
    finished: Path, pair_of_all: Path, tmp_path: Path, command: Command, spoil: Spoil, message: str
) -> None:
    run = unfinished(finished, tmp_path / "run")
    spoil(run / "checkpoints" / "round_1.pt", tmp_path / "mark")
    told = command("adapt", *flags(pair_of_all), f"--out={run}", "--resume").complaint
    assert message in told
    assert "round_1.pt" in told
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("spoil", [*BOMBS, another_network])
def test_adapt_does_not_begin_with_weights(pair: Path, tmp_path: Path, command: Command, spoil: Spoil) -> None:
    spoil(tmp_path / "weights.pth", tmp_path / "mark")
    told = command("adapt", *flags(pair, weights=tmp_path / "weights.pth"), f"--out={tmp_path / 'run'}").complaint
    assert "weights" in told
    assert not any((tmp_path / name).exists() for name in ("mark", "run"))


def test_review_wants_the_scans_that_the_run_read(
    finished: Path, pair_of_all: Path, tmp_path: Path, command: Command
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    moved = (run / "run.json").read_text(encoding="utf-8").replace(str(pair_of_all), str(tmp_path / "pair"))
    (run / "run.json").write_text(moved, encoding="utf-8")
    assert f"{tmp_path / 'pair' / 'target'} is not a folder" in command("review", run, "--device=cpu").complaint
    shutil.copytree(pair_of_all, tmp_path / "pair")
    for path in (tmp_path / "pair" / "target" / "images").iterdir():
        save(path, scan(99))
    assert "is not the file that" in command("review", run, "--device=cpu").complaint
    assert not (run / "review").exists()
