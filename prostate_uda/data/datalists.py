"""Floor 2: the scans in a folder, as MONAI datasets want them."""

import os
from pathlib import Path

from prostate_uda.data.domains.folder import FOLDER
from prostate_uda.errors import DataError


def images_in(folder: Path | str) -> list[dict[str, str]]:
    """One entry for each scan in a folder, laid out as the domain ``folder`` allows, sorted by id.

    Args:
        folder: Holds NIfTI, NRRD or MHA files or folders with DICOM; labels beside them are passed over.

    Returns:
        ``[{"image": path}, ...]``.

    Raises:
        DataError: no such folder, no scan in it, or two scans whose results MONAI would write under one name.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the folder that holds the scans")
    scans = [case.image for case in FOLDER.find(folder).cases]
    if not scans:
        raise DataError(f"{folder} holds no scan; put NIfTI, NRRD or MHA files or DICOM folders there")
    taken: dict[str, Path] = {}
    for scan in scans:
        other = taken.setdefault(_saved_name(scan), scan)
        if other != scan:
            raise DataError(f"{other.name} and {scan.name} would be written under one name; rename one of them")
    return [{"image": str(scan)} for scan in scans]


def _saved_name(path: Path) -> str:
    """What MONAI's ``SaveImaged`` makes of a path: ``.gz`` and one more ending are cut, from a folder's name, too."""
    stem, ending = os.path.splitext(path.name)  # noqa: PTH122  # exactly as MONAI does it
    return os.path.splitext(stem)[0] if ending == ".gz" else stem  # noqa: PTH122
