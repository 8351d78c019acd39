"""Volumes to files: on every axis order, with the scan's own header, whole or not at all."""

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from prostate_uda.data.geometry import Grid
from prostate_uda.data.volumes import Volume, check_same_grid, read_image, read_label
from prostate_uda.data.writing import write_image, write_label
from prostate_uda.errors import DataError, ShapeError

PLAIN = {0: 0, 1: 1, 2: 2}
LPS = np.diag((-1.0, -1.0, 1.0, 1.0))


ORDERS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


@pytest.mark.parametrize(("order", "signs"), ORDERS)
def test_labels_come_back_on_every_axis_order(tmp_path, voxels, oblique_affine, order, signs):
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for axis, (to, sign) in enumerate(zip(order, signs, strict=True)):
        turn[to, axis] = sign
    image = nib.Nifti1Image(voxels, oblique_affine @ turn)
    nib.save(image, tmp_path / "scan.nii.gz")
    like = read_image(tmp_path / "scan.nii.gz")
    label = (voxels % 3).astype(np.uint8)
    write_label(tmp_path / "label.nii.gz", label, like)
    mine, theirs = nib.load(tmp_path / "label.nii.gz"), nib.load(tmp_path / "scan.nii.gz")
    assert np.array_equal(mine.affine, theirs.affine)
    assert mine.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(mine.dataobj), label)
    one, two = (sitk.ReadImage(str(tmp_path / name)) for name in ("label.nii.gz", "scan.nii.gz"))
    assert one.GetDirection() == two.GetDirection()
    assert one.GetOrigin() == two.GetOrigin()
    assert one.GetSpacing() == two.GetSpacing()
    assert np.array_equal(sitk.GetArrayFromImage(one).transpose(2, 1, 0), label)


@pytest.mark.parametrize("codes", [(1, 3), (1, 0), (0, 2), (2, 1), (0, 0)])
def test_codes_and_bytes_of_the_header_are_the_scans(tmp_path, voxels, oblique_affine, codes):
    image = nib.Nifti1Image(voxels, oblique_affine)
    image.set_qform(oblique_affine, code=codes[0])
    image.set_sform(oblique_affine, code=codes[1])
    image.header["descrip"] = b"Mr. Somebody"
    nib.save(image, tmp_path / "scan.nii")
    write_label(tmp_path / "label.nii", (voxels % 3).astype(np.uint8), read_image(tmp_path / "scan.nii"))
    mine, theirs = (nib.load(tmp_path / name).header for name in ("label.nii", "scan.nii"))
    for name in ("qform_code", "sform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "qoffset_z"):
        assert np.array_equal(mine[name], theirs[name]), name
    assert np.array_equal(mine["pixdim"][:4], theirs["pixdim"][:4])
    assert mine.get_xyzt_units()[0] == "mm"
    assert b"Somebody" not in bytes(mine["descrip"])


def test_labels_of_other_formats_get_their_affine(tmp_path, voxels, oblique_affine):
    image = sitk.GetImageFromArray(voxels.transpose(2, 1, 0))
    lps = LPS @ oblique_affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(tmp_path / "scan.nrrd"))
    like = read_image(tmp_path / "scan.nrrd")
    write_label(tmp_path / "label.nii.gz", (voxels % 3).astype(np.uint8), like)
    header = nib.load(tmp_path / "label.nii.gz").header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (1, 1)
    check_same_grid(read_label(tmp_path / "label.nii.gz", PLAIN), like)
    assert np.allclose(sitk.ReadImage(str(tmp_path / "label.nii.gz")).GetOrigin(), image.GetOrigin(), atol=1e-4)


def test_a_stale_source_does_not_lend_its_header(saved, voxels, oblique_affine):
    like = Volume(voxels, Grid(voxels.shape, np.diag((1.0, 1.0, 2.0, 1.0))), saved)
    write_label(saved.with_name("label.nii.gz"), (voxels % 3).astype(np.uint8), like)
    assert np.allclose(nib.load(saved.with_name("label.nii.gz")).affine, like.grid.affine)


@pytest.mark.parametrize("array", [np.zeros((10, 8, 5), np.int64), np.zeros((8, 10, 5), np.uint8)])
def test_labels_of_another_shape_or_type_are_not_written(saved, array):
    with pytest.raises(ShapeError, match="uint8 of shape"):
        write_label(saved.with_name("label.nii.gz"), array, read_image(saved))
    assert sorted(path.name for path in saved.parent.iterdir()) == ["scan.nii.gz"]


def test_a_failed_write_leaves_the_old_file(saved, voxels, monkeypatch):
    like, path = read_image(saved), saved.with_name("label.nii.gz")
    write_label(path, (voxels % 3).astype(np.uint8), like)
    before = path.read_bytes()

    def half(image, to):
        to.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(nib, "save", half)
    with pytest.raises(OSError, match="disk full"):
        write_label(path, (voxels % 2).astype(np.uint8), like)
    assert path.read_bytes() == before
    assert sorted(found.name for found in saved.parent.iterdir()) == ["label.nii.gz", "scan.nii.gz"]


def test_only_nifti_is_written(saved, voxels):
    with pytest.raises(DataError, match=r"end the name in \.nii\.gz"):
        write_label(saved.with_name("label.nrrd"), (voxels % 3).astype(np.uint8), read_image(saved))


def test_images_round_trip(tmp_path, oblique_affine):
    array = np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32)
    write_image(tmp_path / "new" / "image.nii.gz", array, oblique_affine)
    volume = read_image(tmp_path / "new" / "image.nii.gz")
    assert np.array_equal(volume.array, array)
    assert np.allclose(volume.grid.affine, oblique_affine, atol=1e-5)
