import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from prostate_uda.data.geometry import Grid
from prostate_uda.errors import GeometryError


def affine(spacing=(0.5, 0.6, 3.0), angles=(0, 0, 0), origin=(1, 2, 3)) -> np.ndarray:
    out = np.eye(4)
    out[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    out[:3, 3] = origin
    return out


@given(
    st.tuples(*[st.floats(0.2, 6)] * 3),
    st.tuples(*[st.floats(-180, 180)] * 3),
)
def test_spacing_and_orientation_agree_with_nibabel(spacing, angles):
    grid = Grid((4, 5, 6), affine(spacing, angles))
    assert np.allclose(grid.spacing, nib.affines.voxel_sizes(grid.affine))
    assert grid.orientation == "".join(nib.aff2axcodes(grid.affine))


def test_affine_cannot_be_changed_from_outside():
    mine = affine()
    grid = Grid((4, 5, 6), mine)
    mine[0, 3] = 99
    assert grid.affine[0, 3] == 1
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 3] = 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.__setitem__((0, 0), np.nan), "not finite"),
        (lambda a: a.__setitem__((0, 0), 1e200), r"1e\+200 in it"),
        (lambda a: a.__setitem__((1, 3), -2e7), r"at most 1e\+07 mm"),
        (lambda a: a.__setitem__((slice(None), 2), 0), "singular"),
        (lambda a: a.__setitem__((slice(None), 1), a[:, 0]), "parallel"),
        (lambda a: a.__setitem__((0, 2), 0.05), "sheared"),
        (lambda a: a.__setitem__((3, 0), 1), "last row"),
    ],
)
def test_affines_no_scanner_writes_are_refused(change, message):
    broken = affine()
    change(broken)
    with pytest.raises(GeometryError, match=message) as error:
        Grid((4, 5, 6), broken)
    assert "\n" not in str(error.value)


def test_rounding_in_a_header_is_no_shear():
    rounded = affine(angles=(17, 3, 41)).astype(np.float32).round(4)
    assert Grid((4, 5, 6), rounded).orientation


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 0), (4, 5, 6, 2)])
def test_shapes_that_are_no_volume_are_refused(shape):
    with pytest.raises(GeometryError, match="shape"):
        Grid(shape, affine())


def test_same_as_measures_the_farthest_corner():
    grid = Grid((101, 101, 11), affine())
    turned = affine(angles=(0, 0, 0.02))  # 0.02 degrees over 60 mm: 0.02 mm
    assert not grid.same_as(Grid(grid.shape, turned))
    assert grid.same_as(Grid(grid.shape, turned), tolerance_mm=0.1)
    assert not grid.same_as(Grid((101, 101, 10), affine()))
    assert grid.same_as(Grid(grid.shape, affine(origin=(1, 2, 3.009))))


@pytest.mark.parametrize(
    ("spacing", "angles", "axis"),
    [((0.5, 0.5, 3), (30, 0, 0), 2), ((3, 0.5, 0.5), (0, 90, 0), 0), ((1, 1, 1), (0, 0, 0), 2)],
)
def test_slice_axis_of_axial_series(spacing, angles, axis):
    assert Grid((9, 9, 9), affine(spacing, angles)).slice_axis == axis


@pytest.mark.parametrize(("spacing", "angles"), [((0.5, 0.5, 3), (90, 0, 0)), ((3, 0.5, 0.5), (0, 0, 20))])
def test_coronal_and_sagittal_series_are_refused(spacing, angles):
    with pytest.raises(GeometryError, match="not an axial series"):
        _ = Grid((9, 9, 9), affine(spacing, angles)).slice_axis
