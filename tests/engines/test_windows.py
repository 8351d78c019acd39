"""Squares of a field: which one is looked at, and when the gland in it may go on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import Compose, Identityd, ResizeWithPadOrCropd
from torch import Tensor

from prostate_uda.data.preprocessing import WorkingGrid, preprocessing
from prostate_uda.engines.windows import (
    EDGE,
    gland_centre,
    is_cut,
    whole_field,
    window_about,
    windows_of,
)

SIZE = 32
WINDOWS = windows_of(preprocessing(WorkingGrid(1.0, SIZE), Identityd("image")))


def box(shape: tuple[int, int, int], x: tuple[int, int], y: tuple[int, int], value: int = 1) -> Tensor:
    label = torch.zeros(shape, dtype=torch.uint8)
    label[x[0] : x[1], y[0] : y[1], 0] = value
    return label


def test_a_preprocessing_is_taken_apart() -> None:
    whole = preprocessing(WorkingGrid(1.0, SIZE), Identityd("image"))
    parts = windows_of(whole)
    assert parts is not None
    assert parts.size == SIZE
    assert [*parts.field.transforms, parts.centred] == list(whole.transforms)


@pytest.mark.parametrize(
    "last", [Identityd("image"), ResizeWithPadOrCropd("image", spatial_size=(32, 40, -1), mode="edge")]
)
def test_what_does_not_end_with_a_square_has_no_windows(last: object) -> None:
    assert windows_of(Compose([Identityd("image"), last])) is None


@pytest.mark.parametrize(
    ("x", "y", "cut"),
    [
        ((2, 30), (2, 30), False),
        ((1, 30), (2, 30), True),
        ((2, 31), (2, 30), True),
        ((2, 30), (1, 30), True),
        ((2, 30), (2, 31), True),
        ((0, 0), (0, 0), True),  # none there
    ],
)
def test_the_middle_square_of_a_larger_field(x: tuple[int, int], y: tuple[int, int], cut: bool) -> None:
    assert EDGE == 2
    for value in (1, 2):
        assert is_cut(box((SIZE, SIZE, 2), x, y, value), (50, 60, 2)) is cut


def test_where_the_field_ends_nothing_goes_on() -> None:
    everything = torch.ones(SIZE, SIZE, 2)
    assert not is_cut(everything, (SIZE, SIZE, 2))
    assert not is_cut(everything, (SIZE - 7, SIZE - 1, 2))
    assert not is_cut(torch.zeros(SIZE, SIZE, 2), (SIZE, SIZE - 5, 2))
    assert is_cut(everything, (SIZE + 1, SIZE, 2))
    assert is_cut(torch.zeros(SIZE, SIZE, 2), (SIZE, SIZE + 1, 2))
    wide = box((SIZE, SIZE, 2), (10, 20), (0, SIZE))  # reaches the ends along the axis that the square has whole
    assert not is_cut(wide, (50, SIZE, 2))
    assert is_cut(wide, (SIZE, 50, 2))


def test_a_square_at_the_field_s_end_is_cut_on_its_other_side_alone() -> None:
    low, high = box((SIZE, SIZE, 2), (0, 9), (9, 20)), box((SIZE, SIZE, 2), (22, SIZE), (9, 20))
    field = (50, 60, 2)
    assert not is_cut(low, field, (0, 14))
    assert is_cut(high, field, (0, 14))
    assert is_cut(low, field, (18, 14))
    assert not is_cut(high, field, (18, 14))
    assert is_cut(low, field, (1, 14))


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(10, 70), st.integers(10, 70)), st.tuples(st.floats(-5, 75), st.floats(-5, 75)))
def test_a_window_is_a_square_within_the_field(shape: tuple[int, int], centre: tuple[float, float]) -> None:
    field = torch.arange(shape[0] * shape[1] * 2).reshape(1, *shape, 2).float()
    found = window_about(WINDOWS, centre, (*shape, 2))({"image": field})["image"].as_tensor()
    assert found.shape == (1, SIZE, SIZE, 2)
    if min(shape) >= SIZE:
        first = torch.nonzero(field[0, :, :, 0] == found[0, 0, 0, 0])[0].tolist()
        x, y = first
        assert torch.equal(found, field[:, x : x + SIZE, y : y + SIZE])
        for start, wanted, n in zip(first, centre, shape, strict=True):
            inside = min(max(wanted, SIZE / 2), n - SIZE / 2)
            assert abs(start + SIZE / 2 - inside) <= 0.5
    else:
        assert {*found.unique().tolist()} <= {*field.unique().tolist()}


@pytest.mark.parametrize("shape", [(20, 27), (32, 32), (20, 32)])
def test_a_smaller_field_is_padded_as_the_middle_square_is(shape: tuple[int, int]) -> None:
    field = torch.rand(1, *shape, 3, generator=torch.Generator().manual_seed(0))
    moved = window_about(WINDOWS, (3.0, 19.0), (*shape, 3))({"image": field})["image"]
    assert torch.equal(moved.as_tensor(), WINDOWS.centred({"image": field})["image"].as_tensor())


def test_the_whole_field_is_padded_to_the_stride() -> None:
    field = torch.rand(1, 41, 48, 3, generator=torch.Generator().manual_seed(0))
    found = whole_field()({"image": field})["image"].as_tensor()
    assert found.shape == (1, 48, 48, 3)
    assert torch.equal(found[:, 3:44], field)


def probabilities(*gland: Tensor) -> Tensor:
    """Of sums of boxes: background first, PZ and TZ alike."""
    share = torch.stack(list(gland)).sum(dim=0)
    return torch.stack([1 - share, share / 2, share / 2])


def test_the_middle_of_the_gland_by_hand() -> None:
    shape = (40, 50, 2)
    one = 0.9 * box(shape, (4, 10), (20, 40))
    assert gland_centre(probabilities(one)) == (7.0, 30.0)
    speck = 1.0 * box(shape, (30, 32), (2, 4))
    assert gland_centre(probabilities(one, speck)) == (7.0, 30.0)
    large = 0.7 * box(shape, (20, 38), (5, 15))
    assert gland_centre(probabilities(one, large)) == (29.0, 10.0)
    assert gland_centre(probabilities(0.5 * box(shape, (4, 10), (20, 40)))) is None
