"""Ctrl-C at every stage of ``adapt``, and of others that take long: 130, how to go on, and that one can."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import typer.main

from prostate_uda import display
from prostate_uda.display import RichProgress
from tests.hostile.conftest import Command, flags, leftovers
from tests.hostile.faults import save, scan

STAGES = (
    "checking the test cases",
    "reading the source",
    "reading the target",
    "source training",
    "domain predictor",
    "round 1: pseudo-labels",
    "round 1: metacorrection",
    "evaluation",
    "evaluation on the source",
    "usual uncertainty",
)
GO_ON = "interrupted; the same command goes on from where it was (adapt and infer: with --resume)"


class Interrupted(RichProgress):
    """The terminal's progress, before which somebody presses Ctrl-C as a stage of that name begins its second step."""

    stage = ""

    @contextmanager
    def task(self, title: str, total: int, done: int = 0, *, unit: str = "") -> Iterator[object]:
        with super().task(title, total, done, unit=unit) as task:
            yield _Pressing(task) if title == self.stage else task


class _Pressing:
    def __init__(self, task: object) -> None:
        self.task = task

    def advance(self, amount: int = 1, values: Mapping[str, float] | None = None) -> None:
        self.task.advance(amount, values)
        os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def press_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """``press_at(stage)``; an empty one is never."""
    monkeypatch.setattr(display, "RichProgress", Interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background has it ignored

    def at(stage: str) -> None:
        monkeypatch.setattr(Interrupted, "stage", stage)

    yield at
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_at_every_stage_of_adapt(
    pair_of_all: Path, tmp_path: Path, command: Command, press_at: Callable[[str], None]
) -> None:
    """One run, interrupted at each stage in turn, ends as one that nobody interrupted."""
    typed = ("adapt", *flags(pair_of_all, method="metacorrection"))
    whole, out = tmp_path / "whole", tmp_path / "run"
    assert command(*typed, f"--out={whole}").code == 0
    for stage in STAGES:
        press_at(stage)
        done = command(*typed, f"--out={out}", *["--resume"] * (out / "run.json").exists())
        assert done.code == 130, (stage, done)
        assert done.err.strip() == GO_ON
        assert not leftovers(out), stage
    press_at("")
    assert command(*typed, f"--out={out}", "--resume").code == 0
    ours, theirs = (torch.load(folder / "bundle" / "models" / "model.pt", weights_only=True) for folder in (out, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for name in ("cases.csv", "logs/source.jsonl", "logs/predictor.jsonl", "logs/round_1.jsonl"):
        assert (out / name).read_text(encoding="utf-8") == (whole / name).read_text(encoding="utf-8")


def test_ctrl_c_before_typer_catches_it(monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    """While the commands are put together; typer turns only what comes later into an exit."""

    def pressed(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(typer.main, "get_command", pressed)
    done = command("info")
    assert (done.code, done.err.strip()) == (130, GO_ON)


def test_ctrl_c_in_infer(finished: Path, tmp_path: Path, command: Command, press_at: Callable[[str], None]) -> None:
    scans = [save(tmp_path / f"{name}.nii.gz", scan(seed)) for seed, name in enumerate("abc")]
    typed = ("infer", *scans, f"--bundle={finished}", f"--out={tmp_path / 'out'}", "--device=cpu", "--resume")
    press_at("segmenting")
    done = command(*typed)
    assert (done.code, done.err.strip()) == (130, GO_ON)
    first = tmp_path / "out" / "a_zones.nii.gz"
    before = first.stat().st_mtime_ns
    assert not leftovers(tmp_path / "out")
    press_at("")
    assert command(*typed).code == 0
    assert first.stat().st_mtime_ns == before
    assert len(list((tmp_path / "out").glob("*_zones.nii.gz"))) == 3


def test_ctrl_c_in_prepare(
    pair_of_all: Path, tmp_path: Path, command: Command, press_at: Callable[[str], None]
) -> None:
    typed = ("prepare", "folder", pair_of_all / "source", f"--out={tmp_path / 'out'}")
    press_at("converting")
    done = command(*typed)
    assert (done.code, done.err.strip()) == (130, GO_ON)
    press_at("")
    done = command(*typed)
    assert done.code == 0
    assert "3 cases" in done.out
    assert not leftovers(tmp_path / "out")
