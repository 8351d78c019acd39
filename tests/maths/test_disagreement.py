"""How far heads disagree: golden numbers by hand, and what holds for any heads."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from torch import Tensor

from prostate_uda.errors import ShapeError
from prostate_uda.maths.uncertainty import disagreement


def head(*shares: float) -> Tensor:
    return torch.tensor(shares, dtype=torch.float64).log()


@st.composite
def several_heads(draw: st.DrawFn) -> list[Tensor]:
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.sampled_from([0.1, 1.0, 30.0, 1000.0]))
    count, classes = draw(st.integers(2, 4)), draw(st.integers(1, 4))
    return [scale * torch.randn(classes, 5, 3, generator=rng) for _ in range(count)]


def test_by_hand() -> None:
    # mean (½, ½): entropy 1 bit; each head's own: H(¼) = 2 - ¾ log2 3 bits
    own = 2 - 0.75 * math.log2(3)
    assert disagreement([head(0.25, 0.75), head(0.75, 0.25)]).item() == pytest.approx(1 - own, abs=1e-12)
    # (1, 0), (½, ½): mean (¾, ¼), own 0 and 1 bit
    sure = torch.tensor([0.0, -800.0], dtype=torch.float64)
    assert disagreement([sure, head(0.5, 0.5)]).item() == pytest.approx(own - 0.5, abs=1e-12)


def test_certain_opposite_heads_are_at_one_and_equal_ones_at_zero() -> None:
    one, other = torch.tensor([500.0, -500.0, -500.0]), torch.tensor([-500.0, 500.0, -500.0])
    third = torch.tensor([-500.0, -500.0, 500.0])
    assert disagreement([one, other]).item() == pytest.approx(1, abs=1e-6)
    assert disagreement([one, other, third]).item() == pytest.approx(1, abs=1e-6)
    assert disagreement([one, one]).item() == 0
    # three of which two agree: H(⅔, ⅓) over log 3
    mixed = math.log(3) - 2 / 3 * math.log(2)
    assert disagreement([one, one, other]).item() == pytest.approx(mixed / math.log(3), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(several_heads())
def test_laws(levels: list[Tensor]) -> None:
    found = disagreement(levels)
    assert found.shape == levels[0].shape[1:]
    assert bool(((found >= 0) & (found <= 1 + 1e-6)).all())
    torch.testing.assert_close(disagreement(levels[::-1]), found, atol=1e-5, rtol=0)
    torch.testing.assert_close(disagreement([z + 7 for z in levels]), found, atol=2e-4, rtol=0)
    turned = [z.roll(1, dims=0) for z in levels]
    torch.testing.assert_close(disagreement(turned), found, atol=1e-5, rtol=0)
    assert disagreement([levels[0]] * len(levels)).max().item() < 1e-5


@settings(max_examples=30, deadline=None)
@given(several_heads())
def test_two_heads_are_scipys_distance_squared(levels: list[Tensor]) -> None:
    one, other = (z.double().softmax(dim=0).numpy() for z in levels[:2])
    oracle = torch.from_numpy(jensenshannon(one, other, base=2, axis=0) ** 2).nan_to_num()
    torch.testing.assert_close(disagreement([z.double() for z in levels[:2]]), oracle, atol=1e-7, rtol=0)


def test_half_precision_is_widened() -> None:
    rng = torch.Generator().manual_seed(0)
    levels = [torch.randn(3, 4, generator=rng).bfloat16() for _ in range(2)]
    found = disagreement(levels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, disagreement([z.float() for z in levels]))


@pytest.mark.parametrize("shapes", [[], [(3, 4)], [(3, 4), (3, 5)], [(3, 4), (2, 4)], [(3, 4), (3, 4), (3, 4, 1)]])
def test_one_head_or_other_shapes_are_our_error(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(ShapeError, match=rf"^{len(shapes)} heads of shapes .*two or more of one shape are needed"):
        disagreement([torch.zeros(shape) for shape in shapes])
