"""A run with two discriminators, killed with -9 in the middle of its round: both optimizers go on bit for bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from prostate_uda.engines import checkpoints
from prostate_uda.recipes import AdaptSettings, adapt
from tests.recipes.scenes.conftest import STREETS

SETTINGS = {**STREETS, "method": "advent", "steps": 12}


def equal(one: Any, other: Any) -> bool:
    """Nested dictionaries and lists with the same tensors, bit for bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else bool(one == other)


@pytest.mark.slow
def test_two_discriminators_survive_a_kill_bit_for_bit(tmp_path: Path, cache: Path) -> None:
    adapt(AdaptSettings(**SETTINGS), tmp_path / "whole")
    out = tmp_path / "killed"
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
    command = [sys.executable, "-m", "prostate_uda", "adapt", f"--out={out}", *flags]
    environment = {**os.environ, "PROSTATE_UDA_CACHE": str(cache)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (out / "checkpoints" / "round_1.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert checkpoints.load(out / "checkpoints" / "round_1.pt")["state"]["step"] < SETTINGS["steps"]
    subprocess.run([*command, "--resume"], env=environment, check=True, stdout=subprocess.DEVNULL)
    ours, theirs = (checkpoints.load(run / "checkpoints" / "round_1.pt")["state"] for run in (out, tmp_path / "whole"))
    assert {"discriminator_0", "discriminator_1"} <= ours["optimizers"].keys()
    for name in ("discriminator_0", "discriminator_1"):
        assert ours["optimizers"][name]["state"], "an optimizer without moments proves nothing"
    assert equal(ours, theirs)
