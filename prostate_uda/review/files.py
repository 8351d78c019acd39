"""Floor 2, review: a file that is whole or not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def whole(path: Path, suffix: str = ".part") -> Iterator[Path]:
    """A temporary name beside ``path`` that becomes it when all is written, and is gone when it is not.

    A reader sees the old file or the new one. Two processes that write one file do not meet.

    Args:
        path: The file; its folder is made where it is missing.
        suffix: How the temporary name ends, for writers that go by it.

    Yields:
        Where to write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{uuid4().hex}{suffix}")
    try:
        yield half
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
