"""Floor 2: what is slow to make and depends on nothing but content, kept on disk.

A key is made of the content of every input (never its path or date), the settings, and the code and versions that made
the result, so an entry cannot be stale. An entry that cannot be read is made again; a full disk costs time, nothing
else.
"""

import glob
import hashlib
import os
import pickle
import shutil
import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4
from zipfile import BadZipFile, ZipFile

import torch
from platformdirs import user_cache_path

CACHE_VARIABLE = "PROSTATE_UDA_CACHE"
ABANDONED_S = 24 * 3600.0
LIMIT_BYTES = 20 * 1024**3
HASHES = 2**17
"""Files whose sums are remembered; a data set that is larger would be read anew at each asking: GTA5 has 50,000."""
UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, KeyError, BadZipFile, zlib.error, pickle.UnpicklingError)
ROOMS = ("data", "maths", "transforms")
"""The rooms whose code decides what preprocessing makes."""


def cache_folder() -> Path:
    """Where generated and preprocessed data live: ``$PROSTATE_UDA_CACHE``, or the user's cache folder."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else user_cache_path("prostate-uda")


def remove_abandoned(folder: Path) -> None:
    """Remove the hidden folders in which killed processes were generating a data set, a day after their last change."""
    for path in folder.glob(".*"):
        with suppress(OSError):
            if path.is_dir() and time.time() - path.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(path, ignore_errors=True)


def content_hash(path: Path) -> str:
    """SHA-256 of a file, of a header with the files that hold its voxels, or of a folder's files at every depth.

    Files count in order of their names; the sum is computed once while their size and date stay what they are.
    """
    return files_hash(sorted(path.rglob("*")) if path.is_dir() else with_data(path))


def files_hash(files: Iterable[Path]) -> str:
    """SHA-256 of files, one after another; folders among them are passed over."""
    return _hash_files(tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()))


def with_data(path: Path) -> tuple[Path, ...]:
    """A file, and the files beside it that hold the voxels where it is a header only (``.mhd``, ``.nhdr``)."""
    if path.suffix.lower() not in (".mhd", ".nhdr"):
        return (path,)
    return (path, *sorted(other for other in path.parent.glob(f"{glob.escape(path.stem)}.*") if other != path))


@lru_cache(maxsize=HASHES)
def _hash_files(stamps: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, _ in stamps:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


@cache
def code_hash() -> str:
    """SHA-256 of the code of :data:`ROOMS` and of the versions of what it stands on."""
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for room in ROOMS:
        for file in sorted((package / room).rglob("*.py")):
            digest.update(file.read_bytes())
    for name in ("torch", "monai", "numpy", "scipy", "nibabel", "SimpleITK", "scikit-image"):
        digest.update(f"{name}=={version(name)}".encode())
    return digest.hexdigest()


def load_whole(path: Path) -> Any:  # noqa: ANN401  whatever was saved
    """``torch.load(weights_only=True)`` of a file that its own checksums say is whole; torch does not look at them.

    Raises:
        BadZipFile: a bit is flipped; damage of other kinds raises what torch and zipfile raise.
    """
    with ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise BadZipFile(f"{damaged} is damaged")
    return torch.load(path, map_location="cpu", weights_only=True)


class Store:
    """Tensors, numbers and strings by the parts of a key.

    Args:
        folder: Where they lie; made at the first entry.
        limit_bytes: What :meth:`trim` cuts the folder down to.
    """

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes

    def get(self, *key: str) -> dict[str, Any] | None:
        """What was put under the key, or None."""
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            content: dict[str, Any] | None = load_whole(path)
        except UNREADABLE:
            content = None
        with suppress(OSError):  # somebody else's cache is read, not kept
            os.utime(path) if content is not None else path.unlink(missing_ok=True)
        return content

    def put(self, content: Mapping[str, Any], *key: str) -> None:
        """Keep something that ``torch.load(weights_only=True)`` can read back, whole or not at all."""
        path = self._path(key)
        partial = path.with_name(f".{path.name}.{uuid4().hex}")
        with suppress(OSError, RuntimeError):  # disk full or read-only: torch raises either
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                torch.save(dict(content), partial)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)

    def trim(self) -> None:
        """Remove the entries that have not been asked for longest, until the rest fits into ``limit_bytes``."""
        entries = []
        for path in self.folder.glob("*.pt"):
            with suppress(FileNotFoundError):  # another process trims, too
                entries.append((path.stat(), path))
        for path in self.folder.glob(".*.pt.*"):  # what a killed process left
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > ABANDONED_S:
                    path.unlink()
        total = sum(stat.st_size for stat, _ in entries)
        for stat, path in sorted(entries, key=lambda entry: entry[0].st_mtime_ns):
            if total <= self.limit_bytes:
                return
            with suppress(OSError):
                path.unlink(missing_ok=True)
            total -= stat.st_size

    def _path(self, key: tuple[str, ...]) -> Path:
        return self.folder / f"{hashlib.sha256(repr((*key, code_hash())).encode()).hexdigest()}.pt"
