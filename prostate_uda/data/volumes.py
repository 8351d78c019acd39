"""Floor 2: volumes from files. Axes follow the file, X, Y, Z; the affine is RAS millimetres.

NIfTI goes through nibabel, so sform and qform follow its rules; NRRD, MHA and DICOM go through SimpleITK, whose LPS
affine is turned into RAS. A read prints nothing and warns of nothing: what is wrong is a DataError of one line.
"""

import gzip
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from prostate_uda.data.dicom import NO_MEMORY, Series, choose_series, itk_reason, quiet
from prostate_uda.data.dicom_volume import read_series
from prostate_uda.data.geometry import Grid
from prostate_uda.data.nifti import load_nifti
from prostate_uda.errors import DataError, GeometryError, ShapeError

NIFTI_SUFFIXES = (".nii", ".nii.gz")
ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
SUFFIXES = NIFTI_SUFFIXES + ITK_SUFFIXES
"""Every file name ending that can be read; a folder is read as DICOM."""

LPS_TO_RAS = np.diag((-1.0, -1.0, 1.0, 1.0))

VOXEL_MM, FIELD_MM = (0.01, 100.0), 3000.0
"""Voxel edges and the longest side of a volume that are no mistake in units; a person is shorter than that."""

DEFLATE_RATIO = 1032
"""How much longer than its gzip a file is at most."""


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
        GeometryError: If its affine is singular or sheared, or its size is none that a scanner writes.
    """
    volume = _read(path, channel)
    with _enough_memory(path), np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is told
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
    volume = _read(path, None)
    values = np.unique(volume.array)
    if not np.isfinite(values).all() or (values != np.round(values)).any():
        odd = [f"{value:g}" for value in values if not float(value).is_integer()][:4]
        raise DataError(
            f"{path}: a label holds whole numbers only, this one holds {', '.join(odd)}; was it interpolated?"
        )
    unknown = [int(value) for value in values if int(value) not in mapping]
    if unknown:
        allowed = ", ".join(f"{theirs} -> {ours}" for theirs, ours in sorted(mapping.items()))
        listed = ", ".join(f"{value:.15g}" for value in unknown[:6]) + (", ..." if len(unknown) > 6 else "")
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


def _read(path: Path | Series, channel: int | None) -> Volume:
    """Read any kind of file as stored, scaled by its own slope; without a channel, one that has several is refused."""
    if isinstance(path, Series):
        return _from_itk(read_series(path), path.folder)
    if not path.exists():
        raise DataError(f"{path} does not exist; check the path")
    if path.is_dir():
        return _from_itk(read_series(choose_series(path)), path)
    if not path.is_file():  # a pipe, which would be waited for without end
        raise DataError(f"{path} is no plain file; give a NIfTI, NRRD or MHA file, or a DICOM folder")
    suffix = file_suffix(path)
    if not suffix:
        raise DataError(f"{path}: unknown kind of file; {', '.join(SUFFIXES)} or a DICOM folder can be read")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty; copy or convert it again")
    _check_readable(path)
    if suffix in NIFTI_SUFFIXES:
        return _read_nifti(path, channel)
    return _read_itk(path)


def _check_readable(path: Path) -> None:
    """Tell what the disk says of a file; the readers would call it damaged or of another kind."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its rights and its disk") from error


def _read_nifti(path: Path, channel: int | None) -> Volume:
    with _nifti_errors(path):
        image = load_nifti(path)
        shape, dtype = image.shape, image.get_data_dtype()
        if dtype.fields is not None or dtype.kind not in "biuf":
            raise DataError(f"{path}: voxels of type {dtype}; whole or real numbers are needed")
        if len(shape) not in (3, 4):
            raise DataError(f"{path}: {len(shape)} dimensions {shape}; 3, or 4 with channels last, are needed")
        if len(shape) == 4 and channel is None and shape[3] != 1:
            raise DataError(f"{path}: 4 dimensions {shape}; a label has 3, save each of its channels alone")
        channel = channel or 0
        if len(shape) == 4 and not 0 <= channel < shape[3]:
            raise DataError(f"{path}: no channel {channel}; its {shape[3]} channels are counted from 0")
        _check_size(path, shape, dtype.itemsize)
        array = np.asarray(image.dataobj if len(shape) == 3 else image.dataobj[..., channel])
        affine = image.affine
    return Volume(array, _grid(path, array.shape, affine), path)


