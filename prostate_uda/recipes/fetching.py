"""Floor 5: the downloads of ``prepare``, shown as they go."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prostate_uda.data.cache import content_hash
from prostate_uda.data.dicom import Series, is_dicom, list_series
from prostate_uda.data.preparing import tcia
from prostate_uda.data.preparing.archives import unpack
from prostate_uda.data.preparing.download import Checksum, NotOnServerError, fetch
from prostate_uda.data.preparing.nci_isbi13 import COLLECTIONS, Half
from prostate_uda.data.preparing.tcia import Listed
from prostate_uda.engines.observers import Progress
from prostate_uda.errors import DataError


@dataclass(frozen=True)
class Fetched:
    """The challenge's images.

    Args:
        series: Every series there is.
        named: SeriesInstanceUIDs of the manifests.
        catalogue: What TCIA says of each series.
        missing: Patient (or series, where he is not known) to why there is no image of his.
        warnings: What is odd about the whole.
    """

    series: tuple[Series, ...]
    named: frozenset[str] = frozenset()
    catalogue: Mapping[str, Listed] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def fetch_file(url: str, to: Path, checksum: Checksum | None, progress: Progress) -> Path:
    """Download a file with a bar in bytes; see :func:`prostate_uda.data.preparing.download.fetch`."""
    pieces = fetch(url, to, checksum=checksum)
    at, total = next(pieces)
    with progress.task(f"fetching {to.name}", total, at, unit="B") as task:
        for received, _ in pieces:
            task.advance(received - at)
            at = received
    return to


def fetch_labels(
    downloads: Path, mirror: str | None, checksums: Mapping[str, Checksum], progress: Progress
) -> list[Path]:
    """The challenge's three archives of labels."""
    return [
        fetch_file(tcia.file_address(name, mirror), downloads / name, checksum, progress)
        for name, checksum in checksums.items()
    ]


def fetch_series(downloads: Path, half: Half, *, mirror: str | None, nbia: str | None, progress: Progress) -> Fetched:
    """The series that the manifests name, of one scanner's patients as far as TCIA's catalogue tells.

    A series that the server lacks, or that comes damaged or incomplete, is named in ``missing``; it is asked for
    again by the next run.

    Raises:
        DataError: A server cannot be reached, or a manifest cannot be read.
    """
    manifests = [
        fetch_file(tcia.file_address(name, mirror), downloads / name, None, progress) for name in tcia.MANIFESTS
    ]
    named = tuple(dict.fromkeys(uid for path in manifests for uid in _manifest(path)))
    catalogue, warnings = _catalogue(downloads, half, nbia, progress)
    wanted = [uid for uid in named if not catalogue or uid in catalogue]
    missing: dict[str, str] = {}
    series: list[Series] = []
    with progress.task("fetching series", len(wanted)) as task:
        for uid in wanted:
            listed = catalogue.get(uid, Listed(uid, 0))
            try:
                series += list_series(_one_series(downloads / "series", uid, listed.images, nbia))
            except (NotOnServerError, _UnusableError) as error:
                missing[listed.patient] = f"series {uid} is missing: {error}"
            task.advance()
    return Fetched(tuple(series), frozenset(named), catalogue, missing, warnings)


def unpack_named(archive: Path, into: Path) -> Path:
    """Unpack an archive into a folder that is named by its content, once."""
    return unpack(archive, into / f"{archive.stem}-{content_hash(archive)[:12]}")


def _manifest(path: Path) -> tuple[str, ...]:
    """What a manifest names; one that is none is removed, so that the next run asks for it again."""
    try:
        return tuple(tcia.read_manifest(path))
    except DataError:
        path.unlink(missing_ok=True)
        raise


class _UnusableError(Exception):
    """A series that came, and cannot be used."""


def _catalogue(
    downloads: Path, half: Half, nbia: str | None, progress: Progress
) -> tuple[dict[str, Listed], tuple[str, ...]]:
    """What TCIA says of a half's series; nothing where it does not say, so that every series is fetched."""
    catalogue: dict[str, Listed] = {}
    try:
        for collection in COLLECTIONS[half]:
            to = downloads / f"{collection}.json"
            catalogue |= tcia.read_catalogue(fetch_file(tcia.catalogue_address(collection, nbia), to, None, progress))
    except NotOnServerError as error:
        return {}, (f"TCIA's catalogue could not be had, so every series of the manifests was fetched ({error})",)
    return catalogue, ()


def _one_series(folder: Path, uid: str, images: int, nbia: str | None) -> Path:
    """A series' folder, fetched and unpacked where it is not there.

    Raises:
        NotOnServerError: The server lacks it.
        DataError: The server cannot be reached.
        _UnusableError: It came damaged, or with other than ``images`` images (0: any number).
    """
    to, archive, work = folder / uid, folder / f"{uid}.zip", folder / f"{uid}.unpacked"
    if to.is_dir():
        return to
    for _ in fetch(tcia.series_address(uid, nbia), archive):
        pass
    try:
        found = sum(is_dicom(path) for path in unpack(archive, work).rglob("*"))
        if not found or (images and found != images):
            raise _UnusableError(f"it came with {found} of {images or 'at least 1'} images")
        work.rename(to)
    except DataError as error:
        raise _UnusableError(str(error)) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
        archive.unlink(missing_ok=True)
    return to
