"""What is named as temporary goes, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from prostate_uda.data.writing import write_image
from prostate_uda.recipes.leftovers import sweep
from prostate_uda.recipes.record import claimed, write_json
from prostate_uda.review.files import whole

KEPT = (
    ".lock",
    ".cases",
    "run.json",
    "checkpoints/source.pt",
    "a.partial",
    ".hidden.json",
    ".abc.nii.gz",
    f"{'a' * 32}.nii.gz",
)


class KilledError(BaseException):
    """The process ends."""


def kept(folder: Path) -> Path:
    for name in KEPT:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_every_kind_of_temporary_goes(tmp_path: Path) -> None:
    folder, number = kept(tmp_path), uuid4().hex
    names = (".run.json.partial", f"pictures/.{number}.part", f"predictions/.{number}.nii.gz", f".list.json.{number}")
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    bundle = folder / f".bundle.{number}" / "configs"
    bundle.mkdir(parents=True)
    (bundle / ".train.json.partial").touch()
    (folder / f".bundle.{number}.old").symlink_to(folder / "checkpoints")
    sweep(folder, deep=True)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {*KEPT}
    assert not list(folder.glob(".bundle*"))
    assert sweep(folder, deep=True) == ()


def test_folders_of_others_are_left(tmp_path: Path) -> None:
    theirs, mine = tmp_path / "runs" / "a" / ".run.json.partial", tmp_path / ".table.json.partial"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    mine.touch()
    assert sweep(tmp_path, deep=False) == (mine,)
    assert theirs.exists()
    assert sweep(tmp_path / "missing", deep=True) == ()


def write_picture(path: Path) -> None:
    with whole(path) as half:
        half.touch()


WRITERS: dict[str, Callable[[Path], None]] = {
    "run.json": lambda path: write_json(path, {}),
    "a.nii.gz": lambda path: write_image(path, np.zeros((2, 2, 2), np.float32), np.eye(4)),
    "a.png": write_picture,
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_writers_leave_when_they_are_killed_goes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KilledError

    with claimed(tmp_path):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", killed)
            patch.setattr(Path, "unlink", lambda *_, **__: None)  # a killed process cleans nothing
            with pytest.raises(KilledError):
                WRITERS[name](tmp_path / name)
        (left,) = sweep(tmp_path, deep=True)
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert not left.exists()
