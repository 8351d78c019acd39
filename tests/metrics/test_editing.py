"""Added path length: by hand, laws, and a plain loop over pixels as the oracle."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.metrics.editing import added_path_length, touched_slices

SPACING = (3.0, 0.5, 0.5)
masks = st.lists(st.integers(0, 1), min_size=50, max_size=50).map(
    lambda bits: torch.tensor(bits, dtype=torch.bool).reshape(2, 5, 5)
)


def square(
    rows: slice, columns: slice, slices: slice = slice(0, 1), shape: tuple[int, ...] = (2, 8, 8)
) -> torch.Tensor:
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[slices, rows, columns] = True
    return mask


def plain(pred: torch.Tensor, corrected: torch.Tensor, plane: tuple[float, float], tolerance: float) -> tuple[int, int]:
    """Pixels added and pixels of the corrected contour, slices along the first axis, pixel by pixel."""

    def contour(mask: list[list[bool]]) -> list[tuple[int, int]]:
        height, width = len(mask), len(mask[0])
        found = []
        for y in range(height):
            for x in range(width):
                beside = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
                open_ = any(not (0 <= v < height and 0 <= u < width and mask[v][u]) for v, u in beside)
                if mask[y][x] and open_:
                    found.append((y, x))
        return found

    added = total = 0
    for before, after in zip(pred.tolist(), corrected.tolist(), strict=True):
        there = contour(before)
        for y, x in contour(after):
            total += 1
            distances = [math.hypot((y - v) * plane[0], (x - u) * plane[1]) for v, u in there]
            added += min(distances, default=math.inf) > tolerance
    return added, total


def test_a_square_moved_by_one_pixel_by_hand() -> None:
    """A square of 4 × 4 has a contour of 12 pixels. Moved, 4 lie on a new column, and of its top and bottom 2 × 2 lie
    on old ones; the left side, 2 pixels without the corners, lies inside the old square, where no contour was.
    """
    before, after = square(slice(2, 6), slice(1, 5)), square(slice(2, 6), slice(2, 6))
    found = added_path_length(before, after, SPACING, slice_axis=0)
    assert found == (pytest.approx(6 * 0.5), pytest.approx(12 * 0.5), pytest.approx(6 / 12))


def test_a_tolerance_of_a_pixel_forgives_the_move() -> None:
    before, after = square(slice(2, 6), slice(1, 5)), square(slice(2, 6), slice(2, 6))
    assert added_path_length(before, after, SPACING, slice_axis=0, tolerance_mm=0.5).added_mm == 0
    assert added_path_length(before, after, SPACING, slice_axis=0, tolerance_mm=0.49).added_mm == pytest.approx(3.0)


def test_a_slice_that_was_not_predicted_counts_whole() -> None:
    """However near the next slice's contour is: a contour is drawn in its slice."""
    before, after = square(slice(2, 6), slice(1, 5)), square(slice(2, 6), slice(1, 5), slice(0, 2))
    found = added_path_length(before, after, SPACING, slice_axis=0, tolerance_mm=100.0)
    assert found == (pytest.approx(6.0), pytest.approx(12.0), pytest.approx(0.5))


def test_erasing_costs_only_the_new_contour() -> None:
    two = square(slice(1, 4), slice(1, 4)) | square(slice(5, 8), slice(5, 8))
    one = square(slice(1, 4), slice(1, 4))
    assert added_path_length(two, one, SPACING, slice_axis=0).added_mm == 0
    assert added_path_length(one, two, SPACING, slice_axis=0).added_mm == pytest.approx(8 * 0.5)
    hole = square(slice(1, 6), slice(1, 6))
    hole[0, 3, 3] = False  # the 4 pixels around it become contour; nothing else does
    assert added_path_length(square(slice(1, 6), slice(1, 6)), hole, SPACING, slice_axis=0).added_mm == pytest.approx(2)


