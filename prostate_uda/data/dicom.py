"""Floor 2: a folder as it comes from a scanner, in; one axial T2 series, out.

Series are grouped by SeriesInstanceUID and sorted by position with GDCM (through SimpleITK).
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock

import numpy as np
import SimpleITK as sitk

from prostate_uda.data.dicom_lengths import check_lengths
from prostate_uda.data.dicom_stack import normal_of
from prostate_uda.errors import DataError

SERIES_UID, STUDY_UID = "0020|000e", "0020|000d"
DESCRIPTION, PROTOCOL = "0008|103e", "0018|1030"
PATIENT_ID, PATIENT_NAME = "0010|0020", "0010|0010"
POSITION, ORIENTATION = "0020|0032", "0020|0037"
SPACING, ROWS, COLUMNS = "0028|0030", "0028|0010", "0028|0011"
THICKNESS, BETWEEN = "0018|0050", "0018|0088"
PLACE = (POSITION, ORIENTATION, SPACING, ROWS, COLUMNS, THICKNESS, BETWEEN)
MR_IMAGE = re.compile(rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\.4(\.1|\.4)?[\0\x02\x08]")
"""The SOP classes of MR images, as they stand in a file; other objects, such as reports, are of no series of ours."""

NO_MEMORY = "needs more memory than there is; see if its size in voxels is right, else take a machine with more"

NOT_T2 = ("local", "scout", "survey", "adc", "dwi", "diff", "b-value", "bval", "trace")
"""Words in a description that say a series is no anatomical T2 even where ``t2`` stands beside them."""

_QUIET = RLock()
"""Standard error is the whole process's: one thread at a time may point it elsewhere."""


@dataclass(frozen=True)
class Series:
    """One DICOM series.

    Args:
        uid: SeriesInstanceUID.
        study: StudyInstanceUID.
        name: SeriesDescription and ProtocolName.
        files: Its images, sorted along the slice normal.
        orientation: ImageOrientationPatient, or None where the first image has none.
        patient: PatientID of the first image.
        patient_name: PatientName of the first image.
        unreadable: Files beside its images that are named as images and are none: perhaps slices of it.
    """

    uid: str
    study: str
    name: str
    files: tuple[Path, ...]
    orientation: tuple[float, ...] | None
    patient: str = ""
    patient_name: str = ""
    unreadable: tuple[Path, ...] = ()

    @property
    def folder(self) -> Path:
        """Where its images lie."""
        return self.files[0].parent

    @property
    def axial(self) -> bool:
        """Whether the slice normal lies within 45 degrees of head to foot."""
        if self.orientation is None:
            return False
        return bool(abs(normal_of(self.orientation)[2]) >= np.sqrt(0.5))

    @property
    def t2(self) -> bool:
        """Whether the names say T2 and say nothing that excludes it."""
        return "t2" in self.name.lower() and not self.other_contrast

    @property
    def other_contrast(self) -> bool:
        """Whether the names say that this is no anatomical T2 (ADC, diffusion, a localizer)."""
        return any(word in self.name.lower() for word in NOT_T2)

    def __str__(self) -> str:
        plane = "plane not told" if self.orientation is None else "axial" if self.axial else "not axial"
        return f"{self.name.strip() or self.uid} ({len(self.files)} images, {plane}, in {self.folder.name})"


def is_dicom(path: Path) -> bool:
    """Whether a file carries the DICOM magic at byte 128 or is named as DICOM; hidden files never are."""
    if path.name.startswith(".") or not path.is_file():
        return False
    if path.suffix.lower() in (".dcm", ".ima"):
        return True
    if path.suffix.lower() in (".gz", ".nii", ".nrrd", ".mha", ".json", ".txt"):
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def dicom_folders(folder: Path) -> tuple[Path, ...]:
    """Every folder at or below ``folder`` that holds DICOM files, sorted."""
    inside = (path for path in folder.rglob("*") if path.is_dir() and not path.name.startswith("."))
    return tuple(f for f in (folder, *sorted(inside)) if any(is_dicom(path) for path in f.iterdir()))


def list_series(folder: Path) -> tuple[Series, ...]:
    """Every DICOM series at or below ``folder``, in the order of folders and UIDs.

    Raises:
        DataError: If an image's header cannot be read, or claims more than its file holds.
    """
    found: list[Series] = []
    with quiet():
        for inside in dicom_folders(folder):
            for file in sorted(path for path in inside.iterdir() if is_dicom(path)):
                check_lengths(file)
            series = _grouped(inside)
            others = set(inside.iterdir()).difference(*series)
            unreadable = tuple(sorted(path for path in others if _is_damaged(path)))
            found += [replace(_series(files), unreadable=unreadable) for files in series]
    return tuple(found)


