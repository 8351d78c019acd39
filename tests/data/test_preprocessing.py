from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from prostate_uda.data.preprocessing import WorkingGrid, preprocessing, to_native
from prostate_uda.data.volumes import read_image
from prostate_uda.data.writing import write_label
from prostate_uda.errors import DataError, GeometryError, SettingsError
from prostate_uda.transforms.normalization import no_normalization, zscore

GRID = WorkingGrid(spacing_mm=1.0, size=64)
SHAPE = (72, 60, 9)
TURNS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def zones(shape=SHAPE) -> np.ndarray:
    """A TZ ball in a PZ ball, off the centre so that no mirrored or turned axis passes."""
    x, y, z = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    outer = ((x - 40) / 16) ** 2 + ((y - 33) / 13) ** 2 + ((z - 4) / 3.5) ** 2 < 1
    inner = ((x - 38) / 9) ** 2 + ((y - 29) / 7) ** 2 + ((z - 4) / 2.5) ** 2 < 1
    return (outer.astype(np.uint8) + inner).astype(np.uint8)


def affine(order=(0, 1, 2), signs=(1, 1, 1), angles=(8, -5, 11)) -> np.ndarray:
    """Axes ``order`` of an oblique 0.8 × 0.8 × 3 mm grid, LPS before it is permuted and flipped."""
    out = np.eye(4)
    turned = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * (-0.8, -0.8, 3.0)
    out[:3, :3] = turned[:, list(order)] * signs
    out[:3, 3] = (12, -20, 30)
    return out


def permuted(array: np.ndarray, order, signs) -> np.ndarray:
    moved = array.transpose(order)
    return np.flip(moved, [axis for axis, sign in enumerate(signs) if sign < 0])


def save(folder, array, label, matrix) -> dict[str, object]:
    for name, content in (("image", array.astype(np.float32)), ("label", label)):
        nib.save(nib.Nifti1Image(content, matrix), folder / f"{name}.nii.gz")
    return {name: folder / f"{name}.nii.gz" for name in ("image", "label")}


def dice(one: np.ndarray, two: np.ndarray) -> float:
    return float(2 * (one & two).sum() / (one.sum() + two.sum()))


def there_and_back(entry: dict[str, object], grid=GRID):
    pre = preprocessing(grid, no_normalization())
    data = pre(entry)
    classes = torch.nn.functional.one_hot(data["label"].as_tensor()[0].long(), 3).permute(3, 0, 1, 2).float()
    return data, to_native(classes, pre, data)


@pytest.mark.parametrize(("order", "signs"), TURNS[::5])
def test_labels_survive_the_way_there_and_back(tmp_path, order, signs):
    label = permuted(zones(), order, signs)
    data, native = there_and_back(save(tmp_path, label * 100.0, label, affine(order, signs)))
    assert native.shape == (3, *label.shape)
    back = native.argmax(dim=0).numpy()
    assert dice(back == 1, label == 1) > 0.95
    assert dice(back == 2, label == 2) > 0.95
    assert data["image"].shape == data["label"].shape == (1, 64, 64, 9)


@settings(max_examples=8, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-20, 20)] * 3),
    spacing=st.floats(0.5, 1.0),
    turn=st.sampled_from(TURNS),
)
def test_law_of_the_round_trip(tmp_path_factory, angles, spacing, turn):
    label = permuted(zones(), *turn)
    entry = save(tmp_path_factory.mktemp("law"), label * 100.0, label, affine(*turn, angles))
    _, native = there_and_back(entry, WorkingGrid(spacing_mm=spacing, size=112))
    assert native.shape == (3, *label.shape)
    back = native.argmax(dim=0).numpy()
    assert min(dice(back == zone, label == zone) for zone in (1, 2)) > 0.93
    assert dice(back > 0, label > 0) > 0.95


