"""Floor 5: which scans ``infer`` was given, what each one's results are called, and whether they may be written."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from zlib import error as ZlibError  # noqa: N812  an exception

import numpy as np
import torch
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from prostate_uda.data.cache import content_hash
from prostate_uda.data.canonical import DATASET
from prostate_uda.data.dicom import is_dicom
from prostate_uda.data.domains.folder import FOLDER
from prostate_uda.data.identities import NOBODY
from prostate_uda.data.nifti import load_nifti
from prostate_uda.data.slicer import is_segmentation
from prostate_uda.data.volumes import SUFFIXES, file_suffix
from prostate_uda.errors import CheckpointError, DataError, GeometryError, SettingsError
from prostate_uda.recipes.identities import place
from prostate_uda.recipes.record import read_json, writing

KEPT = ".cases"
"""Folder beside the results with a record per scan."""
LABELS, UNCERTAINTY, PROBABILITIES = "_zones.nii.gz", "_uncertainty.nii.gz", "_probabilities.nii.gz"
SEGMENTS, DICOM = "_zones.seg.nrrd", ".dcm"
LAYOUTS = ("images", "imagesTr", "imagesTs")
"""Folders that hold a data set's scans."""
ZONES = LABELS.removesuffix(".nii.gz")
OF_THE_FOLDER = ("report.json", "report.csv", "report.html", "failures.csv", "itksnap_labels.txt")
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
    """The volume files right in a folder, without labels beside them and results of ours; else the path itself.

    Raises:
        DataError: volumes lie beside DICOM images or beside a folder of images, so it is unclear what is meant.
    """
    if not path.is_dir():
        return [path]
    with readable(path):
        entries = sorted(path.iterdir())
        volumes = [entry for entry in entries if entry.is_file() and file_suffix(entry)]
        others = [entry for entry in entries if entry.name in LAYOUTS and entry.is_dir()]
        others += [entry for entry in entries if entry.name.removesuffix(DICOM) not in _done(path) and is_dicom(entry)]
    if volumes and others:
        raise DataError(f"{path} holds volume files beside {others[0].name}; give the one kind or the other by name")
    if not volumes and not any(entry.name in LAYOUTS for entry in others):
        return [path]
    return [case.image for case in FOLDER.find(path).cases if not _is_result(case.image)]


def _is_result(volume: Path) -> bool:
    """Whether a volume is what ``infer`` or a reviewer made of a scan."""
    ours = {f"{name}{ending}" for name in _done(volume.parent) for ending in (LABELS, *RESULTS)}
    stem = volume.name[: -len(file_suffix(volume))]
    beside = {path.name[: -len(file_suffix(path))] for path in volume.parent.iterdir() if file_suffix(path)}
    return volume.name in ours or is_segmentation(volume) or stem.removesuffix(ZONES) in beside - {stem}


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


@contextmanager
def readable(scan: Path) -> Iterator[None]:
    """Turn what a disk, or the want of memory, says while a scan is read into one line.

    Raises:
        DataError: the scan cannot be used.
    """
    try:
        yield
    except OSError as error:
        raise DataError(f"{error.filename or scan} cannot be read ({error.strerror}); check its rights") from error
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate" in str(error)):
            raise
        raise DataError(f"{scan} needs more memory than there is; is its size in voxels right?") from error


def check_places(scans: Mapping[str, Path], out: Path) -> None:
    """Refuse before the work to write over a scan, a correction, or a file that is none of ours.

    Raises:
        SettingsError: a result would be written there.
    """
    inputs = {scan.resolve() for scan in scans.values()}
    with writing(out):
        for folder in inputs & {out.resolve(), *out.resolve().parents}:
            raise SettingsError(f"{out} lies in the scan {folder}; give another folder with --out")
        strange = [name for name in OF_THE_FOLDER if (out / name).exists() and not (out / KEPT).is_dir()]
        if strange:
            raise SettingsError(f"{out / strange[0]} exists and was not made by infer; give another folder with --out")
        for name, scan in scans.items():
            _check_place(out, name, scan, inputs)


def _check_place(out: Path, name: str, scan: Path, inputs: Collection[Path]) -> None:
    files = {ending: out / f"{name}{ending}" for ending in (LABELS, *RESULTS)}
    for path in files.values():
        if path.resolve() in inputs:
            raise SettingsError(f"{path} is one of the scans and would be lost; give another folder with --out")
    try:
        before = read_json(out / KEPT / f"{name}.json")
    except CheckpointError:  # none, or damaged: it owns nothing
        before = {}
    if before.get("path", place(scan, None)) not in (place(scan, None), place(scan, NOBODY)):
        raise SettingsError(
            f"{name} is the result of another scan there; give another folder with --out, or rename {scan}"
        )
    label = files[LABELS]
    if before.get("label") and label.is_file() and content_hash(label) != before["label"]:
        raise SettingsError(
            f"{label} was changed since infer wrote it (a correction?); move it away, or give another --out"
        )
    _check_free([path for ending, path in files.items() if ending not in before.get("written", ())])


def _check_free(written: Sequence[Path]) -> None:
    """Refuse what is there and not of an earlier call; a label map of which no record tells may be replaced."""
    for path in written:
        if not path.exists():
            continue
        if path.name.endswith(LABELS):
            if (path.resolve().parent.parent / DATASET).exists():
                raise SettingsError(f"{path} belongs to a data set and would be lost; give another folder with --out")
            if not _is_label(path):
                raise SettingsError(f"{path} exists and is no label map; give another folder with --out")
        else:
            raise SettingsError(f"{path} exists and was not made by infer here; give another folder with --out")


def _is_label(path: Path) -> bool:
    try:
        header = load_nifti(path).header
        return bool(header.get_data_dtype() == np.uint8 and header.get_intent()[0] == "label")
    except (GeometryError, ImageFileError, HeaderDataError, OSError, EOFError, ValueError, LookupError, ZlibError):
        return False