def _grouped(folder: Path) -> list[tuple[Path, ...]]:
    """The images right in a folder, by series."""
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames
    try:
        uids = sorted(sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)))
        return [tuple(Path(file) for file in names(str(folder), uid)) for uid in uids]
    except RuntimeError as error:  # GDCM stops at some damaged headers, and does not say whose
        raise DataError(f"{folder}: a damaged DICOM file ({itk_reason(error)}); export the series again") from error


def _is_damaged(path: Path) -> bool:
    """Whether a file that is of no series should be: named as an image without being DICOM, or an MR image's rest."""
    if not is_dicom(path):
        return False
    with path.open("rb") as file:
        start = file.read(1024)
    return start[128:132] != b"DICM" or MR_IMAGE.search(start) is not None


def choose_series(folder: Path) -> Series:
    """The one series of a folder; among several, the only axial T2.

    Raises:
        DataError: If there is no series, or several and not exactly one of them is an axial T2, or they are of several
            patients: one of them would be taken and the others lost without a word.
    """
    series = list_series(folder)
    if not series:
        _check_damaged(folder)
    patients = {one.patient for one in series if one.patient}
    studies = {one.study for one in series if one.axial and one.t2}
    for found, what in ((patients, "patients"), (studies, "studies")):
        if len(found) > 1:
            raise DataError(f"{folder}: these are {len(found)} {what}; give each one's folder, {folder}/*")
    return choose_among(series, folder)


def _check_damaged(folder: Path) -> None:
    """Tell damaged DICOM from none.

    Raises:
        DataError: If there are files named as images.
    """
    named = [path for inside in dicom_folders(folder) for path in sorted(inside.iterdir()) if is_dicom(path)]
    if named:
        raise DataError(
            f"{folder}: none of {len(named)} DICOM files is an image that can be read, such as {named[0].name}; export "
            "the series again"
        )


def choose_among(series: Sequence[Series], folder: Path) -> Series:
    """The only series, or the only axial T2 among several.

    Raises:
        DataError: If there is no series, or several and not exactly one of them is an axial T2; it names the folder.
    """
    if not series:
        what = "no NIfTI, NRRD or MHA file right in it, no DICOM at any depth"
        raise DataError(f"{folder} holds no scan: {what}; give a scan, or its folder")
    if len(series) == 1:
        return series[0]
    fitting = [one for one in series if one.axial and one.t2]
    if len(fitting) == 1:
        return fitting[0]
    what = "no axial T2 series" if not fitting else f"{len(fitting)} axial T2 series"
    listed = "; ".join(str(one) for one in fitting or series)
    raise DataError(f"{folder} holds {what}: {listed}; keep the one to be used in a folder of its own")


def study_of(folder: Path) -> str:
    """StudyInstanceUID of a folder's first image; empty where it has none."""
    images = (path for inside in dicom_folders(folder) for path in sorted(inside.iterdir()) if is_dicom(path))
    first = next(images, None)
    if first is None:
        return ""
    with quiet():
        return headers_of((first,))[0].get(STUDY_UID, "").strip()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep ITK, GDCM and MetaIO from writing to the terminal: what matters they also raise.

    Some of them write to the process's standard error past Python, so it is pointed at nothing meanwhile.
    """
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    with _QUIET:
        try:
            kept = os.dup(2)
        except OSError:  # a process without a standard error
            yield
            return
        nothing = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nothing, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nothing)


def itk_reason(error: RuntimeError) -> str:
    """The last telling line of an ITK exception, without addresses and line numbers."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    return lines[-1].split("): ")[-1].removeprefix("ITK ERROR: ").rstrip(".") if lines else "cannot be read"


def _series(files: tuple[Path, ...]) -> Series:
    header = headers_of(files[:1])[0]
    names = dict.fromkeys((header.get(DESCRIPTION, "").strip(), header.get(PROTOCOL, "").strip()))
    return Series(
        uid=header.get(SERIES_UID, "").strip(),
        study=header.get(STUDY_UID, "").strip(),
        name=" / ".join(name for name in names if name),
        files=files,
        orientation=numbers_of(header, ORIENTATION, 6),
        patient=header.get(PATIENT_ID, "").strip(),
        patient_name=header.get(PATIENT_NAME, "").strip(),
    )


def headers_of(files: Iterable[Path]) -> list[dict[str, str]]:
    """The tags we look at, of each file.

    Raises:
        DataError: One cannot be read.
    """
    wanted = (SERIES_UID, STUDY_UID, DESCRIPTION, PROTOCOL, PATIENT_ID, PATIENT_NAME, *PLACE)
    headers = []
    for file in files:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(file))
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise DataError(f"{file}: {itk_reason(error)}; export the series again") from error
        headers.append({key: reader.GetMetaData(key) for key in wanted if reader.HasMetaDataKey(key)})
    return headers


def numbers_of(header: dict[str, str], key: str, count: int) -> tuple[float, ...] | None:
    """A tag's ``count`` numbers; None where it is missing or holds others."""
    try:
        values = tuple(float(value) for value in header.get(key, "").split("\\"))
    except ValueError:
        return None
    return values if len(values) == count else None
