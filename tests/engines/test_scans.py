"""A gland is found wherever it lies in a scan: an analytic network that calls bright pixels gland."""

from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import Compose, Identityd, ResizeWithPadOrCropd
from scipy import ndimage
from torch import Tensor, nn

from prostate_uda.data.geometry import Grid
from prostate_uda.data.preprocessing import LoadVolumed, WorkingGrid, preprocessing
from prostate_uda.data.volumes import Volume
from prostate_uda.engines.bundle_network import BundleNetwork
from prostate_uda.engines.inference import SliceStackInferer
from prostate_uda.engines.scans import Prediction, ScanSegmenter
from prostate_uda.errors import SettingsError
from prostate_uda.networks import FinalLogits
from prostate_uda.networks.levels import AllLevels, Levels
from prostate_uda.transforms import LabelZones
from tests.conftest import oblique

SIZE, CPU = 32, torch.device("cpu")
AXES = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


class Bright(nn.Module):
    """From 0.05 on it is PZ, from 0.7 on TZ; two levels, of which the first is less sure."""

    def forward(self, image: Tensor) -> Levels:
        middle = image[:, image.shape[1] // 2]
        gland, zone = 100 * (middle - 0.05), 100 * (middle - 0.7)
        logits = torch.stack([torch.zeros_like(gland), gland, gland + zone], dim=1)
        return Levels((logits / 100, logits), (image, image))


def segmenter(size: int = SIZE, spacing: float = 1.0, **changes: object) -> ScanSegmenter:
    prepared = preprocessing(WorkingGrid(spacing, size), Identityd("image"))
    return ScanSegmenter(FinalLogits(Bright()), prepared, SliceStackInferer(batch_size=64), CPU, **changes)  # type: ignore[arg-type]


def lps(spacing: tuple[float, float, float] = (1.0, 1.0, 3.0)) -> np.ndarray:
    return np.diag((-spacing[0], -spacing[1], spacing[2], 1.0))


def scan(
    shape: tuple[int, ...], x: tuple[int, int], y: tuple[int, int], affine: np.ndarray | None = None
) -> tuple[Volume, np.ndarray]:
    """A box, its inner half brighter, on slices 1 to the one before the last; and where it is."""
    array = np.zeros(shape, np.float32)
    array[x[0] : x[1], y[0] : y[1], 1:-1] = 0.55
    inner = [slice(a + (b - a) // 4, b - (b - a) // 4) for a, b in (x, y)]
    array[inner[0], inner[1], 1:-1] = 1
    array[0, 0, 0] = max(array[0, 0, 0], 0.02)  # an image has contrast
    return Volume(array, Grid(shape, lps() if affine is None else affine), Path("analytic")), array > 0.5


def turned(
    volume: Volume, box: np.ndarray, order: tuple[int, ...], signs: tuple[int, ...]
) -> tuple[Volume, np.ndarray]:
    """The same patient with the file's axes in another order and direction."""
    orientation = np.stack([np.array(order, float), np.array(signs, float)], axis=1)
    affine = volume.grid.affine @ nib.orientations.inv_ornt_aff(orientation, volume.grid.shape)
    array, mask = (
        np.ascontiguousarray(nib.orientations.apply_orientation(one, orientation)) for one in (volume.array, box)
    )
    return Volume(array, Grid(array.shape, affine), volume.source), mask


def found_share(found: Prediction, box: np.ndarray) -> float:
    return float((found.label > 0)[box].mean())


def check_shapes(found: Prediction, volume: Volume) -> None:
    shape = volume.grid.shape
    assert found.volume is volume
    assert found.probabilities.shape == (3, *shape)
    assert found.probabilities.dtype == torch.float32
    assert (found.uncertainty.shape, found.uncertainty.dtype) == (shape, np.float32)
    assert (found.label.shape, found.label.dtype) == (shape, np.uint8)
    assert {*np.unique(found.label)} <= {0, 1, 2}
    assert found.uncertainty.min() >= 0
    assert found.uncertainty.max() <= 1
    total = found.probabilities.sum(dim=0)
    assert total.min() >= 0
    assert total.max() <= 1 + 1e-5


@st.composite
def boxes(draw: st.DrawFn) -> tuple[tuple[int, int, int], tuple[int, int], tuple[int, int]]:
    """A field from half to three times the square, and a box that fits the square with its edges, anywhere."""
    shape = (draw(st.integers(16, 96)), draw(st.integers(16, 96)), draw(st.integers(3, 5)))
    ends = []
    for n in shape[:2]:
        length = draw(st.integers(8, min(n, SIZE - 8)))
        start = draw(st.integers(0, n - length))
        ends.append((start, start + length))
    return shape, ends[0], ends[1]


@settings(max_examples=60, deadline=None)
@given(boxes(), st.sampled_from(AXES))
def test_a_box_is_found_wherever_it_lies(
    given: tuple[tuple[int, int, int], tuple[int, int], tuple[int, int]],
    axes: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    volume, box = turned(*scan(*given), *axes)
    found = segmenter().predict(volume)
    check_shapes(found, volume)
    assert found_share(found, box) >= 0.99
    assert not (found.label > 0)[~box].any()
    assert not found.cut
    shape, *ends = given
    middle = [(n // 2 - SIZE // 2, n // 2 + SIZE // 2) for n in shape[:2]]
    inside = all(a >= low + 4 and b <= high - 4 for (a, b), (low, high) in zip(ends, middle, strict=True))
    if inside or max(shape[:2]) <= SIZE:
        assert found.place == "centred"
        plain = segmenter(follow=False).predict(volume)
        assert np.array_equal(found.label, plain.label)
        assert torch.equal(found.probabilities, plain.probabilities)
        assert np.array_equal(found.uncertainty, plain.uncertainty)
        assert torch.equal(found.seen, plain.seen)
    beyond = any(a < low or b > high for (a, b), (low, high) in zip(ends, middle, strict=True))
    if beyond:
        assert found.place == "moved"


@settings(max_examples=40, deadline=None)
@given(
    boxes(), st.sampled_from(AXES), st.tuples(st.floats(0.65, 1.4), st.floats(0.65, 1.4), st.just(3.0)), st.booleans()
)
def test_a_box_is_found_on_voxels_of_another_size(
    given: tuple[tuple[int, int, int], tuple[int, int], tuple[int, int]],
    axes: tuple[tuple[int, ...], tuple[int, ...]],
    spacing: tuple[float, float, float],
    tilted: bool,
) -> None:
    place = lps(spacing)
    if tilted:
        turn = oblique()
        place = turn @ np.diag((spacing[0] / 0.7, spacing[1] / 0.7, 1.0, 1.0))
    volume, box = turned(*scan(*given, place), *axes)
    found = segmenter(48).predict(volume)
    check_shapes(found, volume)
    assert found_share(found, box) >= 0.99
    around = np.ones(tuple(1 if axis == volume.grid.slice_axis else 7 for axis in range(3)))
    assert not (found.label > 0)[~ndimage.binary_dilation(box, around)].any()
    assert not found.cut


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(16, 90)] * 2), st.tuples(*[st.floats(0, 1)] * 4))
def test_a_box_of_any_size_is_found(shape: tuple[int, int], drawn: tuple[float, float, float, float]) -> None:
    """Also one that just does not fit, or lies on the edge of what is looked at."""
    ends = []
    for n, start, length in zip(shape, drawn[::2], drawn[1::2], strict=True):
        first = round(start * (n - 4))
        ends.append((first, first + 4 + round(length * (n - 4 - first))))
    volume, box = scan((*shape, 3), *ends)
    found = segmenter().predict(volume)
    assert found_share(found, box) >= 0.99
    assert not (found.label > 0)[~box].any()
    assert not found.cut


def test_a_speck_in_the_middle_does_not_hide_a_gland_elsewhere() -> None:
    """One voxel too many in the first square, and the gland outside of it."""
    volume, box = scan((96, 96, 4), (60, 80), (10, 30))
    volume.array[48, 48, 1] = 1
    assert found_share(segmenter().predict(volume), box) >= 0.99


@pytest.mark.parametrize("x", [(0, 40), (20, 60), (40, 80), (2, 78)])
def test_a_box_larger_than_the_square_is_found_in_the_whole_field(x: tuple[int, int]) -> None:
    volume, box = scan((80, 70, 4), x, (10, 60))
    found = segmenter().predict(volume)
    assert (found.place, found.cut) == ("whole field", False)
    assert found_share(found, box) >= 0.99
    plain = segmenter(follow=False).predict(volume)
    assert plain.place == "centred"
    assert found_share(plain, box) < 0.6


@pytest.mark.parametrize("shape", [(80, 70, 4), (20, 90, 4), (24, 20, 3)])
def test_where_nothing_is_found_the_middle_was_looked_at(shape: tuple[int, int, int]) -> None:
    volume, _ = scan(shape, (0, 0), (0, 0))
    found = segmenter().predict(volume)
    assert found.place == "centred"
    assert not found.label.any()
    assert found.seen.shape == (SIZE, SIZE, shape[2])
    check_shapes(found, volume)


def test_outside_of_the_square_nothing_is_known() -> None:
    volume, _ = scan((80, 70, 4), (30, 50), (28, 44))
    found = segmenter(follow=False).predict(volume)
    known = found.probabilities.sum(dim=0) > 0
    assert int(known[:, :, 0].sum()) == SIZE * SIZE
    assert bool(known[24:56, 19:51].all())
    assert not found.uncertainty[~known.numpy()].any()


def test_where_it_is_moved_to_the_network_sees_the_box_in_the_middle() -> None:
    volume, _ = scan((96, 96, 4), (60, 80), (12, 30))
    shown: list[Tensor] = []

    class Shown(Bright):
        def forward(self, image: Tensor) -> Levels:
            shown.append(image[:, image.shape[1] // 2])
            return super().forward(image)

    found = replace(segmenter(), network=FinalLogits(Shown())).predict(volume)
    assert found.place == "moved"
    assert shown[-1].shape[1:] == (SIZE, SIZE)
    where = torch.nonzero(shown[-1] > 0.5).float()
    assert (where[:, 1:].mean(dim=0) - (SIZE - 1) / 2).abs().max() <= 1


@pytest.mark.parametrize(
    ("shape", "x", "y", "place"),
    [((96, 96, 4), (60, 80), (12, 30), "moved"), ((80, 70, 4), (2, 78), (10, 60), "whole field")],
)
def test_what_is_likened_to_training_scans_is_the_middle_wherever_it_looked(
    shape: tuple[int, int, int], x: tuple[int, int], y: tuple[int, int], place: str
) -> None:
    volume, _ = scan(shape, x, y)
    found, plain = segmenter().predict(volume), segmenter(follow=False).predict(volume)
    assert (found.place, plain.place) == (place, "centred")
    assert found.seen.shape == (SIZE, SIZE, shape[2])
    assert torch.equal(found.seen, plain.seen)


def test_labels_are_the_argmax_and_rules_change_them() -> None:
    volume, _ = scan((32, 32, 4), (3, 23), (6, 27))
    volume.array[29:31, 29:31, 1] = 0.9
    plain = segmenter().predict(volume)
    assert np.array_equal(plain.label, plain.probabilities.argmax(dim=0).numpy())
    rules = LabelZones(keep_largest=True)
    kept = segmenter(rules=rules).predict(volume)
    assert np.array_equal(kept.label, rules(plain.probabilities)[0].numpy())
    assert plain.label[30, 30, 1]
    assert not kept.label[30, 30, 1]


def test_levels_that_disagree_are_in_doubt_and_say_the_same_labels() -> None:
    volume, box = scan((40, 40, 4), (5, 25), (8, 30))
    volume.array[30:33, 30:33, 1] = 0.052  # near the border of PZ: the entropy is high, the levels agree
    entropy, levels = segmenter().predict(volume), segmenter(doubt="levels").predict(volume)
    assert np.array_equal(entropy.label, levels.label)
    torch.testing.assert_close(entropy.probabilities, levels.probabilities)
    check_shapes(levels, volume)
    assert entropy.uncertainty[31, 31, 1] > 2 * levels.uncertainty[31, 31, 1]
    assert levels.uncertainty[box].mean() > 2 * entropy.uncertainty[box].mean()


def test_all_levels_are_the_levels_one_after_another() -> None:
    image = torch.rand(2, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    levels = Bright()(image)
    assert torch.equal(AllLevels(Bright())(image), torch.cat(levels.logits, dim=1))
    assert torch.equal(AllLevels(Bright())(image)[:, -3:], FinalLogits(Bright())(image))


@pytest.mark.parametrize("changes", [{"doubt": "levels"}, {"doubt": "levels", "follow": False}])
def test_a_network_without_levels_has_none_to_compare(changes: dict[str, object]) -> None:
    plain = replace(segmenter(), network=nn.Conv2d(1, 3, 1))
    told = (
        r"^uncertainty 'levels' of a network without levels \(Conv2d\); entropy is allowed; choose it, or give a bundle"
    )
    with pytest.raises(SettingsError, match=told) as caught:
        replace(plain, **changes)
    assert "\n" not in str(caught.value)


def test_a_bundles_network_has_levels_to_compare() -> None:
    volume, _ = scan((40, 40, 4), (5, 25), (8, 30))
    bundled = replace(segmenter(), network=BundleNetwork(Bright()), doubt="levels")
    assert np.array_equal(bundled.predict(volume).uncertainty, segmenter(doubt="levels").predict(volume).uncertainty)


def test_bf16_is_near() -> None:
    volume, box = scan((40, 40, 4), (5, 25), (8, 30))
    found = segmenter(precision="bf16").predict(volume)
    check_shapes(found, volume)
    assert found_share(found, box) >= 0.99


def test_a_preprocessing_without_a_square_is_followed_as_it_is() -> None:
    volume, box = scan((80, 70, 4), (50, 70), (12, 30))
    odd = Compose([LoadVolumed(), ResizeWithPadOrCropd("image", spatial_size=(80, 72, -1), mode="edge")])
    found = ScanSegmenter(FinalLogits(Bright()), odd, SliceStackInferer(), CPU).predict(volume)
    assert found.place == "centred"
    assert found_share(found, box) >= 0.99
