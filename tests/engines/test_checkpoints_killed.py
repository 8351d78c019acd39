"""Checkpoints of a process that is killed while it writes them, and of other versions."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from prostate_uda.engines.checkpoints import FORMAT, load, save
from prostate_uda.errors import CheckpointError

WRITER = """
import sys
from itertools import count
from pathlib import Path
import torch
from prostate_uda.engines.checkpoints import save
for step in count():
    save(Path(sys.argv[1]), {"step": step, "w": torch.full((300, 1000), float(step))})
"""


@pytest.mark.slow
def test_a_process_killed_while_it_saves_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    path, rng, steps = tmp_path / "state.pt", random.Random(0), []
    for _ in range(4):
        path.unlink(missing_ok=True)
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)]) as process:
            while not path.exists():
                assert process.poll() is None
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.2))
            os.kill(process.pid, signal.SIGKILL)
        found = load(path)
        assert torch.equal(found["w"], torch.full((300, 1000), float(found["step"])))
        steps.append(found["step"])
        assert {one.name for one in tmp_path.iterdir()} <= {"state.pt", ".state.pt.partial"}
    assert max(steps) > 0
    save(path, {"step": -1})
    assert [one.name for one in tmp_path.iterdir()] == ["state.pt"]  # the next save takes the temporary name away
    assert load(path)["step"] == -1


def test_a_newer_format_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    torch.save({"format": FORMAT + 1, "state": {"w": torch.zeros(2)}}, path)
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path} has checkpoint format {FORMAT + 1}, this version reads {FORMAT}; upgrade prostate-uda"
    )


def test_the_format_is_in_the_file(tmp_path: Path) -> None:
    save(tmp_path / "state.pt", {"step": 1})
    assert torch.load(tmp_path / "state.pt", weights_only=True) == {"format": FORMAT, "step": 1}
