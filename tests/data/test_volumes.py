import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from prostate_uda.data.volumes import (
    Volume,
    check_same_grid,
    read_image,
    read_label,
)
from prostate_uda.errors import DataError, GeometryError, ShapeError

PLAIN = {0: 0, 1: 1, 2: 2}
LPS = np.diag((-1.0, -1.0, 1.0, 1.0))


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
