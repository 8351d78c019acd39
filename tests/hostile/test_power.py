"""Power that fails: what a resume goes by is on the disk before it has its name, which has the new file or the old."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from prostate_uda.engines.checkpoints import save
from prostate_uda.recipes.record import write_json


@pytest.mark.parametrize("write", [save, write_json])
def test_a_file_is_on_the_disk_before_it_has_its_name(
    write: Callable[[Path, Mapping[str, int]], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sync, synced = tmp_path / "state", os.fsync, []

    def seen(descriptor: int) -> None:
        file = os.fstat(descriptor)
        synced.append((file.st_ino, file.st_size, path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", seen)
    write(path, {"step": 1})
    assert synced == [(path.stat().st_ino, path.stat().st_size, False)]
