"""Floor 5: ``run.json``, the record of what was done with what, and what came out."""

import csv
import errno
import json
import platform
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from prostate_uda.data.files import synced
from prostate_uda.errors import CheckpointError, SettingsError

PACKAGES = ("prostate-uda", "torch", "monai", "pytorch-ignite", "numpy", "nibabel", "SimpleITK", "scikit-image")

LOCK = ".lock"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)
"""What a disk says that cannot take more, at any time."""
PLACE = (
    *(*FULL, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOENT),
    *(errno.ENAMETOOLONG, errno.ELOOP),
)
"""What is said of a place where nothing can be written; while a run works, most of these would be bugs of ours."""


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write through a temporary name; ``NaN`` becomes ``null`` because JSON has none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        partial.write_text(json.dumps(_clean(content), indent=2, allow_nan=False) + "\n", encoding="utf-8")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name that becomes ``path`` when all is written, and is gone when it is not."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        synced(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _clean(value: Any) -> Any:  # noqa: ANN401  JSON is any
    if isinstance(value, Mapping):
        return {str(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return str(value) if isinstance(value, Path) else value


def read_json(path: Path) -> dict[str, Any]:
    """Read an object.

    Raises:
        CheckpointError: no such file, or not an object in JSON.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON; give the folder of a run") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object; give the folder of a run")
    return content


def versions() -> dict[str, str]:
    """What ran: this package, what it stands on, Python and the platform."""
    return {name: version(name) for name in PACKAGES} | {
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


@contextmanager
def writing(path: Path, errors: Collection[int] = PLACE) -> Iterator[None]:
    """Turn what goes wrong with a disk while ``path`` is written into one line.

    Args:
        path: A file or folder.
        errors: The error numbers that are the user's to mend.

    Raises:
        SettingsError: no room, no right, or something else where a folder is needed.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in errors:
            raise
        raise SettingsError(f"{path} cannot be written ({error.strerror}); make room, or give another place") from error


def check_file_place(out: Path) -> None:
    """Refuse before the work what cannot be written after it.

    Raises:
        SettingsError: a folder or device is there, there is no folder for the file, or no disk takes its name.
    """
    with writing(out):
        taken, placeless = out.exists() and not out.is_file(), not out.parent.is_dir()
    if taken or placeless:
        what = f"{out.parent} is no folder" if placeless else "is a folder" if out.is_dir() else "is no plain file"
        raise SettingsError(f"{out} cannot be written ({what}); give the name of a file in a folder that is there")


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep a folder, made where it is missing, to this process while it works there.

    Raises:
        SettingsError: another process works there, it cannot be written, or the disk becomes full meanwhile.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout as error:
            msg = f"another process is working in {folder}; wait for it, or give another folder"
            raise SettingsError(msg) from error
    try:
        with writing(folder, FULL):
            yield
    finally:
        lock.release()


class Record:
    """``run.json``, kept whole on disk after every change.

    Args:
        path: Where it is kept.
        content: What it holds.
    """

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path, self.content = path, content

    @classmethod
    def begin(cls, path: Path, settings: Mapping[str, Any], **more: Any) -> "Record":  # noqa: ANN401
        """A new run."""
        start = {"status": "running", "started": datetime.now(UTC).isoformat(timespec="seconds")}
        record = cls(path, {**start, "settings": dict(settings), "versions": versions(), "timing": {}, **more})
        record.save()
        return record

    @classmethod
    def read(cls, path: Path) -> "Record":
        """An earlier run.

        Raises:
            CheckpointError: there is none, or its file is damaged.
        """
        content = read_json(path)
        if not all(isinstance(content.get(name), dict) for name in ("settings", "timing", "hashes")):
            raise CheckpointError(f"{path} is no record of a run; give the folder of one, or begin a new run")
        return cls(path, content)

    @classmethod
    def made_with(
        cls, path: Path, settings: Mapping[str, Any], free: Collection[str], defaults: Mapping[str, Any]
    ) -> "Record":
        """An earlier run, made with the same settings but for the free ones.

        Args:
            path: Of its record.
            settings: Of now.
            free: Names of settings that may differ.
            defaults: What a setting was before it could be set: a record of an older version does not name it.

        Raises:
            CheckpointError: there is none.
            SettingsError: another setting differs.
        """
        record = cls.read(path)
        before, now = {**_clean(defaults), **record.content["settings"]}, _clean(settings)
        changed = sorted(key for key in now if key not in free and before.get(key) != now[key])
        if changed:
            told = ", ".join(f"{key} was {before.get(key)!r} and is {now[key]!r}" for key in changed)
            raise SettingsError(f"{path} has other settings ({told}); give the same, or another folder")
        return record

    def save(self, **changes: Any) -> None:  # noqa: ANN401  JSON is any
        """Change and write."""
        self.content.update(changes)
        write_json(self.path, self.content)

    def timed(self, name: str) -> "Timer":
        """``with record.timed("evaluation"):`` adds the seconds to ``timing``."""
        return Timer(self, name)


class Timer:
    """Seconds spent under a name; see :meth:`Record.timed`."""

    def __init__(self, record: Record, name: str) -> None:
        self.record, self.name, self.start = record, name, 0.0

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        timing = self.record.content["timing"]
        timing[self.name] = round(timing.get(self.name, 0.0) + time.perf_counter() - self.start, 2)
        self.record.save()


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows as CSV, through a temporary name; the columns are the first row's."""
    rows = list(rows)
    with whole(path) as partial, partial.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["case", "stage"])
        writer.writeheader()
        writer.writerows(rows)
