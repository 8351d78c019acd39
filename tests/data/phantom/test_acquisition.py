"""Coil, k-space, ghosts and noise."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prostate_uda.data.phantom.acquisition import Ghosts, acquire, draw_coil
from prostate_uda.data.phantom.protocols import PROTOCOLS
from prostate_uda.data.phantom.shapes import Ellipsoid

FULL = replace(PROTOCOLS["phantom-3t"], acquired=(1.0, 1.0))
STILL = Ghosts(np.zeros(64, dtype=np.float32))


def measure(fine, *, sigma=0.0, ghosts=STILL, protocol=FULL, moving=None, seed=0):
    moving = np.zeros_like(fine) if moving is None else moving
    rng = np.random.default_rng(seed)
    return acquire(fine, moving, pixels=64, protocol=protocol, ghosts=ghosts, sigma=sigma, rng=rng)


def blob(n, centre, width):
    """A smooth bump on ``n`` samples across a unit field of view, positions of pixel centres."""
    position = (np.arange(n) + 0.5) / n
    along = np.exp(-0.5 * ((position - centre) / width) ** 2)
    return np.outer(along, along).astype(np.float32)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_endorectal_sensitivity_falls_with_distance(seed):
    balloon = Ellipsoid((0.0, -40.0, 0.0), (22.0, 17.0, 40.0))
    coil = draw_coil(np.random.default_rng(seed), replace(PROTOCOLS["phantom-1.5t"], bias=0.0), balloon)
    line = np.zeros((3, 60), dtype=np.float32)
    line[1] = -23 + np.arange(60)  # forwards from the balloon's front wall
    profile = coil.sensitivity(line)
    assert coil.distance(line) == pytest.approx(np.arange(60), abs=1e-4)
    assert np.all(np.diff(profile) < 0)
    assert profile[0] > 1.5 * profile[30]


def test_array_sensitivity_is_even():
    coil = draw_coil(np.random.default_rng(1), PROTOCOLS["phantom-3t"], None)
    points = np.random.default_rng(2).uniform(-70, 70, (3, 5000)).astype(np.float32)
    profile = coil.sensitivity(points)
    assert profile.min() > 0.5
    assert profile.max() < 1.5


def test_truncation_samples_a_smooth_object_at_pixel_centres():
    assert measure(blob(128, 0.45, 0.06)) == pytest.approx(blob(64, 0.45, 0.06), abs=0.03)  # window blurs a little
    row = measure(blob(128, 0.45, 0.06))[:, 28]
    assert np.sum(row * (np.arange(64) + 0.5) / 64) / row.sum() == pytest.approx(0.45, abs=1e-3)


@given(st.floats(0.01, 2.0), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_noise_of_air_is_rayleigh(sigma, seed):
    """In air the magnitude's mean is sigma sqrt(pi/2); the k-space window keeps a known part of the power."""
    image = measure(np.zeros((128, 128), np.float32), sigma=sigma, seed=seed)
    frequency = (np.arange(64) - 32) / 32
    kept = np.mean((0.75 + 0.25 * np.cos(np.pi * frequency)) ** 2)
    assert image.mean() == pytest.approx(sigma * kept * np.sqrt(np.pi / 2), rel=0.06)


def test_specified_snr_is_measured_in_bright_tissue():
    """Where signal is high, Rician noise is Gaussian: mean over deviation is the SNR, raised by the window."""
    image = measure(np.full((128, 128), 20.0, np.float32), sigma=1.0)
    kept = np.mean((0.75 + 0.25 * np.cos(np.pi * (np.arange(64) - 32) / 32)) ** 2)
    assert image.mean() / image.std() == pytest.approx(20 / kept, rel=0.05)


def test_periodic_motion_makes_a_displaced_copy():
    lines = np.arange(64)
    ghosts = Ghosts((0.2 * np.sin(2 * np.pi * lines * 16 / 64)).astype(np.float32))
    spot = blob(128, 0.25, 0.02)
    plain, moved = measure(spot), measure(np.zeros_like(spot), moving=spot, ghosts=ghosts)
    assert moved[32, 16] == pytest.approx(0.1 * plain[16, 16], rel=0.1)  # half the amplitude, 16 lines further
    assert moved[16, 32] < 0.01  # nothing along the frequency axis
