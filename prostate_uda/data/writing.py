"""Floor 2: volumes to files: NIfTI, written whole or not at all, on the grid of the image they belong to."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import DTypeLike, NDArray

from prostate_uda.data.files import whole
from prostate_uda.data.geometry import Grid
from prostate_uda.data.volumes import NIFTI_SUFFIXES, Volume, file_suffix, nifti_header
from prostate_uda.errors import DataError, ShapeError


def write_label(path: Path, array: NDArray[np.uint8], like: Volume) -> None:
    """Write a label map as NIfTI on the grid of the volume it belongs to, atomically.

    Where that volume was read from NIfTI, its sform and qform are copied field by field, so that every viewer
    treats image and label alike; else both are set to the affine, as scanner coordinates.

    Args:
        path: Ends in ``.nii`` or ``.nii.gz``; its folder is made where it is missing.
        array: uint8 ``(X, Y, Z)`` in the axis order of ``like``.
        like: The image.

    Raises:
        ShapeError: If the array has another shape than ``like`` or is not uint8.
    """
    if array.shape != like.grid.shape or array.dtype != np.uint8:
        raise ShapeError(f"a {array.dtype} label of shape {array.shape}; uint8 of shape {like.grid.shape} is needed")
    header = _header_like(like, np.uint8, array.shape)
    header.set_intent("label")
    _write_nifti(path, nib.Nifti1Image(np.ascontiguousarray(array), None, header))


def write_image(path: Path, array: NDArray[np.float32], affine: NDArray[np.float64]) -> None:
    """Write an image as float32 NIfTI, atomically.

    Args:
        path: Ends in ``.nii`` or ``.nii.gz``; its folder is made where it is missing.
        array: ``(X, Y, Z)``.
        affine: ``(4, 4)`` voxel index to RAS millimetres.

    Raises:
        GeometryError: If the affine is singular or sheared, or the array is not 3D.
    """
    grid = Grid(array.shape, affine)
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape(grid.shape)
    _set_geometry(header, grid)
    _write_nifti(path, nib.Nifti1Image(np.ascontiguousarray(array, dtype=np.float32), None, header))


def write_shares(path: Path, array: NDArray[np.float32], like: Volume) -> None:
    """Write probabilities or an uncertainty as NIfTI on the grid of the volume they belong to, atomically.

    Kept as whole numbers with a scale, so a value is off by at most 1/510 of the largest.

    Args:
        path: Ends in ``.nii`` or ``.nii.gz``; its folder is made where it is missing.
        array: ``(X, Y, Z)``, or ``(X, Y, Z, C)`` for several in one file; from 0 to 1.
        like: The image.

    Raises:
        ShapeError: If the array lies on another grid than ``like``.
    """
    if array.shape[:3] != like.grid.shape or array.ndim not in (3, 4):
        raise ShapeError(f"shares of shape {array.shape}; {like.grid.shape}, or that with classes last, is needed")
    _write_nifti(path, nib.Nifti1Image(np.ascontiguousarray(array), None, _header_like(like, np.uint8, array.shape)))


def _header_like(like: Volume, dtype: DTypeLike, shape: tuple[int, ...]) -> Any:  # noqa: ANN401  # nibabel has no types
    """A header with the geometry of a volume; of one that was read from NIfTI, field by field."""
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    _set_geometry(header, like.grid)
    original = nifti_header(like)
    if original is not None:
        _copy_geometry(original, header)
    return header


def _set_geometry(header: Any, grid: Grid) -> None:  # noqa: ANN401
    header.set_xyzt_units("mm")
    header.set_zooms((*grid.spacing, *[1.0] * (len(header.get_data_shape()) - 3)))
    header.set_qform(grid.affine, code="scanner")
    header.set_sform(grid.affine, code="scanner")


def _copy_geometry(original: Any, header: Any) -> None:  # noqa: ANN401
    """Copy qform, sform, their codes and the voxel size as the bytes they are."""
    header["pixdim"][:4] = original["pixdim"][:4]
    fields = ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d")
    for name in (*fields, "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"):
        header[name] = original[name]


def _write_nifti(path: Path, image: Any) -> None:  # noqa: ANN401
    """Write beside the final name first, so that a killed run leaves the old file or the new one, never half of one."""
    suffix = file_suffix(path)
    if suffix not in NIFTI_SUFFIXES:
        raise DataError(f"{path}: labels and images are written as NIfTI; end the name in .nii.gz")
    with whole(path, suffix) as temporary:
        nib.save(image, temporary)