def test_nothing_drawn() -> None:
    empty, some = square(slice(0, 0), slice(0, 0)), square(slice(1, 3), slice(1, 3))
    for before in (empty, some):
        found = added_path_length(before, empty, SPACING, slice_axis=0)
        assert found[:2] == (0, 0)
        assert math.isnan(found.share)
    assert added_path_length(empty, some, SPACING, slice_axis=0).share == 1


@settings(deadline=None)
@given(masks, masks, st.sampled_from([0.0, 0.5, 0.7, 1.2]))
def test_agrees_with_a_plain_loop(pred, corrected, tolerance) -> None:
    plane = (0.5, 0.8)
    found = added_path_length(pred, corrected, (3.0, *plane), slice_axis=0, tolerance_mm=tolerance)
    added, total = plain(pred, corrected, plane, tolerance)
    pixel = math.sqrt(0.5 * 0.8)
    assert found[:2] == (pytest.approx(added * pixel), pytest.approx(total * pixel))


@settings(deadline=None)
@given(masks, masks, st.floats(0, 3), st.floats(0.1, 10))
def test_laws(pred, corrected, tolerance, factor) -> None:
    found = added_path_length(pred, corrected, SPACING, slice_axis=0, tolerance_mm=tolerance)
    assert 0 <= found.added_mm <= found.contour_mm
    assert math.isnan(found.share) == (found.contour_mm == 0)
    strict = added_path_length(pred, corrected, SPACING, slice_axis=0)
    assert found.added_mm <= strict.added_mm
    assert added_path_length(corrected, corrected, SPACING, slice_axis=0).added_mm == 0
    turned = [mask.movedim(0, 2) for mask in (pred, corrected)]
    assert added_path_length(*turned, (0.5, 0.5, 3.0), slice_axis=2) == pytest.approx(strict, nan_ok=True)
    scaled = added_path_length(pred, corrected, (3.0, *[0.5 * factor] * 2), slice_axis=0)
    assert scaled.added_mm == pytest.approx(factor * strict.added_mm)
    assert scaled.share == pytest.approx(strict.share, nan_ok=True)
    thick = added_path_length(pred, corrected, (9.0, 0.5, 0.5), slice_axis=0, tolerance_mm=tolerance)
    assert thick == pytest.approx(found, nan_ok=True)  # the distance between slices is in no contour


def test_slices_touched_by_hand() -> None:
    before = torch.zeros(4, 3, 3, dtype=torch.uint8)
    after = before.clone()
    after[0, 1, 1], after[2, 0, 0], after[2, 2, 2] = 1, 1, 2
    assert touched_slices(before, after, slice_axis=0) == 2
    assert touched_slices(before, after, slice_axis=2) == 3
    assert touched_slices(after, after, slice_axis=0) == 0


@given(masks, masks)
def test_slices_are_touched_where_masks_differ(pred, corrected) -> None:
    touched = touched_slices(pred, corrected, slice_axis=0)
    assert touched == sum(not torch.equal(one, other) for one, other in zip(pred, corrected, strict=True))


def test_mistakes_are_told() -> None:
    a = torch.ones(2, 2, 2, dtype=torch.bool)
    with pytest.raises(ShapeError, match="boolean"):
        added_path_length(a.float(), a, SPACING, slice_axis=0)
    with pytest.raises(ShapeError, match="three axes"):
        added_path_length(a[0], a[0], SPACING[:2], slice_axis=0)
    with pytest.raises(ShapeError, match="three axes"):
        touched_slices(a, a[:1], slice_axis=0)
    with pytest.raises(SettingsError, match="one positive number per axis"):
        added_path_length(a, a, (1.0, 1.0), slice_axis=0)
    for measure in (
        lambda axis: added_path_length(a, a, SPACING, slice_axis=axis),
        lambda axis: touched_slices(a, a, slice_axis=axis),
    ):
        with pytest.raises(SettingsError, match=r"Grid\.slice_axis"):
            measure(3)
    for tolerance in (-0.1, math.inf, math.nan):
        with pytest.raises(SettingsError, match="tolerance"):
            added_path_length(a, a, SPACING, slice_axis=0, tolerance_mm=tolerance)
