"""Floor 2: one DICOM series as a volume: its images checked to be of one scan, and stacked where they lie."""

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from prostate_uda.data.dicom import (
    BETWEEN,
    COLUMNS,
    NO_MEMORY,
    ORIENTATION,
    PATIENT_ID,
    POSITION,
    ROWS,
    SPACING,
    THICKNESS,
    Series,
    headers_of,
    itk_reason,
    numbers_of,
    quiet,
)
from prostate_uda.data.dicom_frames import placed_frames
from prostate_uda.data.dicom_stack import check_stack, normal_of
from prostate_uda.errors import DataError

HALF_LOST = (1.9, 2.1)
"""Times the distance that headers say where every second slice is lost. Other factors are of headers that say nothing:
some programs write 1 mm for all."""


def read_series(series: Series) -> sitk.Image:
    """Read a series as a 3D image with its rescale slope applied.

    Raises:
        DataError: If a slice is missing or damaged, positions repeat, or images are of several patients or pixel sizes.
        GeometryError: If the slices are not parallel or their stack is sheared.
    """
    if series.unreadable:
        raise DataError(
            f"{series.unreadable[0]}: cannot be read as DICOM and may be a slice of {series}; export the series again, "
            "or move the file elsewhere"
        )
    try:
        with quiet():
            if len(series.files) == 1:
                return _read_single(series)
            _check_stack(series)
            reader = sitk.ImageSeriesReader()
            reader.SetFileNames([str(file) for file in series.files])
            return reader.Execute()
    except RuntimeError as error:
        reason = itk_reason(error)
        told = f" {NO_MEMORY}" if "allocate" in reason else f": {reason}; export the series again"
        raise DataError(f"{series.folder}{told}") from error


def _read_single(series: Series) -> sitk.Image:
    """Read a series that is one file: a multi-frame image, else it is no volume."""
    image = sitk.ReadImage(str(series.files[0]))
    if image.GetDimension() != 3 or image.GetSize()[2] < 2:
        raise DataError(f"{series.folder}: the series {series} has a single slice; a stack of slices is needed")
    return placed_frames(image, series.files[0], str(series))


def _check_stack(series: Series) -> None:
    """Check that the images are slices of one volume; what they are scaled by is the reader's."""
    headers = headers_of(series.files)
    positions = [numbers_of(header, POSITION, 3) for header in headers]
    orientations = [numbers_of(header, ORIENTATION, 6) for header in headers]
    if series.orientation is None or None in positions or None in orientations:
        raise DataError(f"{series.folder}: images without position or orientation in {series}; export the series again")
    _check_alike(series, headers)
    where = np.array(positions, dtype=np.float64), np.array(orientations, dtype=np.float64)
    check_stack(*where, folder=series.folder, title=str(series))
    along = np.sort(where[0] @ normal_of(where[1][0]))
    _check_said_distance(series, headers, float(np.median(np.diff(along))))


def _check_said_distance(series: Series, headers: Sequence[dict[str, str]], found: float) -> None:
    """Check that slices are not twice as far apart as their headers say: of three, the middle one may be lost."""
    told = [_said_distance(header) for header in headers]
    least, most = HALF_LOST
    if min(told) > 0 and least * max(told) < found < most * min(told):
        raise DataError(
            f"{series.folder}: slices of {series} are {found:.2f} mm apart, by their headers {max(told):.2f} mm: every "
            "second one is missing; export the series again, or convert it to NIfTI if it is whole"
        )


def _said_distance(header: dict[str, str]) -> float:
    """Millimeters from slice to slice as a header has them; 0 where it does not say that or how thick slices are.

    SpacingBetweenSlices is the distance by the standard, with a sign in some headers, and the gap by some scanners:
    below the thickness it is taken for that, since slices of a T2 series hardly overlap.
    """
    between, thickness = (abs((numbers_of(header, key, 1) or (0.0,))[0]) for key in (BETWEEN, THICKNESS))
    return 0.0 if 0 in (between, thickness) else between if between >= thickness else between + thickness


def _check_alike(series: Series, headers: Sequence[dict[str, str]]) -> None:
    """Check that images are of one patient and have pixels of one size; ITK takes the first one's for all."""
    for key, what in ((PATIENT_ID, "patients"), (ROWS, "numbers of rows"), (COLUMNS, "numbers of columns")):
        told = {header.get(key, "").strip() for header in headers}
        if len(told) > 1:
            what = f"are of {len(told)} {what}"
            raise DataError(f"{series.folder}: the images of {series} {what}; keep those of one scan")
    spacings = np.array([numbers_of(header, SPACING, 2) or (0.0, 0.0) for header in headers])
    if spacings.min() <= 0:
        raise DataError(f"{series.folder}: images without PixelSpacing in {series}; export the series again")
    if not np.allclose(spacings, spacings[0], rtol=1e-3):
        raise DataError(f"{series.folder}: the images of {series} have pixels of several sizes; keep those of one scan")
