"""What is kept on disk: found by content alone, never stale, never in the way."""

import os
from pathlib import Path

import pytest
import torch

from prostate_uda.data.cache import Store, content_hash


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_what_was_put_is_got(store: Store) -> None:
    content = {"image": torch.arange(6.0).reshape(2, 3), "learned": [1.5, 2.5], "name": "zscore"}
    assert store.get("a", "b") is None
    store.put(content, "a", "b")
    found = store.get("a", "b")
    assert found is not None
    assert torch.equal(found["image"], content["image"])
    assert (found["learned"], found["name"]) == ([1.5, 2.5], "zscore")
    assert store.get("ab") is None
    assert store.get("b", "a") is None
    assert [path.suffix for path in store.folder.iterdir()] == [".pt"]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut short", b"no archive at all"])
def test_a_damaged_entry_is_no_entry(store: Store, damage: bytes) -> None:
    store.put({"image": torch.ones(3)}, "a")
    (entry,) = store.folder.iterdir()
    entry.write_bytes(damage)
    assert store.get("a") is None
    store.put({"image": torch.zeros(3)}, "a")
    assert torch.equal(store.get("a")["image"], torch.zeros(3))


def test_a_folder_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    store = Store(tmp_path / "taken" / "store")
    store.put({"image": torch.ones(3)}, "a")
    assert store.get("a") is None


def test_trim_removes_what_was_not_asked_for_longest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for age, name in enumerate(("new", "old", "oldest")):
        before = set(tmp_path.iterdir())
        store.put({"image": torch.zeros(1000)}, name)
        (entry,) = set(tmp_path.iterdir()) - before
        os.utime(entry, (1e9 - age, 1e9 - age))
    store.get("oldest")  # asked for: it is the newest now
    size = max(path.stat().st_size for path in tmp_path.iterdir())
    Store(tmp_path, limit_bytes=2 * size + 10).trim()
    assert store.get("old") is None
    assert store.get("new") is not None
    assert store.get("oldest") is not None


def test_content_hash_is_of_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one.nii", tmp_path / "two.nii"
    one.write_bytes(b"voxels")
    two.write_bytes(b"voxels")
    assert content_hash(one) == content_hash(two)
    two.write_bytes(b"others")
    os.utime(two, ns=(1, 1))
    assert content_hash(one) != content_hash(two)
    folder = tmp_path / "series"
    folder.mkdir()
    (folder / "1.dcm").write_bytes(b"vox")
    (folder / "2.dcm").write_bytes(b"els")
    first = content_hash(folder)
    (folder / "2.dcm").write_bytes(b"elz")
    assert content_hash(folder) != first


def test_content_hash_of_a_header_is_of_its_voxels_too(tmp_path: Path) -> None:
    """Two patients' ``t2.mhd`` may be the same to the byte."""
    for patient, voxels in (("a", b"one"), ("b", b"two")):
        (tmp_path / patient).mkdir()
        (tmp_path / patient / "t2.mhd").write_text("ElementDataFile = t2.raw")
        (tmp_path / patient / "t2.raw").write_bytes(voxels)
    assert content_hash(tmp_path / "a" / "t2.mhd") != content_hash(tmp_path / "b" / "t2.mhd")


def test_flipped_bits_in_an_entry_are_found(store: Store) -> None:
    store.put({"image": torch.arange(1000.0)}, "a")
    (entry,) = store.folder.iterdir()
    content = bytearray(entry.read_bytes())
    middle = content.index(torch.arange(500.0, 510.0).numpy().tobytes())
    content[middle : middle + 8] = bytes(8)
    entry.write_bytes(content)
    assert store.get("a") is None


def test_other_code_finds_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put({"image": torch.ones(3)}, "a")
    monkeypatch.setattr("prostate_uda.data.cache.code_hash", lambda: "another version")
    assert store.get("a") is None


def test_content_hash_of_a_patient_whose_series_lie_deeper(tmp_path: Path) -> None:
    for patient, content in (("a", b"one"), ("b", b"two")):
        (tmp_path / patient / "study" / "t2").mkdir(parents=True)
        (tmp_path / patient / "study" / "t2" / "1.dcm").write_bytes(content)
    assert content_hash(tmp_path / "a") != content_hash(tmp_path / "b")
