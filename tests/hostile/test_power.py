"""Power that fails: what a resume goes by is on the disk before it has its name, which has the new file or the old."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from prostate_uda.data.scene_images import write_scene_label
from prostate_uda.data.writing import write_image
from prostate_uda.engines.checkpoints import save
from prostate_uda.recipes.record import write_json, write_rows

WRITERS: dict[str, Callable[[Path], object]] = {
    "state.pt": lambda path: save(path, {"step": 1}),
    "run.json": lambda path: write_json(path, {"step": 1}),
    "cases.csv": lambda path: write_rows(path, [{"case": "a"}]),
    "label.nii.gz": lambda path: write_image(path, np.zeros((2, 2, 2), np.float32), np.eye(4)),
    "label.png": lambda path: write_scene_label(path, np.zeros((2, 2), np.uint8)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_on_the_disk_before_it_has_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sync, synced = tmp_path / name, os.fsync, []

    def seen(descriptor: int) -> None:
        file = os.fstat(descriptor)
        synced.append((file.st_ino, file.st_size, path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", seen)
    WRITERS[name](path)
    assert synced == [(path.stat().st_ino, path.stat().st_size, False)]