def _check_size(path: Path, shape: tuple[int, ...], itemsize: int) -> None:
    """Refuse a header that claims more than its file, or the machine's memory, can hold; nothing is read then."""
    told = " x ".join(str(n) for n in shape)
    if min(shape, default=0) < 1:
        raise DataError(
            f"{path}: a header of {told or 'no'} voxels; at least one along each axis is needed, convert it again"
        )
    claimed, there = math.prod(shape) * itemsize, path.stat().st_size
    held = {".gz": DEFLATE_RATIO * there, ".nii": there}  # of the others, the voxels may lie in another file
    if claimed > held.get(path.suffix.lower(), math.inf):
        raise DataError(
            f"{path}: its header claims {told} voxels, {claimed:,} bytes, and the file has {there:,}: damaged or cut "
            "short; copy or convert it again"
        )
    if claimed > _memory():
        raise DataError(f"{path} {NO_MEMORY}")


def _memory() -> float:
    """Bytes of this machine's memory; infinite where it does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return math.inf


@contextmanager
def _enough_memory(path: Path | Series) -> Iterator[None]:
    """Turn the want of memory into a DataError that says what to do."""
    try:
        yield
    except MemoryError as error:
        place = path.folder if isinstance(path, Series) else path
        raise DataError(f"{place} {NO_MEMORY}") from error


@contextmanager
def _nifti_errors(path: Path) -> Iterator[None]:
    """Turn whatever nibabel raises over a damaged file into a DataError."""
    try:
        with _enough_memory(path):
            yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: damaged or cut short ({error}); copy it again") from error
    except (ImageFileError, HeaderDataError) as error:
        raise DataError(f"{path}: not a NIfTI file, whatever its name says; convert the series again") from error
    except (OSError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read ({reason}); copy or convert it again") from error


def _read_itk(path: Path) -> Volume:
    try:
        with quiet():
            reader = sitk.ImageFileReader()
            reader.SetFileName(str(path))
            reader.ReadImageInformation()
            _check_size(path, reader.GetSize(), reader.GetNumberOfComponents())
            image = reader.Execute()
    except RuntimeError as error:
        reason = itk_reason(error)
        told = f"{path} {NO_MEMORY}" if "allocate" in reason else f"{path}: {reason}; copy or convert it again"
        raise DataError(told) from error
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
        grid = Grid(shape, affine)  # type: ignore[arg-type]  # Grid checks the number of axes
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from error
    sides = [size * count for size, count in zip(grid.spacing, shape, strict=True)]
    if not VOXEL_MM[0] <= min(grid.spacing) <= max(grid.spacing) <= VOXEL_MM[1] or max(sides) > FIELD_MM:
        told = " x ".join(f"{size:.3g}" for size in grid.spacing)
        raise GeometryError(
            f"{path}: voxels of {told} mm; {VOXEL_MM[0]:g} to {VOXEL_MM[1]:g} mm and at most {FIELD_MM:g} mm across "
            "are allowed; is the header in meters or micrometers? convert it to millimeters"
        )
    return grid


def nifti_header(volume: Volume) -> Any:  # noqa: ANN401  # nibabel has no types
    """The header a volume was read with, where it was NIfTI and still describes the volume's grid."""
    if not volume.source.is_file() or file_suffix(volume.source) not in NIFTI_SUFFIXES:
        return None
    with _nifti_errors(volume.source):
        header = load_nifti(volume.source).header
    same = header.get_data_shape()[:3] == volume.grid.shape
    return header if same and np.allclose(header.get_best_affine(), volume.grid.affine, atol=1e-4) else None
