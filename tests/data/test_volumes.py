import gzip
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from prostate_uda.data.geometry import Grid
from prostate_uda.data.volumes import (
    Volume,
    check_same_grid,
    read_image,
    read_label,
    write_image,
    write_label,
)
from prostate_uda.errors import DataError, GeometryError, ShapeError

PLAIN = {0: 0, 1: 1, 2: 2}
LPS = np.diag((-1.0, -1.0, 1.0, 1.0))


@pytest.fixture
def saved(tmp_path, voxels, oblique_affine):
    """An oblique NIfTI whose qform and sform carry different codes."""
    image = nib.Nifti1Image(voxels, oblique_affine)
    image.set_qform(oblique_affine, code=1)
    image.set_sform(oblique_affine, code=3)
    nib.save(image, tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def one_line(error) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_nifti_is_read_as_stored(saved, voxels, oblique_affine):
    volume = read_image(saved)
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array, voxels)
    assert np.allclose(volume.grid.affine, oblique_affine, atol=1e-5)
    assert volume.grid.orientation == "LPS"


def test_slope_and_intercept_are_applied(tmp_path, voxels):
    image = nib.Nifti1Image(voxels / 7 - 5, np.eye(4))
    image.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "scaled.nii")
    assert nib.load(tmp_path / "scaled.nii").dataobj.slope != 1
    assert np.allclose(read_image(tmp_path / "scaled.nii").array, voxels / 7 - 5, atol=2e-3)


@pytest.mark.parametrize("channel", [0, 1])
def test_a_channel_of_a_4d_file(tmp_path, voxels, channel):
    nib.save(nib.Nifti1Image(np.stack([voxels, 2 * voxels], axis=-1), np.eye(4)), tmp_path / "two.nii.gz")
    assert np.array_equal(read_image(tmp_path / "two.nii.gz", channel).array, (1 + channel) * voxels)


def test_a_channel_that_is_not_there(tmp_path, voxels):
    nib.save(nib.Nifti1Image(np.stack([voxels, voxels], axis=-1), np.eye(4)), tmp_path / "two.nii.gz")
    with pytest.raises(DataError, match="no channel 2; its 2 channels"):
        read_image(tmp_path / "two.nii.gz", 2)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
def test_itk_files_lie_where_nibabel_says(saved, suffix):
    image = sitk.ReadImage(str(saved))
    path = saved.with_name("scan" + suffix)
    sitk.WriteImage(image, str(path))
    volume, oracle = read_image(path), read_image(saved)
    assert np.array_equal(volume.array, oracle.array)
    assert volume.grid.same_as(oracle.grid, tolerance_mm=1e-3)


@pytest.mark.parametrize("content", [b"", b"not an image at all", b"\x1f\x8b\x08\x00broken"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_rubbish_is_one_line(tmp_path, capfd, content, suffix):
    path = tmp_path / ("rubbish" + suffix)
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_image(path)
    assert str(path) in one_line(error)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_truncated_files_are_one_line(tmp_path, capfd, kept, suffix, saved):
    noise = np.random.default_rng(0).integers(0, 4000, (32, 32, 8), dtype=np.int16)
    image = sitk.GetImageFromArray(noise)
    whole, path = tmp_path / ("whole" + suffix), tmp_path / ("cut" + suffix)
    sitk.WriteImage(image, str(whole), useCompression=suffix != ".nii")
    content = whole.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError) as error:
        read_image(path)
    assert str(path) in one_line(error)
    assert capfd.readouterr() == ("", "")


def test_flipped_bits_in_a_gzip_are_found(saved):
    with gzip.open(saved, "rb") as file:
        assert file.read()
    content = bytearray(saved.read_bytes())
    content[len(content) // 2] ^= 0xFF
    saved.write_bytes(bytes(content))
    with pytest.raises(DataError):
        read_image(saved)


def test_a_missing_file_and_an_unknown_kind(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_image(tmp_path / "none.nii.gz")
    (tmp_path / "scan.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="unknown kind of file"):
        read_image(tmp_path / "scan.jpg")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((4, 4), np.float32), "2 dimensions"),
        (np.ones((4, 4, 4, 1, 3), np.float32), "5 dimensions"),
        (np.full((4, 4, 4), 7, np.float32), "every voxel is 7"),
        (np.where(np.arange(64).reshape(4, 4, 4) == 5, np.nan, 1).astype(np.float32), "1 voxels are not finite"),
        (np.where(np.arange(64).reshape(4, 4, 4) < 5, np.inf, 1).astype(np.float32), "5 voxels are not finite"),
        (np.ones((4, 4, 4), np.complex64), "complex64"),
    ],
)
def test_images_that_cannot_be_used(tmp_path, array, message):
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "odd.nii.gz")
    with pytest.raises(DataError, match=message) as error:
        read_image(tmp_path / "odd.nii.gz")
    one_line(error)


