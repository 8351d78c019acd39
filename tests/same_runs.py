"""Whether two folders of runs hold the same, whether every file in one can be read, and what was left behind in one."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from PIL import Image

from prostate_uda.engines import checkpoints
from prostate_uda.recipes.record import LOCK

TIMES_AND_PATHS = frozenset({"started", "finished", "made", "timing", "seconds", "hours", "command", "start_from"})
"""Keys of JSON and columns of CSV that tell when, how long and where from, and so differ between equal runs."""

PNG_END = b"IEND\xaeB`\x82"


def differences(one: Path, other: Path) -> list[str]:
    """Files that only one folder has, and those that do not hold the same; by their place in it."""
    names = [{str(path.relative_to(folder)) for path in _files(folder)} for folder in (one, other)]
    found = [f"{name} is in one alone" for name in sorted(names[0] ^ names[1])]
    for name in sorted(names[0] & names[1]):
        read = _content(name)
        if read is not None and not _equal(read(one / name, one), read(other / name, other)):
            found.append(name)
    return found


def unreadable(folder: Path) -> list[str]:
    """Files that their own reader refuses, with what it says."""
    found = []
    for path in _files(folder):
        read = READERS.get(_suffix(path.name))
        try:
            if read is not None:
                read(path)
            elif not path.stat().st_size:
                found.append(f"{path.relative_to(folder)} is empty")
        except Exception as error:  # noqa: BLE001  whatever the reader says is the finding
            found.append(f"{path.relative_to(folder)}: {type(error).__name__} {error}")
    return found


def orphans(folder: Path) -> list[str]:
    """Files and folders that are named as temporary; locks are none."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.name != LOCK and (path.name.startswith(".") or "partial" in path.name or "tmp" in path.name)
    ]


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != LOCK)


def _suffix(name: str) -> str:
    return next((ending for ending in (".nii.gz", *READERS) if name.endswith(ending)), "")


def _voxels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = nib.load(path)
    return np.asarray(image.dataobj), image.affine


def _tensors(path: Path) -> dict[str, Any]:
    if path.parent.name == "checkpoints":
        return checkpoints.load(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _picture(path: Path) -> np.ndarray:
    if not path.read_bytes().endswith(PNG_END):  # Pillow does without
        raise ValueError("no end")
    with Image.open(path) as image:
        return np.asarray(image)


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")), strict=True))


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


READERS: dict[str, Callable[[Path], Any]] = {
    ".nii.gz": _voxels,
    ".pt": _tensors,
    ".png": _picture,
    ".csv": _rows,
    ".jsonl": _lines,
    ".json": _json,
    ".npz": lambda path: dict(np.load(path)),
    ".html": lambda path: path.read_text(encoding="utf-8").rindex("</html>"),
}


def _content(name: str) -> Callable[[Path, Path], Any] | None:
    """How what counts is read from a file of that name; None where its times and words are its own."""
    suffix = _suffix(name)
    if suffix not in (".nii.gz", ".pt", ".csv", ".jsonl", ".json", ".npz", ".png"):
        return None
    return lambda path, root: _timeless(READERS[suffix](path), str(root.resolve()))


def _timeless(content: Any, root: str) -> Any:
    """The content without times and with paths as seen from the root."""
    if isinstance(content, dict):
        return {name: _timeless(value, root) for name, value in content.items() if name not in TIMES_AND_PATHS}
    if isinstance(content, list | tuple):
        return [_timeless(value, root) for value in content]
    return content.replace(root, "") if isinstance(content, str) else content


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)
