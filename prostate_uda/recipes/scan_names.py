"""Floor 5: which scans ``infer`` was given, what each one's results are called, and whether they may be written."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from zlib import error as ZlibError  # noqa: N812  an exception

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError

from prostate_uda.data.canonical import DATASET
from prostate_uda.data.dicom import is_dicom
from prostate_uda.data.domains.folder import FOLDER
from prostate_uda.data.volumes import SUFFIXES, file_suffix
from prostate_uda.errors import CheckpointError, DataError, SettingsError
from prostate_uda.recipes.record import read_json, writing

KEPT = ".cases"
"""Folder beside the results with a record per scan."""
LABELS, UNCERTAINTY, PROBABILITIES = "_zones.nii.gz", "_uncertainty.nii.gz", "_probabilities.nii.gz"
SEGMENTS, DICOM = "_zones.seg.nrrd", ".dcm"
RESULTS = (UNCERTAINTY, PROBABILITIES, SEGMENTS, DICOM)
"""What a review has beside the label map."""


def named_scans(given: Sequence[Path]) -> dict[str, Path]:
    """Every scan by the name of its results: the file's or folder's, with those above it where two are alike.

    Args:
        given: Volume files, DICOM folders, or folders of volume files.

    Raises:
        DataError: one is not there, or of a kind that cannot be read.
        SettingsError: the same scan twice.
    """
    scans = [scan for path in given for scan in _scans_of(_readable(path))]
    if not scans:
        raise DataError(f"no scan in {', '.join(map(str, given))}; {', '.join(SUFFIXES)} or DICOM folders are scans")
    twice = sorted({str(scan) for scan, count in Counter(scan.resolve() for scan in scans).items() if count > 1})
    if twice:
        raise SettingsError(f"given more than once: {', '.join(twice)}; give each scan once")
    depth, names = 1, [_name(scan, 1) for scan in scans]
    while len(set(names)) < len(names):
        depth += 1
        alike = Counter(names)
        longer = [_name(scan, depth) if alike[name] > 1 else name for scan, name in zip(scans, names, strict=True)]
        if longer == names:
            told = sorted(name for name, count in alike.items() if count > 1)
            raise SettingsError(
                f"more than one scan is named {', '.join(told)}; rename them or run infer once for each"
            )
        names = longer
    return dict(zip(names, scans, strict=True))


def _scans_of(path: Path) -> list[Path]:
    """The volume files right in a folder, without labels beside them and results of ours; else the path itself."""
    if not path.is_dir():
        return [path]
    entries = sorted(entry for entry in path.iterdir() if entry.is_file())
    volumes = [entry for entry in entries if file_suffix(entry)]
    if not volumes:
        return [path]
    if any(is_dicom(entry) for entry in entries if entry.name.removesuffix(DICOM) not in _done(path)):
        raise DataError(f"{path} holds DICOM images and volume files; give the one kind or the other by name")
    ours = {f"{name}{ending}" for name in _done(path) for ending in (LABELS, *RESULTS)}
    return [case.image for case in FOLDER.find(path).cases if case.image.name not in ours]


def _done(folder: Path) -> set[str]:
    """Names whose results lie in a folder."""
    return {record.stem for record in (folder / KEPT).glob("*.json")}


def _name(scan: Path, depth: int) -> str:
    """The scan's name after those of the folders above it, ``depth`` parts together."""
    suffix = file_suffix(scan)
    own = scan.name[: -len(suffix)] if suffix else scan.resolve().name
    above = scan.resolve().parts[1:-1][::-1][: depth - 1]
    return "_".join((*above[::-1], own))


def _readable(image: Path) -> Path:
    """The path, once it is known to be there and of a kind that can be read."""
    try:
        image.stat()
    except OSError as error:
        what = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise DataError(f"{image} {what}; check the path") from error
    if image.is_file() and not file_suffix(image):
        raise DataError(f"{image}: unknown kind of file; {', '.join(SUFFIXES)} or a DICOM folder can be read")
    return image


def check_places(scans: Mapping[str, Path], out: Path) -> None:
    """Refuse before the work to write over a scan, a truth that ``prepare`` wrote, or a file that is none of ours.

    Raises:
        SettingsError: a result would be written there.
    """
    inputs = {scan.resolve() for scan in scans.values()}
    with writing(out):
        for name, scan in scans.items():
            written = [out / f"{name}{ending}" for ending in (LABELS, *RESULTS)]
            for path in written:
                if path.resolve() in inputs:
                    raise SettingsError(f"{path} is one of the scans and would be lost; give another folder with --out")
            if (out / KEPT / f"{name}.json").is_file():
                _check_same_scan(out / KEPT / f"{name}.json", name, scan)
            else:
                _check_free(written)


def _check_same_scan(record: Path, name: str, scan: Path) -> None:
    """Refuse to replace the results of another scan of the same name."""
    try:
        before = str(read_json(record).get("path", scan.resolve()))
    except CheckpointError:  # a damaged record tells nothing
        return
    if before != str(scan.resolve()):
        raise SettingsError(f"{name} is the result of {before} there; give another folder with --out, or rename {scan}")


def _check_free(written: Sequence[Path]) -> None:
    """Refuse what is there and not of an earlier run; a label map of ours may be replaced."""
    label, *others = written
    if label.exists():
        if (label.resolve().parent.parent / DATASET).exists():
            raise SettingsError(f"{label} belongs to a data set and would be lost; give another folder with --out")
        if not _is_label(label):
            raise SettingsError(f"{label} exists and is no label map; give another folder with --out")
    for path in others:
        if path.exists():
            raise SettingsError(f"{path} exists and was not made by infer here; give another folder with --out")


def _is_label(path: Path) -> bool:
    try:
        with LoggingOutputSuppressor():
            header = nib.load(path).header
        return bool(header.get_data_dtype() == np.uint8 and header.get_intent()[0] == "label")
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, LookupError, ZlibError):
        return False
