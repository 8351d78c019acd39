"""Floor 2: a folder as it comes from a scanner, in; one axial T2 series, out.

Series are grouped by SeriesInstanceUID and sorted by position with GDCM (through SimpleITK).
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from prostate_uda.errors import DataError, GeometryError

SERIES_UID, STUDY_UID = "0020|000e", "0020|000d"
DESCRIPTION, PROTOCOL = "0008|103e", "0018|1030"
PATIENT_ID, PATIENT_NAME = "0010|0020", "0010|0010"
POSITION, ORIENTATION = "0020|0032", "0020|0037"

NOT_T2 = ("local", "scout", "survey", "adc", "dwi", "diff", "b-value", "bval", "trace")
"""Words in a description that say a series is no anatomical T2 even where ``t2`` stands beside them."""

GAP_TOLERANCE = 0.05
"""How far a distance between neighbouring slices may be from the median one, as a share of it."""

DRIFT_TOLERANCE = 1e-2
"""Sideways drift of the slice positions per millimetre along the stack above which the stack is sheared."""


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
    """

    uid: str
    study: str
    name: str
    files: tuple[Path, ...]
    orientation: tuple[float, ...] | None
    patient: str = ""
    patient_name: str = ""

    @property
    def folder(self) -> Path:
        """Where its images lie."""
        return self.files[0].parent

    @property
    def axial(self) -> bool:
        """Whether the slice normal lies within 45 degrees of head to foot."""
        if self.orientation is None:
            return False
        return bool(abs(_normal(self.orientation)[2]) >= np.sqrt(0.5))

    @property
    def t2(self) -> bool:
        """Whether the names say T2 and say nothing that excludes it."""
        return "t2" in self.name.lower() and not self.other_contrast

    @property
    def other_contrast(self) -> bool:
        """Whether the names say that this is no anatomical T2 (ADC, diffusion, a localizer)."""
        return any(word in self.name.lower() for word in NOT_T2)

    def __str__(self) -> str:
        plane = "axial" if self.axial else "not axial"
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
        DataError: If a file with the name of an image cannot be read as DICOM.
    """
    found = []
    with quiet():
        for inside in dicom_folders(folder):
            for uid in sorted(sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(inside))):
                files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(inside), uid)
                found.append(_series(tuple(Path(file) for file in files)))
    return tuple(found)


def choose_series(folder: Path) -> Series:
    """The one series of a folder; among several, the only axial T2.

    Raises:
        DataError: If there is no series, or several and not exactly one of them is an axial T2, or they are of several
            patients: one of them would be taken and the others lost without a word.
    """
    series = list_series(folder)
    patients = {one.patient for one in series if one.patient}
    studies = {one.study for one in series if one.axial and one.t2}
    for found, what in ((patients, "patients"), (studies, "studies")):
        if len(found) > 1:
            raise DataError(f"{folder}: these are {len(found)} {what}; give each one's folder, {folder}/*")
    return choose_among(series, folder)


def choose_among(series: Sequence[Series], folder: Path) -> Series:
    """The only series, or the only axial T2 among several.

    Raises:
        DataError: If there is no series, or several and not exactly one of them is an axial T2; it names the folder.
    """
    if not series:
        raise DataError(f"{folder} holds no DICOM image; give a folder with a series, or a NIfTI, NRRD or MHA file")
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
        return _headers((first,))[0].get(STUDY_UID, "").strip()


def read_series(series: Series) -> sitk.Image:
    """Read a series as a 3D image with its rescale slope applied.

    Raises:
        DataError: If a slice is missing or damaged, or positions repeat.
        GeometryError: If the slices are not parallel or their stack is sheared.
    """
    try:
        with quiet():
            if len(series.files) == 1:
                return _read_single(series)
            _check_stack(series)
            reader = sitk.ImageSeriesReader()
            reader.SetFileNames([str(file) for file in series.files])
            return reader.Execute()
    except RuntimeError as error:
        raise DataError(f"{series.folder}: {itk_reason(error)}; export the series again") from error


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
    header = _headers(files[:1])[0]
    names = dict.fromkeys((header.get(DESCRIPTION, "").strip(), header.get(PROTOCOL, "").strip()))
    return Series(
        uid=header.get(SERIES_UID, "").strip(),
        study=header.get(STUDY_UID, "").strip(),
        name=" / ".join(name for name in names if name),
        files=files,
        orientation=_numbers(header, ORIENTATION, 6),
        patient=header.get(PATIENT_ID, "").strip(),
        patient_name=header.get(PATIENT_NAME, "").strip(),
    )


def _headers(files: Iterable[Path]) -> list[dict[str, str]]:
    """The tags we look at, of each file."""
    wanted = (SERIES_UID, STUDY_UID, DESCRIPTION, PROTOCOL, PATIENT_ID, PATIENT_NAME, POSITION, ORIENTATION)
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


def _numbers(header: dict[str, str], key: str, count: int) -> tuple[float, ...] | None:
    try:
        values = tuple(float(value) for value in header.get(key, "").split("\\"))
    except ValueError:
        return None
    return values if len(values) == count else None


def _normal(orientation: tuple[float, ...]) -> NDArray[np.float64]:
    normal: NDArray[np.float64] = np.cross(orientation[:3], orientation[3:])
    return normal / max(float(np.linalg.norm(normal)), 1e-12)


def _read_single(series: Series) -> sitk.Image:
    """Read a series that is one file: an enhanced multi-frame image, else it is no volume."""
    image = sitk.ReadImage(str(series.files[0]))
    if image.GetDimension() != 3 or image.GetSize()[2] < 2:
        raise DataError(f"{series.folder}: the series {series} has a single slice; a stack of slices is needed")
    return image


def _check_stack(series: Series) -> None:
    """Check that the slices are parallel, evenly spaced along their normal and not shifted sideways."""
    folder = series.folder
    headers = _headers(series.files)
    positions = [_numbers(header, POSITION, 3) for header in headers]
    orientations = [_numbers(header, ORIENTATION, 6) for header in headers]
    if series.orientation is None or None in positions or None in orientations:
        raise DataError(f"{folder}: images without position or orientation in {series}; export the series again")
    if not np.allclose(np.array(orientations, dtype=float), series.orientation, atol=1e-3):
        raise GeometryError(f"{folder}: the images of {series} are not parallel; a localizer is no volume")
    points = np.array(positions, dtype=np.float64)
    normal = _normal(series.orientation)
    along = points @ normal
    _check_steps(np.diff(np.sort(along)), folder, series)
    sideways = (points[-1] - points[0]) - (along[-1] - along[0]) * normal
    if np.linalg.norm(sideways) > DRIFT_TOLERANCE * abs(along[-1] - along[0]):
        raise GeometryError(
            f"{folder}: the slices of {series} are shifted sideways by {np.linalg.norm(sideways):.2f} mm over the "
            "stack (tilted acquisition); resample the series to an orthogonal grid"
        )


def _check_steps(steps: NDArray[np.float64], folder: Path, series: Series) -> None:
    if steps.min() < 1e-3:
        first = int(np.argmin(steps)) + 1
        raise DataError(
            f"{folder}: images {first} and {first + 1} of {series} lie at the same position (several b-values, echoes "
            "or time points); keep one image per position"
        )
    usual = float(np.median(steps))
    worst = int(np.argmax(np.abs(steps - usual)))
    if abs(steps[worst] - usual) > GAP_TOLERANCE * usual:
        raise DataError(
            f"{folder}: slices {worst + 1} and {worst + 2} of {series} are {steps[worst]:.2f} mm apart, the others "
            f"{usual:.2f} mm: a slice is missing; export the series again"
        )
