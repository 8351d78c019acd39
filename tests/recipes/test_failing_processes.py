"""A process that cannot go on while the others wait for it: one line or one traceback, and all of them end."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import ignite.distributed as idist
import pytest
import torch
import torch.distributed as dist

from prostate_uda import cli
from prostate_uda.cli.apps import one_voice
from prostate_uda.data.batch import Batch
from prostate_uda.engines import checkpoints
from prostate_uda.engines.trainer import TrainingError
from prostate_uda.errors import SettingsError
from prostate_uda.methods import METHODS, Losses, SelfTraining, State
from prostate_uda.recipes.processes import first_to_tell, launched, processes
from tests.recipes.conftest import TINY
from tests.recipes.test_adapt_processes import TORCHRUN, adapt_command, run

RANK = "RANK"
"""Stands for the number of the process in what a command is given."""


def start(*arguments: object) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """This module in two processes, and the lines that tell mistakes."""
    done = run([*TORCHRUN, __name__, *map(str, arguments)])
    return done, [line for line in done.stderr.splitlines() if line.startswith("error:")]


def own_code(done: subprocess.CompletedProcess[str], number: int) -> int:
    """What the process that torchrun blames ended with."""
    blamed = done.stderr.split("Root Cause")[1]
    assert f"rank      : {number} " in blamed
    return int(blamed.split("exitcode  :")[1].split()[0])


@pytest.mark.slow
def test_a_mistake_between_two_messages_is_one_line_that_names_the_process() -> None:
    done, lines = start("fail", "mistake")
    assert lines == ["error: process 1: loss is not finite"]
    assert "[rank" not in done.stderr  # how torch begins the lines of a traceback in a group
    assert own_code(done, 1) == 2


@pytest.mark.slow
def test_a_bug_is_one_traceback_that_names_the_process() -> None:
    done, lines = start("fail", "bug")
    assert not lines
    assert done.stderr.count("ZeroDivisionError: out of step\n[rank1]: process 1\n") == 1
    assert "[rank0]" not in done.stderr
    assert own_code(done, 1) == 1


@pytest.mark.slow
def test_a_process_that_is_killed_is_told_by_another() -> None:
    done, lines = start("fail", "killed")
    assert own_code(done, 1) == -signal.SIGKILL
    assert all("ended without a word" in line for line in lines)
    assert "closed by peer" not in done.stderr


@pytest.mark.slow
def test_a_mistake_in_what_all_were_given_is_one_line(tmp_path: Path) -> None:
    done = run(adapt_command(tmp_path / "run", source="nowhere"))
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "unknown domain 'nowhere'" in line


@pytest.mark.slow
def test_a_round_that_fails_in_one_process_ends_the_run_and_leaves_its_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "run"
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in {**TINY, "method": "failing"}.items()]
    done, lines = start("adapt", f"--out={out}", *flags)
    assert lines == ["error: process 1: loss is not finite"]
    assert "terminating due to exception" not in done.stderr
    assert own_code(done, 1) == 2
    assert json.loads((out / "run.json").read_text())["status"] == "running"
    assert torch.load(out / "checkpoints" / "round_1.pt", weights_only=True)["state"]["step"] == 2


@pytest.mark.slow
def test_processes_with_a_disk_each_do_not_resume(finished: Path, tmp_path: Path) -> None:
    for number in "01":
        shutil.copytree(finished, tmp_path / number)
        record = json.loads((finished / "run.json").read_text())
        changed = json.dumps(record | {"status": "running", "processes": 2})
        (tmp_path / number / "run.json").write_text(changed)
    path = tmp_path / "1" / "checkpoints" / "round_1.pt"
    content = checkpoints.load(path)
    content["state"]["step"] = 2
    checkpoints.save(path, content)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    _, (line,) = start("adapt", f"--out={tmp_path}/{RANK}", "--resume", *flags)
    assert "processes 0 and 1 find different files" in line
    assert "round_1.pt" in line


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> dist.TCPStore:
    """What torchrun's agent holds for its processes."""
    held = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=5))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(held.port))
    return held


def test_only_one_process_tells(store: dist.TCPStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [first_to_tell() for _ in range(3)] == [True, False, False]
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert first_to_tell()


def test_a_process_alone_tells() -> None:
    assert "MASTER_ADDR" not in os.environ
    assert first_to_tell()


def test_a_count_of_processes_without_a_number_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match=r"^WORLD_SIZE is 2 and RANK is not set; start with torchrun") as caught:
        launched()
    assert "\n" not in str(caught.value)


@dataclass(frozen=True, kw_only=True)
class Failing(SelfTraining):
    """Self-training that stops in one process after its second step."""

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        if state.step == 2 and idist.get_rank() == 1:
            raise TrainingError("loss is not finite")
        return super().step(state, source, target)


def fail(kind: str) -> None:
    """Messages go to and fro until the second process fails; the first then waits for it."""
    with one_voice(), processes("cpu"):
        for step in range(3):
            idist.all_reduce(torch.ones(3))
            if step == 1 and idist.get_rank() == 1:
                if kind == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise TrainingError("loss is not finite") if kind == "mistake" else ZeroDivisionError("out of step")


if __name__ == "__main__":
    METHODS["failing"] = Failing
    cli.app.command()(fail)
    sys.argv = [argument.replace(RANK, os.environ["RANK"]) for argument in sys.argv]
    cli.main()
