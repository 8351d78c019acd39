"""Floor 2: tar and zip archives, unpacked whole or not at all, and never outside their folder."""

import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from prostate_uda.errors import DataError

LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")
"""What file managers leave in archives, beside AppleDouble files (``._*``, ``__MACOSX``)."""


def is_archive(path: Path) -> bool:
    """Whether a file is a tar (of any compression) or a zip."""
    return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))


def unpack(archive: Path, into: Path) -> Path:
    """Unpack an archive's files into a new folder; litter is left behind.

    Args:
        archive: A tar, of any compression, or a zip.
        into: The folder to make; where it exists, the archive counts as unpacked.

    Returns:
        ``into``.

    Raises:
        DataError: No archive, cut short or damaged, too large for the disk, or with a member that would lie outside
            of the folder or is no plain file (link, device).
    """
    if into.is_dir():
        return into
    if not archive.is_file():
        raise DataError(f"{archive} does not exist; check the path")
    into.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{into.name}-", dir=into.parent))
    try:
        with _archive_errors(archive):
            for name, content in _members(archive, into.parent):
                target = work / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with content, target.open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
        work.chmod(0o755)
        work.rename(into)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return into


def _members(archive: Path, disk: Path) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    """Name and content of every plain file."""
    if zipfile.is_zipfile(archive):
        yield from _zip_members(archive, disk)
    else:
        yield from _tar_members(archive, disk)


def _zip_members(archive: Path, disk: Path) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        _check_room(archive, sum(member.file_size for member in members), disk)
        for member in members:
            name = _safe(archive, member.orig_filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _no_file(archive, member.filename)
            if member.flag_bits & 1:
                raise DataError(f"{archive} is encrypted ({member.filename}); unpack it by hand and give the folder")
            if not member.is_dir() and not _litter(name):
                yield name, opened.open(member)


def _tar_members(archive: Path, disk: Path) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    with tarfile.open(archive) as opened:
        members = opened.getmembers()
        _check_room(archive, sum(member.size for member in members), disk)
        for member in members:
            name = _safe(archive, member.name)
            if not member.isfile() and not member.isdir():
                raise _no_file(archive, member.name)
            content = opened.extractfile(member) if member.isfile() and not _litter(name) else None
            if content is not None:
                yield name, content
        while opened.fileobj is not None and opened.fileobj.read(1 << 20):  # to the end, where the checksum stands
            pass


def _safe(archive: Path, name: str) -> PurePosixPath:
    """A member's name as a path that stays inside, on every system."""
    windows, plain = PureWindowsPath(name), PurePosixPath(name)
    if plain.is_absolute() or windows.anchor or ".." in windows.parts or "\0" in name:
        raise DataError(
            f"{archive} holds {name!r}, which would lie outside of the folder it is unpacked in; nothing was "
            "unpacked: get the archive from its source"
        )
    return PurePosixPath(*windows.parts)


def _no_file(archive: Path, name: str) -> DataError:
    return DataError(
        f"{archive} holds {name!r}, which is a link or a device; plain files are allowed; nothing was unpacked: get "
        "the archive from its source"
    )


def _litter(name: PurePosixPath) -> bool:
    return name.name.startswith("._") or name.name in LITTER or "__MACOSX" in name.parts


def _check_room(archive: Path, size: int, disk: Path) -> None:
    free = shutil.disk_usage(disk).free
    if size > free:
        raise DataError(
            f"{archive} unpacks to {size:,} bytes, {disk} has room for {free:,}; make room or give another folder"
        )


@contextmanager
def _archive_errors(archive: Path) -> Iterator[None]:
    """Turn whatever a damaged archive raises into a DataError."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{archive} is no archive, damaged or cut short ({reason}); get it again") from error
    except OSError as error:  # gzip and a full disk
        reason = error.strerror or " ".join(str(error).split())
        raise DataError(f"{archive} cannot be unpacked ({reason}); get it again, or make room") from error
