"""A run that is killed and gone on with ends as one that was left alone: three times here, more in ``kill_twenty``."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prostate_uda.engines import checkpoints
from tests import kill_twenty
from tests.same_runs import differences, orphans, unreadable


@pytest.mark.slow
def test_adapt_is_killed_three_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "kills.json"
    monkeypatch.setattr(
        sys, "argv", ["kill_twenty", "--kills=3", "--only=adapt", f"--work={tmp_path / 'work'}", f"--out={out}"]
    )
    assert kill_twenty.main() == 0
    found = json.loads(out.read_text(encoding="utf-8"))["adapt"]
    assert found["runs"] == found["same"] == 3
    assert found["kills"] >= 3
    assert (tmp_path / "work" / "adapt" / "reference" / "checkpoints" / "round_1.pt").is_file()


def a_run(folder: Path) -> Path:
    """A file of each kind."""
    checkpoints.save(folder / "checkpoints" / "a.pt", {"state": {"w": torch.arange(3.0)}, "step": 1})
    torch.save({"w": torch.zeros(2)}, folder / "model.pt")
    (folder / "run.json").write_text('{"started": "today", "here": "%s/x", "dice": 0.5}' % folder, encoding="utf-8")  # noqa: UP031
    (folder / "cases.csv").write_text("case,PZ\na,0.5\n", encoding="utf-8")
    (folder / "log.jsonl").write_text('{"step": 1}\n{"step": 2}\n', encoding="utf-8")
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(folder / "a.png")
    return folder


def test_what_is_compared_is_all_but_times_and_paths(tmp_path: Path) -> None:
    one, other = a_run(tmp_path / "one"), a_run(tmp_path / "other")
    (other / "run.json").write_text('{"started": "later", "here": "%s/x", "dice": 0.5}' % other, encoding="utf-8")  # noqa: UP031
    assert differences(one, other) == []
    assert unreadable(one) == []
    assert orphans(one) == []
    checkpoints.save(other / "checkpoints" / "a.pt", {"state": {"w": torch.tensor([0.0, 1.0, 2.0000002])}, "step": 1})
    (other / "cases.csv").write_text("case,PZ\na,0.6\n", encoding="utf-8")
    (other / "log.jsonl").write_text('{"step": 1}\n', encoding="utf-8")
    (other / "extra.txt").touch()
    assert differences(one, other) == ["extra.txt is in one alone", "cases.csv", "checkpoints/a.pt", "log.jsonl"]


@pytest.mark.parametrize("name", ["checkpoints/a.pt", "model.pt", "run.json", "log.jsonl", "a.png"])
def test_half_a_file_is_unreadable(name: str, tmp_path: Path) -> None:
    path = a_run(tmp_path / "run") / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    (told,) = unreadable(tmp_path / "run")
    assert told.startswith(f"{name}: ")


@pytest.mark.parametrize("name", [".a.pt.partial", "x.tmp", ".1234.nii.gz", "b.partial"])
def test_what_is_left_behind_is_seen(name: str, tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run")
    (folder / ".lock").touch()
    (folder / name).touch()
    assert orphans(folder) == [name]
    shutil.rmtree(folder)
