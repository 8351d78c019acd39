"""Noise in labels: what each kind does to a small gland by hand, and its laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from prostate_uda.errors import SettingsError
from prostate_uda.maths.label_noise import KINDS, LabelNoise, asymmetric, boundary, read_label_noise, symmetric
from prostate_uda.maths.losses import IGNORE

Labels = NDArray[np.uint8]
RATES = st.floats(0.01, 0.9)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def a_square(side: int = 4, slices: int = 1) -> Labels:
    """A gland in the middle of 10 × 10 pixels, PZ in its first rows and TZ in the others."""
    labels = np.zeros((10, 10, slices), dtype=np.uint8)
    labels[3 : 3 + side, 3 : 3 + side] = 2
    labels[3 : 3 + side // 2, 3 : 3 + side] = 1
    return labels


def random_labels(seed: int) -> Labels:
    """Blobs of all values, IGNORE among them."""
    coarse = rng(seed).choice(np.array([0, 0, 1, 2, IGNORE], dtype=np.uint8), (4, 4, 3))
    return coarse.repeat(3, axis=0).repeat(3, axis=1)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), rate=RATES)
def test_ignored_voxels_stay_and_the_generator_alone_decides(kind: str, seed: int, rate: float) -> None:
    labels = random_labels(seed)
    before = labels.copy()
    changed = KINDS[kind](labels, rate, rng(seed))
    assert changed.dtype == np.uint8
    assert np.array_equal(labels, before)
    assert np.array_equal(changed == IGNORE, labels == IGNORE)
    assert set(np.unique(changed)) <= {0, 1, 2, IGNORE}
    assert np.array_equal(changed, KINDS[kind](labels, rate, rng(seed)))
    assert np.array_equal(KINDS[kind](labels, 0.0, rng(seed)), labels)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.9])
def test_symmetric_and_asymmetric_have_the_ntm_that_they_say(rate: float) -> None:
    labels = np.repeat(np.arange(3, dtype=np.uint8), 40_000).reshape(3, 200, 200)
    wanted = {
        symmetric: np.full((3, 3), rate / 2) + np.diag([1 - 1.5 * rate] * 3),
        asymmetric: np.array([[1, 0, 0], [rate, 1 - rate, 0], [0, rate, 1 - rate]]),
    }
    for kind, ntm in wanted.items():
        changed = kind(labels, rate, rng(0))
        counted = np.array([[np.mean(changed[true] == pseudo) for pseudo in range(3)] for true in range(3)])
        assert counted == pytest.approx(ntm, abs=0.012)  # five sd of the mean of 40 000
        assert np.array_equal(counted == 0, ntm == 0)


def test_boundary_by_hand() -> None:
    """At rate 1 there is no chance but the coin: all of the gland goes, or as much again comes, the nearest first."""
    after = {boundary(a_square(), 1.0, rng(seed)).tobytes() for seed in range(20)}
    grown = a_square()
    grown[2, 3:7], grown[3:5, 2], grown[3:5, 7] = 1, 1, 1  # 16 have an edge in common with the gland
    grown[7, 3:7], grown[5:7, 2], grown[5:7, 7] = 2, 2, 2
    assert after == {grown.tobytes(), np.zeros_like(grown).tobytes()}


def test_boundary_changes_the_rate_of_the_gland_in_the_mean() -> None:
    labels = a_square(side=4, slices=4000)
    for rate in (0.1, 0.5, 0.9):
        changed = boundary(labels, rate, rng(1))
        sizes = (changed > 0).sum(axis=(0, 1))
        assert np.mean(sizes < 16) == pytest.approx(np.mean(sizes > 16), abs=0.1)
        assert (changed != labels).sum() / (labels > 0).sum() == pytest.approx(rate, abs=0.01)
        assert np.ptp(sizes[sizes < 16]) > 0  # the amount is drawn, too


def distances(of: NDArray[np.bool_], to: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of each pixel of one mask to the nearest of another, by trying all."""
    apart = np.argwhere(of)[:, None] - np.argwhere(to)[None]
    return np.sqrt((apart**2).sum(axis=-1)).min(axis=1)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), rate=RATES)
def test_boundary_takes_the_nearest_in_each_slice_as_many_as_it_drew(seed: int, rate: float) -> None:
    labels = random_labels(seed)
    changed = boundary(labels, rate, rng(seed))
    for before, after in zip(labels.transpose(2, 0, 1), changed.transpose(2, 0, 1), strict=True):
        moved = before != after
        gland, background = (before == 1) | (before == 2), before == 0
        if not (gland.any() and background.any()):
            assert not moved.any()
            continue
        grows = bool((moved & background).any())
        assert not (moved & ~(background if grows else gland)).any()
        width = min(rate, 1 - rate) / 2
        lowest = min(gland.sum() * (rate - width), background.sum()) if grows else gland.sum() * (rate - width)
        assert lowest - 0.5 <= moved.sum() <= gland.sum() * (rate + width) + 0.5
        kept = (background if grows else gland) & ~moved
        if moved.any() and kept.any():
            towards = gland if grows else background
            assert distances(moved, towards).max() <= distances(kept, towards).min()


def test_noise_of_a_case_is_its_own_and_always_the_same() -> None:
    labels, noise = a_square(), LabelNoise("symmetric", 0.5, 3)
    first = noise.applied(labels, "case-1", 1)
    assert np.array_equal(first, noise.applied(labels, "case-1", 1))
    for other in (noise.applied(labels, "case-2", 1), noise.applied(labels, "case-1", 2)):
        assert not np.array_equal(first, other)
    assert not np.array_equal(first, LabelNoise("symmetric", 0.5, 4).applied(labels, "case-1", 1))
    assert first[:, :, 0][3].tolist() == [1, 0, 2, 0, 0, 1, 0, 0, 1, 0]  # golden


def test_the_text() -> None:
    assert read_label_noise("none", 7) is None
    assert read_label_noise("boundary:0.9", 7) == LabelNoise("boundary", 0.9, 7)


@pytest.mark.parametrize(
    "text",
    [
        *("", "symmetric", "symmetric:", "symmetric:0", "symmetric:-1", "symmetric:0.91", "symmetric:nan"),
        *("symmetrical:0.1", ":0.1", "none:0.1", "symmetric:0.1:0.2", "symmetric:inf", "symmetric:a\nb"),
    ],
)
def test_bad_text_is_one_line(text: str) -> None:
    with pytest.raises(
        SettingsError, match=r"^label_noise .*; allowed are none or KIND:RATE, .*0 < RATE ≤ 0\.9"
    ) as told:
        read_label_noise(text, 0)
    assert "\n" not in str(told.value)
