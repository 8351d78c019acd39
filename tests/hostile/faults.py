"""Bad scans and labels as people have them, each written by a function of its own."""

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

AFFINE = np.diag((-1.5, -1.5, 3.0, 1.0))
Fault = Callable[[Path], Path]
"""Writes into a folder; the file or folder it made."""


def scan(seed: int = 0, shape: tuple[int, int, int] = (40, 40, 6)) -> np.ndarray:
    """Grey values with contrast, int16."""
    return np.random.default_rng(seed).integers(0, 1000, shape, dtype=np.int16)


def zones(shape: tuple[int, int, int] = (40, 40, 6)) -> np.ndarray:
    """A gland of two zones, TZ in front of PZ, uint8."""
    array = np.zeros(shape, np.uint8)
    array[12:28, 12:20, 1:5], array[12:28, 20:28, 1:5] = 1, 2
    return array


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """A volume in the type of its array."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine, dtype=array.dtype), path)
    return path


def patched(path: Path, array: np.ndarray, **fields: object) -> Path:
    """An uncompressed NIfTI whose header says something else than its voxels."""
    save(path, array)
    content = path.read_bytes()
    header = nib.Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + content[348:])
    return path


def cut_gzip(folder: Path) -> Path:
    path = save(folder / "cut-gzip.nii.gz", scan())
    path.write_bytes(path.read_bytes()[:2000])
    return path


def no_gzip(folder: Path) -> Path:
    path = folder / "no-gzip.nii.gz"
    path.write_bytes(b"<html>404 Not Found</html>" * 40)
    return path


def wrong_magic(folder: Path) -> Path:
    return patched(folder / "wrong-magic.nii", scan(), magic=b"abc", sizeof_hdr=1234)


def gzip_of_something_else(folder: Path) -> Path:
    path = folder / "gzip-of-text.nii.gz"
    path.write_bytes(gzip.compress(b"hello " * 200))
    return path


def two_dimensions(folder: Path) -> Path:
    return save(folder / "flat.nii.gz", scan()[..., 0])


def five_dimensions(folder: Path) -> Path:
    return save(folder / "five-d.nii.gz", np.stack([np.stack([scan()] * 2, axis=-1)] * 2, axis=-1))


HUGE = (3, 10000, 10000, 10000, 1, 1, 1, 1)
"""Ten to the twelfth voxels."""


def huge(folder: Path) -> Path:
    return patched(folder / "huge.nii", scan(), dim=HUGE)


def huge_gzip(folder: Path) -> Path:
    path = patched(folder / "huge-gzip.nii", scan(), dim=HUGE)
    packed = path.with_name("huge-gzip.nii.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return packed


def huge_nrrd(folder: Path) -> Path:
    path = folder / "huge-nrrd.nrrd"
    lines = ("NRRD0004", "type: short", "dimension: 3", "sizes: 10000 10000 10000", "encoding: raw", "endian: little")
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + bytes(100))
    return path


def huge_mha(folder: Path) -> Path:
    path = folder / "huge-mha.mha"
    lines = ("ObjectType = Image", "NDims = 3", "DimSize = 10000 10000 10000", "ElementType = MET_SHORT")
    path.write_bytes("\n".join((*lines, "ElementDataFile = LOCAL")).encode() + b"\n" + bytes(100))
    return path


def negative_size(folder: Path) -> Path:
    return patched(folder / "negative-size.nii", scan(), dim=(3, -40, 40, 6, 1, 1, 1, 1))


def not_a_number(folder: Path) -> Path:
    array = scan().astype(np.float32)
    array[3, 4, 5] = np.nan
    return save(folder / "nan.nii.gz", array)


def infinite(folder: Path) -> Path:
    array = scan().astype(np.float32)
    array[:2, 0, 0] = np.inf
    return save(folder / "inf.nii.gz", array)


def too_large_for_float32(folder: Path) -> Path:
    array = scan().astype(np.float64)
    array[0, 0, 0] = 1e300
    return save(folder / "beyond-float32.nii.gz", array)


def constant(folder: Path) -> Path:
    return save(folder / "constant.nii.gz", np.full((40, 40, 6), 7, np.int16))


def singular(folder: Path) -> Path:
    return patched(folder / "singular.nii", scan(), sform_code=1, srow_x=(0, 0, 0, 0))


def sheared(folder: Path) -> Path:
    return patched(folder / "sheared.nii", scan(), sform_code=1, srow_x=(-1.5, 0.7, 0, 0))


def nan_affine(folder: Path) -> Path:
    return patched(folder / "nan-affine.nii", scan(), sform_code=1, srow_x=(np.nan, 0, 0, 0))


def colors(folder: Path) -> Path:
    sitk.WriteImage(sitk.Image([8, 8, 8], sitk.sitkVectorUInt8, 3), str(folder / "colors.mha"))
    return folder / "colors.mha"


def complex_numbers(folder: Path) -> Path:
    return save(folder / "complex.nii.gz", scan().astype(np.complex64))


def metres(folder: Path) -> Path:
    """xyzt_units 1: the numbers are metres."""
    affine = np.diag((-0.0015, -0.0015, 0.003, 1.0))
    path = folder / "metres.nii"
    save(path, scan(), affine)
    return _unit(path, 1)


def micrometres(folder: Path) -> Path:
    path = save(folder / "micrometres.nii", scan(), np.diag((-1500.0, -1500.0, 3000.0, 1.0)))
    return _unit(path, 3)


def metres_unsaid(folder: Path) -> Path:
    return save(folder / "metres-unsaid.nii.gz", scan(), np.diag((-0.0015, -0.0015, 0.003, 1.0)))


def _unit(path: Path, code: int) -> Path:
    content = bytearray(path.read_bytes())
    content[123] = code
    path.write_bytes(bytes(content))
    return path


def sagittal(folder: Path) -> Path:
    affine = np.array([[0, 0, 3, 0], [1.5, 0, 0, 0], [0, 1.5, 0, 0], [0, 0, 0, 1.0]])
    return save(folder / "sagittal.nii.gz", scan(), affine)


def odd_offset(folder: Path) -> Path:
    return patched(folder / "odd-offset.nii", scan(), vox_offset=1e9)


IMAGES: dict[Fault, str] = {
    cut_gzip: "damaged or cut short .*copy it again",
    no_gzip: "not a NIfTI file, whatever its name says; convert the series again",
    wrong_magic: "not a NIfTI file, whatever its name says; convert the series again",
    gzip_of_something_else: "not a NIfTI file, whatever its name says; convert the series again",
    two_dimensions: r"2 dimensions \(40, 40\); 3, or 4 with channels last, are needed",
    five_dimensions: r"5 dimensions \(40, 40, 6, 2, 2\); 3, or 4 with channels last, are needed",
    huge: "claims 10000 x 10000 x 10000 voxels, 2,000,000,000,000 bytes, and the file has .*copy or convert it again",
    huge_gzip: "claims 10000 x 10000 x 10000 voxels, 2,000,000,000,000 bytes, and the file has .*copy or convert it",
    huge_nrrd: "needs more memory than there is; see if its size in voxels is right, else take a machine with more",
    huge_mha: "needs more memory than there is; see if its size in voxels is right, else take a machine with more",
    negative_size: "a header of -40 x 40 x 6 voxels; at least one along each axis is needed",
    odd_offset: "cannot be read .*copy or convert it again",
    not_a_number: r"1 voxels are not finite \(NaN or infinite\); convert the series again",
    infinite: r"2 voxels are not finite \(NaN or infinite\); convert the series again",
    too_large_for_float32: r"1 voxels are not finite \(NaN or infinite\); convert the series again",
    constant: "every voxel is 7; an image with contrast is needed",
    singular: "a singular affine: a voxel axis has no length; convert the series again",
    sheared: "a sheared affine: .*resample the series to an orthogonal grid",
    nan_affine: "an affine that is not finite; the file's header is damaged, convert the series again",
    sagittal: "not an axial series: .*give the axial T2 series",
    metres: "voxels of 0.0015 x 0.0015 x 0.003 mm.*is the header in meters or micrometers",
    metres_unsaid: "voxels of 0.0015 x 0.0015 x 0.003 mm.*is the header in meters or micrometers",
    micrometres: r"voxels of 1.5e\+03 x 1.5e\+03 x 3e\+03 mm.*is the header in meters or micrometers",
    colors: "3 dimensions, 3 values per voxel; 3 dimensions and one value are needed",
    complex_numbers: "voxels of type complex64; whole or real numbers are needed",
}
"""Images that cannot be used, and what is said of them."""
