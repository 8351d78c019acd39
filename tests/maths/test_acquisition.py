"""Coil profiles, ghosts, windows and noise by hand and by law."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from prostate_uda.maths.acquisition import (
    ARRAY_SHARE,
    IRREGULAR_SHARE,
    array_profile,
    complex_noise,
    filtered,
    ghosts,
    line_modulation,
    line_window,
    loop_profile,
    with_near_field,
)


def test_loop_profile_by_hand():
    # at one radius: (1/2)^(3/2); at sqrt(3) radii: (1/4)^(3/2) = 1/8
    assert loop_profile(np.array([0.0, 15.0, 15 * np.sqrt(3)]), 15.0) == pytest.approx([1, 2**-1.5, 1 / 8], rel=1e-6)


def test_array_profile_by_hand():
    points = (np.array([[0.0], [1.0]], np.float32), np.array([[0.0, 2.0]], np.float32))
    waves = np.array([[np.pi / 2, 0, 0], [0, 0, np.pi / 2]], np.float32)  # sin of the first axis, and a constant
    assert array_profile(points, waves, 0.1) == pytest.approx(np.array([[1.1, 1.1], [1.2, 1.2]]))
    assert array_profile(points, waves[:0], 0.1) == pytest.approx(np.ones((2, 2)))


def test_near_field_by_hand():
    assert with_near_field(np.array([1.0], np.float32), np.array([1.0], np.float32)) == pytest.approx([1.25])
    assert with_near_field(np.array([2.0], np.float32), np.array([0.0], np.float32)) == pytest.approx([2 * ARRAY_SHARE])


def test_line_modulation_by_hand():
    irregular = np.array([0.0, 1.0, 0.0, 0.0])
    made = line_modulation(irregular, strength=0.5, period=4.0, phase=0.0)
    assert made == pytest.approx([0, 0.5 * (1 + IRREGULAR_SHARE), 0, -0.5], abs=1e-7)
    many = line_modulation(np.zeros((2, 4)), strength=1.0, period=4.0, phase=np.array([[0.0], [np.pi / 2]]))
    assert many == pytest.approx(np.array([[0, 1, 0, -1], [1, 0, -1, 0]]), abs=1e-6)


@pytest.mark.parametrize("pixels", [8, 9, 96])
def test_a_window_holds_the_middle_lines(pixels):
    window = line_window(pixels, 0.5)
    assert window[pixels // 2] == 1
    assert np.count_nonzero(window) == pytest.approx(pixels / 2, abs=1.5)
    assert window[window > 0].min() >= 0.5


def test_a_full_window_of_ones_keeps_the_image():
    image = torch.randn(2, 9, 12, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(filtered(image, torch.ones(9), torch.ones(12)).real, image, atol=1e-6)


def test_filtering_drops_what_was_not_acquired():
    """A wave of 10 cycles along the columns needs more than a third of 48 lines, one of 3 does not."""
    position = 2 * np.pi * torch.arange(48) / 48
    fast, slow = ((cycles * position).cos().expand(48, 48) for cycles in (10, 3))
    window = torch.from_numpy(line_window(48, 0.34))
    kept = filtered(torch.stack([fast, slow]), torch.ones(48), window)
    assert kept[0].abs().max() < 1e-6
    weight = float(window[24 + 3])
    assert torch.allclose(kept[1].real, slow * weight, atol=1e-6)


def test_a_modulation_by_a_wave_shifts_copies():
    """Lines modulated by cos with a quarter of the lines' number: half a copy, a quarter of the image to each side."""
    spot = torch.zeros(1, 64)
    spot[0, 20] = 1
    ghost = ghosts(spot, (2 * np.pi * torch.arange(64) / 4).cos())
    expected = torch.zeros(64)
    expected[[20 + 16, 20 - 16]] = 0.5
    assert torch.allclose(ghost.abs()[0], expected, atol=1e-6)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_noise_is_rician_by_another_library(seed):
    """Oracle: SciPy's Rice distribution with b = signal / sigma."""
    noise = complex_noise((4000,), 2.0, torch.Generator().manual_seed(seed))
    measured = (3.0 + noise).abs().numpy()
    assert stats.kstest(measured, stats.rice(b=1.5, scale=2.0).cdf).statistic < 0.035
    again = complex_noise((4000,), 2.0, torch.Generator().manual_seed(seed))
    assert torch.equal(noise, again)
