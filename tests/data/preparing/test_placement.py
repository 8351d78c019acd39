"""Labels on other grids than their image: where they belong, or refused."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from prostate_uda.data.geometry import Grid
from prostate_uda.data.preparing.placement import place_label
from prostate_uda.data.volumes import Volume, read_label
from prostate_uda.errors import GeometryError

LPS = np.diag((-1.0, -1.0, 1.0, 1.0))
PLAIN = {0: 0, 1: 1, 2: 2}


@pytest.fixture
def truth(oblique_affine, tmp_path):
    """``(20, 16, 9)``, PZ and TZ as two boxes, on an oblique grid."""
    array = np.zeros((20, 16, 9), np.uint8)
    array[5:15, 4:8, 2:7] = 1
    array[6:14, 8:12, 3:6] = 2
    return Volume(array, Grid(array.shape, oblique_affine), tmp_path / "image.nii.gz")


def write_nrrd(path, array, affine):
    """``(X, Y, Z)`` on a RAS affine, as NRRD."""
    lps = LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path))
    return read_label(path, PLAIN)


def turned(array, affine, order, flips=()):
    """The same voxels at the same places, with axes in another order and some of them backwards."""
    turn = np.eye(4)[:, [*order, 3]]
    new = array.transpose(order)
    for axis in flips:
        step = np.eye(4)
        step[axis, axis], step[axis, 3] = -1, new.shape[axis] - 1
        turn = turn @ step
        new = np.flip(new, axis)
    return np.ascontiguousarray(new), affine @ turn


def test_a_label_on_the_images_grid_is_left_alone(truth, tmp_path):
    label = write_nrrd(tmp_path / "l.nrrd", truth.array, truth.grid.affine)
    placed = place_label(label, truth)
    assert placed.array is label.array
    assert placed.repairs == placed.warnings == ()


@pytest.mark.parametrize("flips", [(), (0,), (1, 2)])
@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_swapped_axes_are_undone_voxel_for_voxel(truth, tmp_path, order, flips):
    label = write_nrrd(tmp_path / "l.nrrd", *turned(truth.array, truth.grid.affine, order, flips))
    placed = place_label(label, truth)
    assert np.array_equal(placed.array, truth.array)
    assert "placed by world coordinates, 100.0 % of it inside" in placed.repairs[0]
    assert placed.repairs[0].startswith("axes ")


def test_fewer_slices_lie_where_the_header_says(truth, tmp_path):
    shift = np.eye(4)
    shift[2, 3] = 2
    label = write_nrrd(tmp_path / "l.nrrd", truth.array[:, :, 2:7], truth.grid.affine @ shift)
    placed = place_label(label, truth)
    assert np.array_equal(placed.array, truth.array)
    assert placed.repairs[0].startswith("20 x 16 x 5 voxels instead of 20 x 16 x 9:")
    assert placed.warnings == ()


def test_other_pixels_are_resampled(truth, tmp_path):
    finer = truth.array.repeat(2, axis=0).repeat(2, axis=1)
    scale = np.diag((0.5, 0.5, 1.0, 1.0))
    scale[:2, 3] = -0.25
    label = write_nrrd(tmp_path / "l.nrrd", finer, truth.grid.affine @ scale)
    placed = place_label(label, truth)
    assert np.array_equal(placed.array, truth.array)
    assert placed.repairs[0].startswith("voxels of 0.350 x 0.350 x 3.000 mm instead of 0.700 x 0.700 x 3.000 mm")


def test_nearest_voxels_agree_with_nibabels_resampling(truth, tmp_path):
    from nibabel.processing import resample_from_to

    moved = truth.grid.affine.copy()
    moved[:3, 3] += (0.3, -0.2, 0.9)
    label = write_nrrd(tmp_path / "l.nrrd", truth.array, moved)
    other = resample_from_to(nib.Nifti1Image(label.array, moved), (truth.grid.shape, truth.grid.affine), order=0)
    placed = place_label(label, truth)
    assert np.array_equal(placed.array, np.asarray(other.dataobj))
    assert placed.repairs[0].startswith("grid up to 0.97 mm apart")


def test_a_label_beside_its_image_is_refused(truth, tmp_path):
    moved = truth.grid.affine.copy()
    moved[2, 3] += 12
    label = write_nrrd(tmp_path / "far.nrrd", truth.array, moved)
    with pytest.raises(
        GeometryError, match=r"^[\d.]+ % of far\.nrrd lies inside of its image, 99 % is needed"
    ) as error:
        place_label(label, truth)
    assert "\n" not in str(error.value)


def test_a_changed_volume_is_warned_of(truth, tmp_path):
    thin = np.zeros((20, 16, 27), np.uint8)
    thin[5:15, 4:8, 12] = 1
    label = write_nrrd(tmp_path / "thin.nrrd", thin, truth.grid.affine @ np.diag((1, 1, 1 / 3, 1)))
    assert place_label(label, truth).warnings[0].startswith("the label's volume changed from 0.02 to 0.06 mL")


def test_a_label_between_the_images_voxels(truth, tmp_path):
    array = np.zeros((3, 3, 3), np.uint8)
    array[1, 1, 1] = 1
    tiny = truth.grid.affine @ np.diag((0.1, 0.1, 0.1, 1.0))
    tiny[:3, 3] = (truth.grid.affine @ (5.3, 5.3, 3.3, 1))[:3]
    with pytest.raises(GeometryError, match=r"nothing of l\.nrrd is left"):
        place_label(write_nrrd(tmp_path / "l.nrrd", array, tiny), truth)
