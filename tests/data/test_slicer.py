"""Masks from 3D Slicer: by name whatever the values and layers, and back in their place to the voxel."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from prostate_uda.data.geometry import Grid
from prostate_uda.data.slicer import placed, read_segmentation
from prostate_uda.data.volumes import LPS_TO_RAS, Volume
from prostate_uda.errors import DataError, GeometryError

NAMED = (("Peripheral zone", 1, 0), ("Transition zone", 2, 0))


def zones() -> np.ndarray:
    """``(10, 9, 5)``, no two corners alike."""
    array = np.zeros((10, 9, 5), np.uint8)
    array[2:7, 1:4, 1:4], array[3:6, 4:8, 2:4] = 1, 2
    return array


def volume(array: np.ndarray, affine: np.ndarray) -> Volume:
    return Volume(array, Grid(array.shape, affine), Path("prediction"))


def save(path: Path, layers: np.ndarray, affine: np.ndarray, segments=NAMED, **more: str) -> Path:
    """Write ``(X, Y, Z)`` or, layers last, ``(X, Y, Z, L)`` with Slicer's header fields."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(np.moveaxis(layers, (0, 1, 2), (2, 1, 0))), layers.ndim == 4)
    lps = LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    for number, (name, value, layer) in enumerate(segments):
        for key, text in (("Name", name), ("LabelValue", value), ("Layer", layer), ("ID", f"Segment_{number}")):
            if text is not None:
                image.SetMetaData(f"Segment{number}_{key}", str(text))
    for key, text in more.items():
        image.SetMetaData(key, text)
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def test_values_follow_the_names(tmp_path: Path, oblique_affine: np.ndarray) -> None:
    stored = np.array([0, 7, 3], np.uint8)[zones()]
    path = save(tmp_path / "a.seg.nrrd", stored, oblique_affine, (("TZ", 3, 0), ("Prostate_Peripheral-Zone", 7, 0)))
    read = read_segmentation(path)
    np.testing.assert_array_equal(read.array, zones())
    assert read.array.dtype == np.uint8
    assert read.grid.same_as(volume(zones(), oblique_affine).grid)


def test_layers_that_share_a_value(tmp_path: Path, oblique_affine: np.ndarray) -> None:
    layers = np.stack([zones() == 1, zones() == 2], axis=-1).astype(np.uint8)
    read = read_segmentation(save(tmp_path / "a.seg.nrrd", layers, oblique_affine, (("PZ", 1, 0), ("TZ", 1, 1))))
    np.testing.assert_array_equal(read.array, zones())
    old = save(tmp_path / "old.seg.nrrd", layers, oblique_affine, (("PZ", None, None), ("TZ", None, None)))
    np.testing.assert_array_equal(read_segmentation(old).array, zones())
    layers[3, 5, 2, 0] = 1
    with pytest.raises(DataError, match="1 voxels are of PZ and of TZ"):
        read_segmentation(save(tmp_path / "b.seg.nrrd", layers, oblique_affine, (("PZ", 1, 0), ("TZ", 1, 1))))


def test_the_whole_prostate_beside_its_zones_is_left_out(tmp_path: Path, oblique_affine: np.ndarray) -> None:
    layers = np.stack([zones() > 0, zones()], axis=-1).astype(np.uint8)
    segments = (("Prostate", 1, 0), ("Peripheral zone", 1, 1), ("Transition zone", 2, 1))
    read = read_segmentation(save(tmp_path / "a.seg.nrrd", layers, oblique_affine, segments))
    np.testing.assert_array_equal(read.array, zones())


def test_segments_that_nobody_named_go_by_value(tmp_path: Path, oblique_affine: np.ndarray) -> None:
    segments = (("Segment_2", 2, 0), ("Segment_1", 1, 0))
    read = read_segmentation(save(tmp_path / "a.seg.nrrd", zones(), oblique_affine, segments))
    np.testing.assert_array_equal(read.array, zones())
    with pytest.raises(DataError, match=r"unnamed segments \(Segment_4=4\)"):
        read_segmentation(save(tmp_path / "b.seg.nrrd", zones(), oblique_affine, (*segments, ("Segment_4", 4, 0))))
    assert read_segmentation(save(tmp_path / "c.seg.nrrd", zones(), oblique_affine, ())).array.max() == 2


@pytest.mark.parametrize(("name", "value"), [("Peripheral zone", 1), ("TZ", 2)])
def test_a_zone_whose_segment_was_removed_is_empty(tmp_path: Path, name: str, value: int) -> None:
    left = np.where(zones() == value, 4, 0).astype(np.uint8)
    read = read_segmentation(save(tmp_path / "a.seg.nrrd", left, np.diag((1.0, 1, 3, 1)), ((name, 4, 0),)))
    np.testing.assert_array_equal(read.array, np.where(zones() == value, value, 0))


