"""Lines of a table: by hand, laws, and SciPy's bootstrap as the oracle."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.metrics import paired_bootstrap, summarize

scores = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=12)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_summarize_by_hand() -> None:
    summary = summarize([0.8, math.nan, 0.6, 1.0])
    assert summary == (pytest.approx(0.8), pytest.approx(0.2), 3, 1)


def test_too_few_values() -> None:
    assert summarize([0.5])[0] == 0.5
    assert math.isnan(summarize([0.5]).sd)
    assert math.isnan(summarize([math.nan]).mean)
    assert (summarize([]).n, summarize([math.nan]).n_nan) == (0, 1)


def test_a_missed_gland_is_not_left_out() -> None:
    summary = summarize([2.0, math.inf])
    assert summary.mean == math.inf
    assert summary.n == 2


@given(scores, st.integers(0, 5))
def test_nan_changes_the_count_alone(values, missing) -> None:
    summary = summarize(values + [math.nan] * missing)
    assert summary[:3] == summarize(values)[:3]
    assert summary.n_nan == missing


@given(scores)
def test_the_interval_holds_the_mean_and_turns_with_the_sign(values) -> None:
    zeros = [0.0] * len(values)
    there = paired_bootstrap(values, zeros, generator=seeded(), resamples=500)
    back = paired_bootstrap(zeros, values, generator=seeded(), resamples=500)
    assert there == pytest.approx((-back.mean, -back.high, -back.low))
    assert min(values) - 1e-9 <= there.low <= there.high <= max(values) + 1e-9


def test_a_constant_difference_has_no_width() -> None:
    a = torch.linspace(0.5, 0.9, 10, dtype=torch.float64)
    assert paired_bootstrap(a + 0.125, a, generator=seeded(), resamples=100) == pytest.approx((0.125,) * 3)


def test_pairs_with_a_missing_value_are_left_out() -> None:
    interval = paired_bootstrap([0.9, math.nan, 0.5], [0.5, 0.1, math.nan], generator=seeded(), resamples=50)
    assert interval == pytest.approx((0.4, 0.4, 0.4))
    nothing = paired_bootstrap([math.nan], [1.0], generator=seeded())
    assert all(math.isnan(number) for number in nothing)


def test_the_same_generator_gives_the_same_interval() -> None:
    a, b = torch.rand(2, 20, generator=seeded(5))
    first, again = (paired_bootstrap(a, b, generator=seeded(1), resamples=200) for _ in range(2))
    assert first == again
    assert first != paired_bootstrap(a, b, generator=seeded(2), resamples=200)


def test_agrees_with_scipy() -> None:
    a, b = torch.rand(2, 30, generator=seeded(3), dtype=torch.float64)
    oracle = stats.bootstrap(
        ((a - b).numpy(),), np.mean, method="percentile", n_resamples=20000, rng=np.random.default_rng(0)
    ).confidence_interval
    interval = paired_bootstrap(a, b, generator=seeded(), resamples=20000)
    assert interval[1:] == pytest.approx((oracle.low, oracle.high), abs=0.01)


def test_mistakes_are_told() -> None:
    with pytest.raises(ShapeError, match="2 and 1 values"):
        paired_bootstrap([0.1, 0.2], [0.3], generator=seeded())
    for wrong in ({"level": 1.0}, {"level": 0.0}, {"resamples": 0}):
        with pytest.raises(SettingsError, match="allowed"):
            paired_bootstrap([0.1], [0.3], generator=seeded(), **wrong)