def test_every_axis_order_gives_the_same_slices(tmp_path):
    """Permuting and flipping the stored array together with its affine must not be seen on the working grid."""
    seen = []
    for number, (order, signs) in enumerate(
        ((0, 1, 2), (1, 1, 1)) if turn is None else turn for turn in (None, *TURNS[1::7])
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        label = permuted(zones(), order, signs)
        matrix = affine(order, signs)
        flipped = [(n - 1) if s < 0 else 0 for n, s in zip(label.shape, signs, strict=True)]
        matrix[:3, 3] -= matrix[:3, :3] @ flipped  # voxel 0 of the stored array lies at the far end of a flipped axis
        data = preprocessing(GRID, no_normalization())(save(folder, label * 100.0, label, matrix))
        seen.append(data["image"].as_tensor())
        assert "".join(nib.aff2axcodes(data["image"].affine.numpy())) == "LPS"
    for other in seen[1:]:
        assert torch.allclose(seen[0], other, atol=0.1)


def test_rows_run_posterior_and_columns_left(tmp_path):
    """A mark at the patient's left and back lies right and low in the transposed slice."""
    array = np.zeros(SHAPE, np.float32)
    matrix = np.diag((0.8, 0.8, 3.0, 1.0))  # RAS: x grows to the right, y to the front
    array[:10, :10] = 100  # left, posterior
    data = preprocessing(GRID, no_normalization())(save(tmp_path, array, zones(), matrix))
    rows, columns = torch.nonzero(data["image"].as_tensor()[0, :, :, 4].T > 50, as_tuple=True)
    assert rows.float().mean() > 40
    assert columns.float().mean() > 40


def test_world_positions_are_kept(tmp_path):
    """The label's centre of mass lies at one place in the patient, before and after."""
    label = zones()
    data, _ = there_and_back(save(tmp_path, label * 100.0, label, affine()))
    places = []
    for array, matrix in ((label, affine()), (data["label"].numpy()[0], data["label"].affine.numpy())):
        centre = np.argwhere(array > 0).mean(axis=0)
        places.append(matrix[:3, :3] @ centre + matrix[:3, 3])
    assert np.allclose(*places, atol=0.15)


def test_a_label_written_after_the_way_back_lies_on_its_scan(tmp_path):
    label = zones()
    entry = save(tmp_path, label * 100.0, label, affine())
    _, native = there_and_back(entry)
    write_label(tmp_path / "back.nii.gz", native.argmax(0).numpy().astype(np.uint8), read_image(entry["image"]))
    assert np.array_equal(nib.load(tmp_path / "back.nii.gz").affine, nib.load(entry["image"]).affine)


def test_what_lies_outside_the_working_grid_is_background(tmp_path):
    label = zones()
    entry = save(tmp_path, label * 100.0, label, affine())
    pre = preprocessing(WorkingGrid(spacing_mm=0.5, size=32), no_normalization())
    data = pre({"image": entry["image"]})
    native = to_native(torch.ones(3, 32, 32, 9) / 3, pre, data)
    assert native.shape == (3, *SHAPE)
    assert native[:, 0, 0].sum() == 0
    assert torch.allclose(native[:, 36, 30], torch.tensor(1 / 3))


def test_going_back_twice_gives_the_same(tmp_path):
    label = zones()
    pre = preprocessing(GRID, zscore())
    data = pre({"image": save(tmp_path, label * 100.0, label, affine())["image"]})
    probabilities = torch.rand(3, 64, 64, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(to_native(probabilities, pre, data), to_native(probabilities, pre, data))


def test_no_label_is_no_key(tmp_path):
    label = zones()
    entry = save(tmp_path, label * 100.0, label, affine())
    assert set(preprocessing(GRID, zscore())({"image": entry["image"]})) == {"image"}


def test_ignore_survives(tmp_path):
    label = zones()
    label[label == 2] = 255
    entry = save(tmp_path, label.astype(np.float32), label, affine())
    data = preprocessing(GRID, no_normalization())(entry | {"label_values": {0: 0, 1: 1, 255: 255}})
    assert data["label"].unique().tolist() == [0, 1, 255]
    with pytest.raises(DataError, match="unknown label value 255"):
        preprocessing(GRID, no_normalization())(entry)


def test_a_smaller_scan_is_padded_with_its_border(tmp_path):
    image = np.full((40, 40, 4), 50, np.float32)
    image[20, 20] = 200
    data = preprocessing(GRID, no_normalization())(
        save(tmp_path, image, (image > 100).astype(np.uint8), np.diag((-1.0, -1.0, 3.0, 1.0)))
    )
    assert data["image"].shape == (1, 64, 64, 4)
    assert data["image"].min() == 50
    assert data["label"].as_tensor()[0, :8].max() == 0


def test_coronal_series_and_foreign_labels_are_refused(tmp_path):
    label = zones()
    coronal = affine()
    coronal[:3, :3] = np.array([[-0.8, 0, 0], [0, 0, 3.0], [0, -0.8, 0]])
    with pytest.raises(GeometryError, match="not an axial series"):
        preprocessing(GRID, zscore())(save(tmp_path, label * 100.0, label, coronal))
    entry = save(tmp_path, label * 100.0, label, affine())
    nib.save(nib.Nifti1Image(label, affine(angles=(0, 0, 0))), entry["label"])
    with pytest.raises(GeometryError, match="is not on the grid of"):
        preprocessing(GRID, zscore())(entry)


@pytest.mark.parametrize(("spacing", "size"), [(0, 64), (1, 60), (1, 8), (50, 64), (float("nan"), 64)])
def test_odd_working_grids_are_refused(spacing, size):
    with pytest.raises(SettingsError, match="working grid"):
        WorkingGrid(spacing_mm=spacing, size=size)


@pytest.mark.parametrize("name", ["ProstateX-0000", "ProstateX-0003"])
def test_real_labels_survive(shared_data, name):
    root = shared_data / "prostatex-siemens-3t"
    pre = preprocessing(WorkingGrid(spacing_mm=0.6, size=224), no_normalization())
    data = pre({"image": root / "dicom" / name, "label": root / "zones-ai" / "Yuan23" / f"{name}.nii.gz"})
    classes = torch.nn.functional.one_hot(data["label"].as_tensor()[0].long(), 3).permute(3, 0, 1, 2).float()
    back = to_native(classes, pre, data).argmax(dim=0).numpy()
    label = np.asarray(nib.load(root / "zones-ai" / "Yuan23" / f"{name}.nii.gz").dataobj)
    assert dice(back == 1, label == 1) > 0.95
    assert dice(back == 2, label == 2) > 0.95
