"""Floor 2: The Cancer Imaging Archive, where the NCI-ISBI 2013 challenge lies: addresses, manifests, catalogue.

A series is one zip from NBIA's ``getImage``; NBIA gives no checksum, but the number of images of each series.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from prostate_uda.data.preparing.download import Checksum
from prostate_uda.errors import DataError

UPLOADS = "https://www.cancerimagingarchive.net/wp-content/uploads"
NBIA = "https://services.cancerimagingarchive.net/nbia-api/services/v1"

MANIFESTS = tuple(f"ISBI-Prostate-Challenge-{part}.tcia" for part in ("Training", "LeaderBoard", "Testing"))
LABEL_ARCHIVES: Mapping[str, Checksum] = MappingProxyType(
    {
        f"NCI-ISBI-2013-Prostate-Challenge-{part}.zip": Checksum("sha256", digest)
        for part, digest in {
            "Training": "c3436559b474c60e78633ea98601241f39cb27e30fb9d48b1d29f2821bfbf047",
            "Leaderboard": "011945fdd273b2f43f6ba2de8904ad8625800b439dff9d228810b645c65fa0be",
            "Test": "53c2969c035974de47bcb2d3fa20c1342c99096faf2fc87a0097ed62e89d32e3",
        }.items()
    }
)

UID = re.compile(r"\d+(\.\d+)+")


@dataclass(frozen=True)
class Listed:
    """What the catalogue says of a series.

    Args:
        patient: PatientID, as TCIA has corrected it.
        images: Number of images, or 0 where it is not said.
    """

    patient: str
    images: int


def file_address(name: str, mirror: str | None = None) -> str:
    """Where a manifest or an archive of labels is."""
    return f"{(mirror or UPLOADS).rstrip('/')}/{name}"


def series_address(uid: str, nbia: str | None = None) -> str:
    """Where a series is, as a zip."""
    return f"{(nbia or NBIA).rstrip('/')}/getImage?SeriesInstanceUID={quote(uid)}"


def catalogue_address(collection: str, nbia: str | None = None) -> str:
    """Where the list of a collection's series is, as JSON."""
    return f"{(nbia or NBIA).rstrip('/')}/getSeries?Collection={quote(collection)}&format=json"


def read_manifest(path: Path) -> tuple[str, ...]:
    """The series a ``.tcia`` manifest names, in its order.

    Raises:
        DataError: It cannot be read or names no series.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a manifest ({error}); get it again") from error
    _, marker, listed = text.partition("ListOfSeriesToDownload=")
    uids = [line.split("|")[0].strip() for line in listed.splitlines()]
    named = tuple(dict.fromkeys(uid for uid in uids if UID.fullmatch(uid)))
    if not marker or not named:
        raise DataError(
            f"{path} names no series after 'ListOfSeriesToDownload='; it is no .tcia manifest, get it again"
        )
    return named


def read_catalogue(path: Path) -> dict[str, Listed]:
    """SeriesInstanceUID to what is known of the series.

    Raises:
        DataError: It is no list of series.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(entry["SeriesInstanceUID"]): Listed(str(entry["PatientID"]).strip(), int(entry.get("ImageCount") or 0))
            for entry in content
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is no list of series ({error!r}); remove it and run the same command again") from error
