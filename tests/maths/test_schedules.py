"""Poly decay: golden numbers and its laws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prostate_uda.maths.schedules import poly


def test_poly_by_hand() -> None:
    assert poly(0, 100, 0.9) == 1.0
    assert poly(75, 100, 0.5) == 0.5  # (1/4)^(1/2)
    assert poly(50, 100, 2.0) == 0.25
    assert poly(100, 100, 0.9) == 0.0
    assert poly(150, 100, 0.9) == 0.0  # past the end
    assert poly(3, 0, 0.9) == 0.0  # no steps at all


@pytest.mark.parametrize("step", [0, 7, 10, 11])
def test_power_zero_is_constant_also_past_the_end(step: int) -> None:
    assert poly(step, 10, 0.0) == 1.0


@given(step=st.integers(0, 1000), total=st.integers(1, 1000), power=st.floats(0.01, 5))
def test_it_falls_from_one_to_zero(step: int, total: int, power: float) -> None:
    assert 0 <= poly(step + 1, total, power) <= poly(step, total, power) <= 1
