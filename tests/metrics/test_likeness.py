"""How unlike two scans' grey values are: against scipy's Wasserstein distance, and what is usual for a set."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from prostate_uda.errors import ShapeError
from prostate_uda.metrics.likeness import LEVELS, MARGIN, distance, profile, typical


def sample(seed: int, shift: float = 0.0, scale: float = 1.0, skew: float = 0.0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    drawn = rng.normal(shift, scale, 20_000)
    return torch.from_numpy(drawn + skew * rng.exponential(1.0, drawn.size)).reshape(20, 50, 20).float()


def test_the_profile_is_numpys_quantiles() -> None:
    image = sample(0, skew=2.0)
    assert len(LEVELS) == 25
    assert LEVELS[-1] == pytest.approx(0.98)
    np.testing.assert_allclose(profile(image), np.quantile(image.numpy().astype(np.float64), LEVELS), atol=1e-9)


def test_a_large_scan_is_described_by_a_part_of_it() -> None:
    """More than torch's quantile takes."""
    image = torch.linspace(0, 1, 17_000_001)
    np.testing.assert_allclose(profile(image), LEVELS, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(-3, 3), st.floats(0.2, 3), st.floats(0, 2))
def test_scipys_distance(seed: int, shift: float, scale: float, skew: float) -> None:
    one, other = sample(seed), sample(seed + 1, shift, scale, skew)
    oracle = wasserstein_distance(one.flatten().numpy(), other.flatten().numpy())
    found = distance(profile(one), profile(other))
    assert found == pytest.approx(oracle, rel=0.1, abs=0.03)


def test_laws_of_a_distance() -> None:
    one, other, third = (profile(sample(seed, shift)) for seed, shift in ((0, 0.0), (1, 1.0), (2, -2.0)))
    assert distance(one, one) == 0
    assert distance(one, other) == distance(other, one) > 0
    assert distance(one, third) <= distance(one, other) + distance(other, third)
    assert distance(one, one + 0.5) == pytest.approx(0.5)
    with pytest.raises(ShapeError, match="25 quantiles beside 24; equally many are needed"):
        distance(one, other[1:])


def test_typical_by_hand() -> None:
    flat = [torch.full((25,), value) for value in (0.0, 1.0, 5.0)]
    mean, limit = typical(flat)
    assert mean.tolist() == pytest.approx([2.0] * 25)
    assert limit == pytest.approx(MARGIN * 3.0)  # 0 against the mean of 1 and 5; the others are 1.5 and 4.5 away


def test_typical_of_one_leaves_nothing_to_compare() -> None:
    one = profile(sample(0))
    mean, limit = typical([one])
    assert torch.equal(mean, one)
    assert limit == 0
    with pytest.raises(ShapeError, match="no profile; a training set has one scan at least"):
        typical([])


def test_training_scans_are_usual_and_another_contrast_is_not() -> None:
    training = [profile(sample(seed, 0.1 * seed)) for seed in range(5)]
    mean, limit = typical(training)
    assert all(distance(one, mean) < limit for one in training)
    assert distance(profile(sample(9, 3.0, 2.0)), mean) > limit
