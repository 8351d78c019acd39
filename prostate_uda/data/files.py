"""Floor 2: files that are whole or not there, after a kill and after a power cut."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

NOT_KNOWN = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)
"""What file systems say that cannot sync, and Windows of files that may not be written."""


def synced(path: Path) -> None:
    """Wait until the disk has a file, before it gets the name that others read: a power cut leaves that whole, too."""
    with path.open("rb+" if os.access(path, os.W_OK) else "rb") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in NOT_KNOWN:
                raise


@contextmanager
def whole(path: Path, suffix: str) -> Iterator[Path]:
    """A temporary name beside ``path`` that becomes it when all is on the disk, and is gone when it is not.

    Args:
        path: The file; its folder is made where it is missing.
        suffix: How the temporary name ends, for writers that go by it.

    Yields:
        Where to write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid4().hex}{suffix}")
    try:
        yield temporary
        synced(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
