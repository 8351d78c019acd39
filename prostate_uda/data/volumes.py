"""Floor 2: volumes from files. Axes follow the file, X, Y, Z; the affine is RAS millimetres.

NIfTI goes through nibabel, so sform and qform follow its rules; NRRD, MHA and DICOM go through SimpleITK, whose LPS
affine is turned into RAS. A read prints nothing and warns of nothing: what is wrong is a DataError of one line.
"""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from prostate_uda.data.dicom import Series, choose_series, itk_reason, quiet, read_series
from prostate_uda.data.geometry import Grid
from prostate_uda.errors import DataError, GeometryError, ShapeError

NIFTI_SUFFIXES = (".nii", ".nii.gz")
ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
SUFFIXES = NIFTI_SUFFIXES + ITK_SUFFIXES
"""Every file name ending that can be read; a folder is read as DICOM."""

LPS_TO_RAS = np.diag((-1.0, -1.0, 1.0, 1.0))


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels with their place in the patient.

    Args:
        array: ``(X, Y, Z)``; float32 for an image, uint8 for a label.
        grid: Where the voxels lie; its shape is the array's.
        source: The file or folder the volume was read from.

    Raises:
        ShapeError: If array and grid have different shapes.
    """

    array: NDArray[Any]
    grid: Grid
    source: Path

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise ShapeError(
                f"an array of shape {self.array.shape} on a grid of shape {self.grid.shape}; they must agree"
            )


def file_suffix(path: Path) -> str:
    """The readable ending of a file name (``".nii.gz"``), lower case; empty where there is none."""
    name = path.name.lower()
    return next((suffix for suffix in (".nii.gz", *SUFFIXES) if name.endswith(suffix)), "")


def read_image(path: Path | Series, channel: int = 0) -> Volume:
    """Read a T2 image.

    Args:
        path: A NIfTI, NRRD or MHA file, a folder with one DICOM series (or one axial T2 among several), or a series.
        channel: Which channel of a 4D NIfTI to take (Decathlon keeps T2 in 0 and ADC in 1).

    Returns:
        The volume, float32 ``(X, Y, Z)``, in the file's axis order.

    Raises:
        DataError: If the file is missing, damaged, of another kind or dimension, not finite or constant.
        GeometryError: If its affine is singular or sheared.
    """
    volume = _read(path, channel)
    array = np.ascontiguousarray(volume.array, dtype=np.float32)
    if not np.isfinite(array).all():
        bad = int(np.size(array) - np.isfinite(array).sum())
        raise DataError(f"{path}: {bad} voxels are not finite (NaN or infinite); convert the series again")
    if array.min() == array.max():
        raise DataError(f"{path}: every voxel is {array.flat[0]:g}; an image with contrast is needed")
    return Volume(array, volume.grid, volume.source)


def read_label(path: Path, mapping: Mapping[int, int]) -> Volume:
    """Read a label map and translate its values.

    Args:
        path: A NIfTI, NRRD or MHA file.
        mapping: File value to ours, total: a value that is not a key is an error. Include 255 for files that may
            carry the ignore value.

    Returns:
        The volume, uint8 ``(X, Y, Z)``.

    Raises:
        DataError: If the file cannot be read, or holds values that are no integers or not in ``mapping``.
    """
    volume = _read(path, 0)
    values = np.unique(volume.array)
    if not np.isfinite(values).all() or (values != np.round(values)).any():
        odd = [f"{value:g}" for value in values if not float(value).is_integer()][:4]
        raise DataError(
            f"{path}: a label holds whole numbers only, this one holds {', '.join(odd)}; was it interpolated?"
        )
    unknown = [int(value) for value in values if int(value) not in mapping]
    if unknown:
        allowed = ", ".join(f"{theirs} -> {ours}" for theirs, ours in sorted(mapping.items()))
        listed = ", ".join(str(value) for value in unknown[:6]) + (", ..." if len(unknown) > 6 else "")
        raise DataError(f"{path}: unknown label value {listed}; allowed (file -> ours): {allowed}")
    array = np.zeros(volume.array.shape, dtype=np.uint8)
    for value in values:
        array[volume.array == value] = mapping[int(value)]
    return Volume(array, volume.grid, path)


def check_same_grid(label: Volume, image: Volume) -> None:
    """Check that a label lies on its image's grid.

    Raises:
        GeometryError: If shape or place differ by more than a hundredth of a millimetre.
    """
    if not label.grid.same_as(image.grid):
        raise GeometryError(
            f"{label.source} is not on the grid of {image.source}: {label.grid} against {image.grid}, corners "
            f"{label.grid.apart(image.grid):.2f} mm apart; resample the label to its image ('prepare folder' does)"
        )


def _read(path: Path | Series, channel: int) -> Volume:
    """Read any kind of file as stored, scaled by its own slope."""
    if isinstance(path, Series):
        return _from_itk(read_series(path), path.folder)
    if not path.exists():
        raise DataError(f"{path} does not exist; check the path")
    if path.is_dir():
        return _from_itk(read_series(choose_series(path)), path)
    suffix = file_suffix(path)
    if not suffix:
        raise DataError(f"{path}: unknown kind of file; {', '.join(SUFFIXES)} or a DICOM folder can be read")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty; copy or convert it again")
    if suffix in NIFTI_SUFFIXES:
        return _read_nifti(path, channel)
    return _read_itk(path)


def _read_nifti(path: Path, channel: int) -> Volume:
    with _nifti_errors(path):
        image = nib.load(path)
        shape, dtype = image.shape, image.get_data_dtype()
        if dtype.fields is not None or dtype.kind not in "biuf":
            raise DataError(f"{path}: voxels of type {dtype}; whole or real numbers are needed")
        if len(shape) not in (3, 4):
            raise DataError(f"{path}: {len(shape)} dimensions {shape}; 3, or 4 with channels last, are needed")
        if len(shape) == 4 and not 0 <= channel < shape[3]:
            raise DataError(f"{path}: no channel {channel}; its {shape[3]} channels are counted from 0")
        array = np.asarray(image.dataobj if len(shape) == 3 else image.dataobj[..., channel])
        affine = image.affine
    return Volume(array, _grid(path, array.shape, affine), path)


@contextmanager
def _nifti_errors(path: Path) -> Iterator[None]:
    """Turn whatever nibabel raises over a damaged file into a DataError, and keep its logger silent."""
    try:
        with LoggingOutputSuppressor():
            yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: damaged or cut short ({error}); copy it again") from error
    except (ImageFileError, HeaderDataError) as error:
        raise DataError(f"{path}: not a NIfTI file, whatever its name says; convert the series again") from error
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read ({reason}); copy or convert it again") from error


def _read_itk(path: Path) -> Volume:
    try:
        with quiet():
            image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise DataError(f"{path}: {itk_reason(error)}; copy or convert it again") from error
    return _from_itk(image, path)


def _from_itk(image: sitk.Image, path: Path) -> Volume:
    """Turn a SimpleITK image, LPS, into a volume, RAS."""
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise DataError(
            f"{path}: {image.GetDimension()} dimensions, {image.GetNumberOfComponentsPerPixel()} values per voxel; "
            "3 dimensions and one value are needed"
        )
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    array = np.ascontiguousarray(sitk.GetArrayFromImage(image).transpose(2, 1, 0))
    return Volume(array, _grid(path, array.shape, LPS_TO_RAS @ affine), path)


def _grid(path: Path, shape: tuple[int, ...], affine: NDArray[Any]) -> Grid:
    try:
        return Grid(shape, affine)  # type: ignore[arg-type]  # Grid checks the number of axes
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from error


def nifti_header(volume: Volume) -> Any:  # noqa: ANN401  # nibabel has no types
    """The header a volume was read with, where it was NIfTI and still describes the volume's grid."""
    if not volume.source.is_file() or file_suffix(volume.source) not in NIFTI_SUFFIXES:
        return None
    with _nifti_errors(volume.source):
        header = nib.load(volume.source).header
    same = header.get_data_shape()[:3] == volume.grid.shape
    return header if same and np.allclose(header.get_best_affine(), volume.grid.affine, atol=1e-4) else None