def test_itk_files_that_are_no_scalar_volume(tmp_path):
    sitk.WriteImage(sitk.Image([4, 4], sitk.sitkUInt8), str(tmp_path / "flat.mha"))
    sitk.WriteImage(sitk.Image([4, 4, 4], sitk.sitkVectorUInt8, 3), str(tmp_path / "colour.nrrd"))
    for name in ("flat.mha", "colour.nrrd"):
        with pytest.raises(DataError, match="3 dimensions and one value are needed"):
            read_image(tmp_path / name)


def test_a_sheared_affine_names_the_file(tmp_path, voxels):
    sheared = np.eye(4)
    sheared[0, 1] = 0.2
    nib.save(nib.Nifti1Image(voxels, sheared), tmp_path / "tilted.nii.gz")
    with pytest.raises(GeometryError, match=r"tilted\.nii\.gz: a sheared affine"):
        read_image(tmp_path / "tilted.nii.gz")


def test_odd_headers_are_read_in_silence(tmp_path, voxels, capfd):
    image = nib.Nifti1Image(voxels, np.eye(4))
    nib.save(image, tmp_path / "odd.nii")
    content = bytearray((tmp_path / "odd.nii").read_bytes())
    content[76:80] = np.float32(0).tobytes()  # pixdim[0]: nibabel logs that it should be 1 or -1
    (tmp_path / "odd.nii").write_bytes(bytes(content))
    read_image(tmp_path / "odd.nii")
    assert capfd.readouterr() == ("", "")


def test_label_values_are_translated(tmp_path):
    stored = np.array([0, 1, 2, 255], np.uint8).reshape(2, 2, 1)
    nib.save(nib.Nifti1Image(stored, np.eye(4)), tmp_path / "swapped.nii.gz")
    label = read_label(tmp_path / "swapped.nii.gz", {0: 0, 1: 2, 2: 1, 255: 255})
    assert label.array.dtype == np.uint8
    assert label.array.ravel().tolist() == [0, 2, 1, 255]


def test_float_files_with_whole_numbers_are_labels(tmp_path):
    nib.save(nib.Nifti1Image(np.array([[[0.0, 1.0, 2.0]]], np.float32), np.eye(4)), tmp_path / "f.nii.gz")
    assert read_label(tmp_path / "f.nii.gz", PLAIN).array.ravel().tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 1, 3], r"label\.nii\.gz: unknown label value 3; allowed \(file -> ours\): 0 -> 0, 1 -> 1, 2 -> 2"),
        ([0, 1, -1], "unknown label value -1"),
        ([0, 1, 0.5], r"whole numbers only, this one holds 0\.5"),
        ([0, 1, np.nan], "whole numbers only, this one holds nan"),
        ([0, 1, np.inf], "whole numbers only, this one holds inf"),
    ],
)
def test_label_values_nobody_announced_are_refused(tmp_path, values, message):
    nib.save(nib.Nifti1Image(np.array(values, np.float32)[None, None], np.eye(4)), tmp_path / "label.nii.gz")
    with pytest.raises(DataError, match=message) as error:
        read_label(tmp_path / "label.nii.gz", PLAIN)
    one_line(error)


def test_a_label_on_another_grid_is_refused(saved, tmp_path, voxels, oblique_affine):
    moved = oblique_affine.copy()
    moved[2, 3] += 3
    nib.save(nib.Nifti1Image((voxels % 3).astype(np.uint8), moved), tmp_path / "label.nii.gz")
    label, image = read_label(tmp_path / "label.nii.gz", PLAIN), read_image(saved)
    with pytest.raises(GeometryError, match=r"label\.nii\.gz is not on the grid of .*scan\.nii\.gz"):
        check_same_grid(label, image)
    check_same_grid(image, image)


def test_volume_refuses_another_grids_array(saved):
    volume = read_image(saved)
    with pytest.raises(ShapeError):
        Volume(volume.array[:-1], volume.grid, saved)


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
