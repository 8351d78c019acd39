"""Which slices and which window a picture shows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prostate_uda.review.views import View


def gland(areas: list[int], shape: tuple[int, int] = (12, 12)) -> View:
    label = np.zeros((*shape, len(areas)), dtype=np.uint8)
    for index, area in enumerate(areas):
        label.reshape(-1, len(areas))[:area, index] = 1
    return View.of(np.zeros(label.shape), {"truth": label}, (1.0, 1.0, 3.0), "LPS")


@given(st.lists(st.integers(0, 100), min_size=1, max_size=30), st.integers(1, 8))
def test_slices_are_few_distinct_and_in_the_gland(areas, count) -> None:
    slices = gland(areas).spread(count)
    assert slices == sorted(set(slices), reverse=True)
    assert 0 < len(slices) <= count
    if max(areas) > 0:
        assert all(areas[index] >= max(areas) / 5 for index in slices)


def test_slices_are_spread_evenly() -> None:
    assert gland([0, 0, *[50] * 12, 0]).spread(4) == [12, 9, 6, 3]
    assert gland([10, 20, 30, 2, 0]).spread(6) == [2, 1, 0]
    assert gland([0] * 8).spread(1) == [4]


@pytest.mark.parametrize("corner", [0, 30])
def test_the_crop_is_square_and_stays_inside(corner) -> None:
    label = np.zeros((64, 128, 3), dtype=np.uint8)
    label[corner : corner + 20, corner : corner + 40, 1] = 2
    view = View.of(np.zeros(label.shape), {"truth": label}, (1.0, 0.5, 3.0), "LPS")
    assert view.size_mm == (44.0, 44.0)
    assert view.labels["truth"].sum() == label.sum()


def test_a_gland_as_large_as_the_image_shows_the_image() -> None:
    label = np.ones((20, 30, 2), dtype=np.uint8)
    view = View.of(np.zeros(label.shape), {"truth": label}, (1.0, 1.0, 3.0), "LPS")
    assert view.image.shape == label.shape


def test_a_full_bladder_does_not_darken_the_gland() -> None:
    image = np.random.default_rng(0).uniform(0, 100, (60, 60, 3))
    image[:, :25] = 1000
    label = np.zeros(image.shape, dtype=np.uint8)
    label[20:40, 30:50] = 1
    view = View.of(image, {"truth": label}, (1.0, 1.0, 3.0), "LPS")
    assert view.window[1] < 150
