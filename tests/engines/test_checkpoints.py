"""Checkpoint files: data and nothing else, whole or not at all, and a message for everything that is neither."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from prostate_uda.engines.checkpoints import FORMAT, load, save
from prostate_uda.errors import CheckpointError


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    content = {"state": {"w": torch.arange(3.0), "step": 7, "nested": {"name": "x", "rates": [0.1, None]}}}
    path = tmp_path / "a" / "new" / "folder" / "state.pt"
    save(path, content)
    found = load(path)
    assert found["format"] == FORMAT
    assert torch.equal(found["state"].pop("w"), torch.arange(3.0))
    assert found["state"] == {"step": 7, "nested": {"name": "x", "rates": [0.1, None]}}
    assert [file.name for file in path.parent.iterdir()] == ["state.pt"]


class KilledError(Exception):
    """The process ends while it writes."""

    def __reduce__(self) -> tuple[object, ...]:
        raise self


def test_a_write_that_is_interrupted_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save(path, {"step": 1})
    with pytest.raises(KilledError):
        save(path, {"step": 2, "bomb": KilledError()})
    assert load(path)["step"] == 1
    save(path, {"step": 3})  # what the other one left in the folder is in nobody's way
    assert load(path)["step"] == 3
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


@pytest.fixture
def small_files() -> Iterator[None]:
    """A disk on which no file gets larger than 20 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
def test_a_full_disk_is_one_line_and_what_was_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save(path, {"step": 1})
    with pytest.raises(CheckpointError, match=r"state\.pt cannot be written \(.+\); make room") as caught:
        save(path, {"step": 2, "w": torch.zeros(100_000)})
    assert "\n" not in str(caught.value)
    assert load(path)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


class DeviceLostError:
    """A tensor on a device that fails while it is copied from there."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __reduce__(self) -> tuple[object, ...]:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
    ],
)
def test_what_a_device_says_is_not_told_as_a_full_disk(error: Exception, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save(path, {"step": 1})
    with pytest.raises(type(error)) as caught:
        save(path, {"step": 2, "w": torch.zeros(100_000), "lost": DeviceLostError(error)})
    assert caught.value is error
    assert load(path)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


def test_a_file_where_the_folder_should_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("in the way", encoding="utf-8")
    with pytest.raises(CheckpointError, match="cannot be written") as caught:
        save(tmp_path / "checkpoints" / "state.pt", {"step": 1})
    assert "\n" not in str(caught.value)


class Payload:
    """Something that a pickle could run."""

    ran = False

    def __setstate__(self, state: object) -> None:
        Payload.ran = True


def test_nothing_but_data_is_unpickled(tmp_path: Path) -> None:
    evil = Payload()
    evil.x = 1  # type: ignore[attr-defined]
    torch.save({"format": FORMAT, "evil": evil}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load(tmp_path / "evil.pt")
    assert not Payload.ran


def test_a_missing_file_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*missing\.pt"):
        load(tmp_path / "missing.pt")
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load(tmp_path)


@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_a_damaged_file_is_our_error(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save(path, {"w": torch.zeros(1000)})
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"not a checkpoint", "cut": whole[: len(whole) // 2]}[damage])
    with pytest.raises(CheckpointError, match="not a readable checkpoint") as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{"format": 0}, {"format": FORMAT + 1}, {"w": 1}, [1, 2], torch.zeros(2)])
def test_another_format_is_our_error(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=f"this version reads {FORMAT}"):
        load(tmp_path / "other.pt")


def test_one_flipped_bit_is_our_error(tmp_path: Path) -> None:
    """torch looks at no checksum: the weights would be others, silently."""
    path = tmp_path / "state.pt"
    save(path, {"state": {"weight": torch.full((4096,), 1.5)}})
    content = bytearray(path.read_bytes())
    content[content.index(torch.full((8,), 1.5).numpy().tobytes()) + 64] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"not a readable checkpoint .*delete it and resume"):
        load(path)