@pytest.mark.parametrize("segments", [(), NAMED])
def test_a_segmentation_of_nothing_is_an_empty_label_anywhere(tmp_path: Path, oblique_affine, segments) -> None:
    """As Slicer writes it: 10 voxels a side, on axes of their own."""
    nothing = np.zeros((10, 10, 10), np.uint8)
    path = save(tmp_path / "a.seg.nrrd", nothing, np.eye(4), segments, Segmentation_MasterRepresentation="x")
    read = read_segmentation(path)
    assert (read.array.shape, read.array.dtype, int(read.array.max())) == ((10, 10, 10), np.uint8, 0)
    back = placed(read, volume(zones(), oblique_affine))
    assert back.grid.same_as(Grid(zones().shape, oblique_affine))
    assert not back.array.any()


def test_an_empty_map_of_another_grid_that_is_no_segmentation_is_refused(oblique_affine: np.ndarray) -> None:
    with pytest.raises(GeometryError, match="not on the grid"):
        placed(volume(np.zeros((10, 10, 10), np.uint8), np.eye(4)), volume(zones(), oblique_affine))


@pytest.mark.parametrize("names", [("PZ", "lesion"), ("PZ", "PZ"), ("Prostate",), ("lesion",), ("Segment_1", "TZ")])
def test_other_segments_are_one_line(tmp_path: Path, names) -> None:
    segments = [(name, value, 0) for value, name in enumerate(names, start=1)]
    path = save(tmp_path / "a.seg.nrrd", zones(), np.diag((1.0, 1, 3, 1)), segments)
    with pytest.raises(DataError, match="one PZ and one TZ are allowed") as told:
        read_segmentation(path)
    assert "\n" not in str(told.value)


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    affine = np.diag((1.0, 1, 3, 1))
    whole = save(tmp_path / "a.seg.nrrd", zones(), affine).read_bytes()
    (tmp_path / "half.seg.nrrd").write_bytes(whole[:-30])
    fractional = save(tmp_path / "fractional.seg.nrrd", zones().astype(np.float32), affine)
    layer = save(tmp_path / "layer.seg.nrrd", zones(), affine, (("PZ", 1, 0), ("TZ", 2, 4)))
    value = save(tmp_path / "value.seg.nrrd", zones(), affine, (("PZ", "one", 0), ("TZ", 2, 0)))
    for path in (tmp_path / "half.seg.nrrd", tmp_path / "no.seg.nrrd", fractional, layer, value):
        with pytest.raises(DataError, match=path.name) as told:
            read_segmentation(path)
        assert "\n" not in str(told.value)


def test_a_cut_goes_back_to_its_place(tmp_path: Path, oblique_affine: np.ndarray) -> None:
    moved = oblique_affine.copy()
    moved[:3, 3] = (oblique_affine @ (2, 1, 1, 1))[:3]
    cut = read_segmentation(save(tmp_path / "a.seg.nrrd", zones()[2:7, 1:8, 1:4], moved))
    back = placed(cut, volume(zones(), oblique_affine))
    np.testing.assert_array_equal(back.array, zones())
    assert back.grid.same_as(Grid(zones().shape, oblique_affine))


def test_a_margin_is_cut_off_and_labels_in_it_are_not_lost_in_silence(oblique_affine: np.ndarray) -> None:
    wide = np.pad(zones(), ((1, 2), (3, 0), (0, 1)))
    moved = oblique_affine.copy()
    moved[:3, 3] = (oblique_affine @ (-1, -3, 0, 1))[:3]
    np.testing.assert_array_equal(placed(volume(wide, moved), volume(zones(), oblique_affine)).array, zones())
    wide[0, 0, 0] = 1
    with pytest.raises(GeometryError, match="1 labelled voxels lie outside"):
        placed(volume(wide, moved), volume(zones(), oblique_affine))


def test_a_mask_of_another_place_altogether(oblique_affine: np.ndarray) -> None:
    far = oblique_affine.copy()
    far[:3, 3] = (oblique_affine @ (50, 0, -40, 1))[:3]
    with pytest.raises(GeometryError, match="lie outside"):
        placed(volume(zones(), far), volume(zones(), oblique_affine))
    assert not placed(volume(np.zeros_like(zones()), far), volume(zones(), oblique_affine)).array.any()


@pytest.mark.parametrize(
    "change",
    [
        np.diag((1.0, 1.0, 0.5, 1.0)),  # other slices
        np.diag((-1.0, 1.0, 1.0, 1.0)),  # another axis
        np.array([[1, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),  # between the voxels
        np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),  # axes exchanged
    ],
)
def test_another_grid_is_refused(change: np.ndarray, oblique_affine: np.ndarray) -> None:
    with pytest.raises(GeometryError, match="not on the grid"):
        placed(volume(zones(), oblique_affine @ change), volume(zones(), oblique_affine))
