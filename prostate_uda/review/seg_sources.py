"""Floor 2, review: the DICOM images that a segmentation refers to, read without their voxels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prostate_uda.errors import DataError
from prostate_uda.review.seg_patient import ALWAYS_THERE, DETAILS, IDENTITY, METHODS, patient_and_study, valid_text

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_SHARED_BY_ALL = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "FrameOfReferenceUID")
_PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")
_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_SCANNER = ("Manufacturer", "ManufacturerModelName")
_WANTED = (
    *(*IDENTITY, *DETAILS, METHODS, *_UIDS, *_PLACE, _SHARED, _PER_FRAME, *_SCANNER),
    *("Rows", "Columns", "FrameOfReferenceUID", "SeriesNumber"),
)
_PARALLEL = 1e-3
"""How far directions and relative voxel sizes of one series' images may differ, as where its voxels are read."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Where the frames of a series lie, in the order of the files.

    Attributes:
        positions: ``(F, 3)`` LPS millimeters of each frame's first voxel.
        orientation: ``(6,)`` directions from column to column and from row to row.
        spacing: Millimeters from column to column and from row to row.
        thickness: Slice thickness in millimeters.
        columns: Voxels along the first direction.
        rows: Voxels along the second one.
    """

    positions: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing: tuple[float, float]
    thickness: float
    columns: int
    rows: int


@dataclass(frozen=True, eq=False)
class Sources:
    """A series to refer to.

    Attributes:
        stack: Where its frames lie.
        images: One pydicom data set per file: identifiers and place as numbers of ours, no patient.
        patient: Patient and study, cleaned.
        series_number: 0 where the series has none.
        folder: Where the files are, for messages.
    """

    stack: Stack
    images: list[Any]
    patient: Any
    series_number: int
    folder: Path


def read_sources(files: Sequence[Path]) -> Sources:
    """Read the headers of one series: files of one image each, or one enhanced multi-frame file.

    Args:
        files: In any order.

    Raises:
        DataError: If a file cannot be read, they are not of one series, or one lacks what names or places it.
    """
    if not files:
        raise DataError("no DICOM file to refer to; give the files of the series")
    headers = [_read(file) for file in files]
    folder = files[0].parent
    _check_one_series(headers, folder)
    stack = _stack(headers, folder)
    return Sources(
        stack=stack,
        images=[_image(header, stack, index) for index, header in enumerate(headers)],
        patient=patient_and_study(headers[0]),
        series_number=_whole(headers[0]),
        folder=folder,
    )


def _read(file: Path) -> Any:  # noqa: ANN401  # pydicom is optional
    from pydicom import dcmread

    try:
        header = dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(_WANTED))
        for keyword, stored in (("SOPInstanceUID", "InstanceUID"), ("SOPClassUID", "ClassUID")):
            if not header.get(keyword):
                setattr(header, keyword, header.file_meta.get(f"MediaStorageSOP{stored}", ""))
        missing = [name for name in (*_UIDS, "Rows", "Columns") if not header.get(name)]
    except Exception as error:  # pydicom raises whatever its parts do over a damaged file
        reason = " ".join(str(error).split())
        raise DataError(f"{file}: cannot be read as DICOM ({reason}); export the series again") from error
    if missing:
        raise DataError(f"{file}: no {', '.join(missing)}, so nothing can refer to it; export the series again")
    return header


def _check_one_series(headers: Sequence[Any], folder: Path) -> None:
    for name in (*_SHARED_BY_ALL, "Rows", "Columns"):
        if len({str(header.get(name)) for header in headers}) > 1:
            raise DataError(f"{folder}: the files differ in {name}; give those of one series")
    if len({header.SOPInstanceUID for header in headers}) < len(headers):
        raise DataError(f"{folder}: two images have one SOPInstanceUID; export the series again")
    if len(headers) > 1 and any(_PER_FRAME in header for header in headers):
        raise DataError(f"{folder}: {len(headers)} multi-frame files; give one, or files of one image each")


def _stack(headers: Sequence[Any], folder: Path) -> Stack:
    places = _frame_places(headers[0]) if _PER_FRAME in headers[0] else [(header,) * 3 for header in headers]
    positions = _numbers([place for place, _, _ in places], "ImagePositionPatient", 3, folder)
    orientations = _numbers([place for _, place, _ in places], "ImageOrientationPatient", 6, folder)
    spacings = _numbers([place for _, _, place in places], "PixelSpacing", 2, folder)
    if not np.allclose(orientations, orientations[0], rtol=0, atol=_PARALLEL):
        raise DataError(f"{folder}: the images are not parallel; give one stack of slices")
    if spacings.min() <= 0 or not np.allclose(spacings, spacings[0], rtol=_PARALLEL, atol=0):
        raise DataError(f"{folder}: the images differ in PixelSpacing; give one stack of slices")
    return Stack(
        positions=positions,
        orientation=orientations[0],
        spacing=(float(spacings[0, 1]), float(spacings[0, 0])),
        thickness=_thickness(places[0][2], positions, orientations[0]),
        columns=int(headers[0].Columns),
        rows=int(headers[0].Rows),
    )


def _frame_places(header: Any) -> list[tuple[Any, Any, Any]]:  # noqa: ANN401
    """The items with position, orientation and voxel size of each frame of a multi-frame image; {} where missing."""
    shared = (header.get(_SHARED) or [{}])[0]
    names = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
    found = [[frame.get(name) or shared.get(name) or [{}] for name in names] for frame in header.get(_PER_FRAME)]
    return [(position[0], orientation[0], measures[0]) for position, orientation, measures in found]


def _numbers(places: Sequence[Any], name: str, count: int, folder: Path) -> NDArray[np.float64]:
    try:
        numbers = np.array([[float(part) for part in place.get(name) or ()] for place in places])
    except (TypeError, ValueError):
        numbers = np.array([])
    if numbers.shape != (len(places), count) or not np.isfinite(numbers).all():
        raise DataError(f"{folder}: images without a {name} of {count} numbers; export the series again")
    return numbers


def _thickness(place: Any, positions: NDArray[np.float64], orientation: NDArray[np.float64]) -> float:  # noqa: ANN401
    """SliceThickness; where it is missing or none, the usual distance between slices."""
    try:
        thickness = float(place.get("SliceThickness") or 0)
    except (TypeError, ValueError):
        thickness = 0.0
    if 0 < thickness < np.inf:
        return thickness
    along = np.sort(positions @ np.cross(orientation[:3], orientation[3:]))
    return float(np.median(np.diff(along))) if len(along) > 1 else 1.0


def _image(header: Any, stack: Stack, index: int) -> Any:  # noqa: ANN401
    """What highdicom is told of one file.

    A series without a FrameOfReferenceUID (de-identification drops it) is given one of its own, always the same.
    """
    from pydicom.dataset import Dataset

    image = Dataset()
    for name in (*_UIDS, "Rows", "Columns"):
        setattr(image, name, header.get(name))
    for name in ALWAYS_THERE:
        setattr(image, name, "")
    own = f"2.25.{uuid5(NAMESPACE_OID, str(header.SeriesInstanceUID)).int}"
    image.FrameOfReferenceUID = header.get("FrameOfReferenceUID") or own
    for name in _SCANNER:
        if valid_text("LO", str(header.get(name) or "")):
            setattr(image, name, str(header.get(name)))
    if _PER_FRAME in header:
        _place_frames(image, stack)
    else:
        image.ImagePositionPatient = _decimals(stack.positions[index])
        image.ImageOrientationPatient = _decimals(stack.orientation)
        _measure(image, stack)
    return image


def _place_frames(image: Any, stack: Stack) -> None:  # noqa: ANN401
    shared = _item(PlaneOrientationSequence=[_item(ImageOrientationPatient=_decimals(stack.orientation))])
    shared.PixelMeasuresSequence = [_item()]
    _measure(shared.PixelMeasuresSequence[0], stack)
    positions = [_item(ImagePositionPatient=_decimals(position)) for position in stack.positions]
    setattr(image, _SHARED, [shared])
    setattr(image, _PER_FRAME, [_item(PlanePositionSequence=[position]) for position in positions])
    image.NumberOfFrames = len(positions)


def _measure(item: Any, stack: Stack) -> None:  # noqa: ANN401
    item.PixelSpacing = _decimals(stack.spacing[::-1])
    item.SliceThickness = _decimals([stack.thickness])[0]


def _item(**elements: Any) -> Any:  # noqa: ANN401
    from pydicom.dataset import Dataset

    item = Dataset()
    for name, value in elements.items():
        setattr(item, name, value)
    return item


def _decimals(numbers: ArrayLike) -> list[Any]:
    """Numbers as DICOM decimal strings, at most 16 characters each."""
    from pydicom.valuerep import DS

    return [DS(float(number), auto_format=True) for number in np.asarray(numbers)]


def _whole(header: Any) -> int:  # noqa: ANN401
    try:
        return max(0, int(header.get("SeriesNumber") or 0))
    except (TypeError, ValueError):
        return 0
