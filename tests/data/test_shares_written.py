"""Probabilities and uncertainties as NIfTI: small, near enough, and where the scan lies for every reader."""

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from prostate_uda.data.geometry import Grid
from prostate_uda.data.volumes import Volume, read_image
from prostate_uda.data.writing import write_shares
from prostate_uda.errors import DataError, ShapeError

FIELDS = ("qform_code", "sform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "qoffset_z")
ORDERS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


@pytest.fixture
def scan(tmp_path: Path, voxels: np.ndarray, oblique_affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(voxels, oblique_affine), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def drawn(shape: tuple[int, ...], seed: int = 0, largest: float = 1.0) -> np.ndarray:
    return (largest * np.random.default_rng(seed).random(shape)).astype(np.float32)


def written(path: Path, like: Volume, array: np.ndarray) -> nib.Nifti1Image:
    write_shares(path, array, like)
    assert [one.name for one in path.parent.iterdir() if one.name.startswith(".")] == []
    return nib.load(path)


@pytest.mark.parametrize("more", [(), (1,), (3,)])
def test_nibabel_reads_what_was_written(scan: Path, voxels: np.ndarray, more: tuple[int, ...]) -> None:
    array = drawn((*voxels.shape, *more))
    image, theirs = written(scan.parent / "new" / "p.nii.gz", read_image(scan), array), nib.load(scan)
    assert image.shape == array.shape
    assert image.get_data_dtype() == np.uint8
    assert np.array_equal(image.affine, theirs.affine)
    for name in FIELDS:
        assert np.array_equal(image.header[name], theirs.header[name]), name
    assert np.array_equal(image.header["pixdim"][:4], theirs.header["pixdim"][:4])
    assert np.abs(image.get_fdata() - array).max() <= array.max() / 510 + 1e-6


@pytest.mark.parametrize(("order", "signs"), ORDERS)
def test_simpleitk_reads_it_where_the_scan_lies(
    tmp_path: Path, voxels: np.ndarray, oblique_affine: np.ndarray, order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for axis, (to, sign) in enumerate(zip(order, signs, strict=True)):
        turn[to, axis] = sign
    nib.save(nib.Nifti1Image(voxels, oblique_affine @ turn), tmp_path / "scan.nii.gz")
    array = drawn(voxels.shape)
    written(tmp_path / "p.nii.gz", read_image(tmp_path / "scan.nii.gz"), array)
    one, two = (sitk.ReadImage(str(tmp_path / name)) for name in ("p.nii.gz", "scan.nii.gz"))
    assert one.GetDirection() == two.GetDirection()
    assert one.GetOrigin() == two.GetOrigin()
    assert one.GetSpacing() == two.GetSpacing()
    assert np.abs(sitk.GetArrayFromImage(one).transpose(2, 1, 0) - array).max() <= 1 / 510 + 1e-6


def test_simpleitk_reads_several_classes(scan: Path, voxels: np.ndarray) -> None:
    array = drawn((*voxels.shape, 3))
    written(scan.parent / "p.nii.gz", read_image(scan), array)
    image, alone = sitk.ReadImage(str(scan.parent / "p.nii.gz")), sitk.ReadImage(str(scan))
    assert image.GetSize() == (*alone.GetSize(), 3)
    assert image.GetSpacing()[:3] == alone.GetSpacing()
    assert image.GetOrigin()[:3] == alone.GetOrigin()
    direction = np.array(image.GetDirection()).reshape(4, 4)[:3, :3]
    np.testing.assert_array_equal(direction.ravel(), alone.GetDirection())
    assert np.abs(sitk.GetArrayFromImage(image).transpose(3, 2, 1, 0) - array).max() <= 1 / 510 + 1e-6


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_scan_of_another_format_gives_its_affine(scan: Path, suffix: str) -> None:
    other = scan.with_name(f"scan{suffix}")
    sitk.WriteImage(sitk.ReadImage(str(scan)), str(other))
    like = read_image(other)
    for more in ((), (3,)):
        image = written(scan.parent / "p.nii.gz", like, drawn((*like.grid.shape, *more)))
        np.testing.assert_allclose(image.affine, like.grid.affine, atol=1e-5)
        assert image.header.get_xyzt_units()[0] == "mm"
        np.testing.assert_allclose(image.header.get_zooms()[:3], like.grid.spacing, rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-3, 1), st.sampled_from([(), (3,)]))
def test_the_error_is_bounded_by_the_largest(
    tmp_path_factory: pytest.TempPathFactory, seed: int, largest: float, more: tuple[int, ...]
) -> None:
    like = Volume(np.zeros((4, 5, 3), np.float32), Grid((4, 5, 3), np.eye(4)), Path("none"))
    array = drawn((4, 5, 3, *more), seed, largest)
    path = tmp_path_factory.mktemp("p") / "p.nii"
    write_shares(path, array, like)
    assert np.abs(nib.load(path).get_fdata() - array).max() <= array.max() / 510 * (1 + 1e-4)


@pytest.mark.parametrize("value", [0.0, 1.0, 1 / 3, 1e-8])
def test_one_value_everywhere(scan: Path, voxels: np.ndarray, value: float) -> None:
    """A scan of which nothing is known, or a network that is sure."""
    image = written(scan.parent / "p.nii.gz", read_image(scan), np.full(voxels.shape, value, np.float32))
    np.testing.assert_allclose(image.get_fdata(), value, rtol=1 / 510, atol=0)


def test_sure_shares_stay_sure(scan: Path, voxels: np.ndarray) -> None:
    """0 and 1 come back as such, so nothing that was not seen gets a share."""
    array = drawn(voxels.shape)
    array[:2], array[5:7] = 0, 1
    found = written(scan.parent / "p.nii.gz", read_image(scan), array).get_fdata()
    assert not found[:2].any()
    np.testing.assert_allclose(found[5:7], 1, atol=1e-6)


def test_what_does_not_fit_is_refused(scan: Path, voxels: np.ndarray) -> None:
    like, place = read_image(scan), scan.parent / "p.nii.gz"
    for shape in ((10, 8, 4), (3, 10, 8, 5), (10, 8, 5, 1, 3), (10, 8)):
        with pytest.raises(ShapeError, match="or that with classes last, is needed"):
            write_shares(place, drawn(shape), like)
    with pytest.raises(DataError, match=r"end the name in \.nii\.gz"):
        write_shares(scan.parent / "p.png", drawn(voxels.shape), like)
    assert sorted(path.name for path in scan.parent.iterdir()) == ["scan.nii.gz"]
