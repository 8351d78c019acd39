"""How sure a prediction is: golden numbers by hand, and the edges (one class, underflow, nobody sure)."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from prostate_uda.maths.entropy import guiding_labels, half_squares, normalized_entropy, rarity
from prostate_uda.maths.losses import IGNORE

SURE = torch.tensor([300.0, -300.0, 0.0])
"""Its softmax is (1, 0, 0): both zeros have underflowed."""


def pixels(*distributions: list[float]) -> Tensor:
    """Logits ``(1, C, 1, W)`` whose softmax these are, a pixel each."""
    return torch.tensor(distributions).log().t()[None, :, None, :]


def test_normalized_entropy_by_hand() -> None:
    # (½, ¼, ¼): ½ log 2 + ½ log 4 = 1.5 log 2; (⅓, ⅓, ⅓): log 3; both over log 3
    found = normalized_entropy(pixels([0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]))
    assert found.shape == (1, 1, 2)
    assert found.flatten().tolist() == pytest.approx([1.5 * math.log(2) / math.log(3), 1.0], rel=1e-6)


def test_half_squares_by_hand() -> None:
    # (½, ¼, ¼): ½ (1/4 + 1/16 + 1/16) = 3/16; (⅓, ⅓, ⅓): 1/6
    found = half_squares(pixels([0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]))
    assert found.shape == (1, 1, 2)
    assert found.flatten().tolist() == pytest.approx([3 / 16, 1 / 6], rel=1e-6)


def test_the_slope_of_the_squares_stays_small_where_that_of_the_entropy_does_not() -> None:
    """What the paper is about; two classes, p = 0.01: entropy pulls p with log(p / (1 - p)), squares with 2p - 1."""
    probs = torch.tensor([0.99, 0.01], dtype=torch.float64)
    logits = probs.log().view(1, 2, 1, 1).requires_grad_(True)
    (square,) = torch.autograd.grad(half_squares(logits).sum(), logits)
    (entropy,) = torch.autograd.grad(normalized_entropy(logits).sum(), logits)
    # by the chain rule dp/dz = p (1 - p) on the two-class line
    assert square.flatten()[0].item() == pytest.approx(0.99 * 0.01 * (0.99 - 0.01), rel=1e-6)
    assert -entropy.flatten()[0].item() == pytest.approx(0.99 * 0.01 * math.log(99) / math.log(2), rel=1e-6)


@pytest.mark.parametrize(("measure", "value"), [(normalized_entropy, 0.0), (half_squares, 0.5)])
def test_a_prediction_that_underflows_is_sure_and_is_not_pushed(measure: object, value: float) -> None:
    logits = SURE.view(1, 3, 1, 1).clone().requires_grad_(True)
    found = measure(logits)  # type: ignore[operator]
    (slope,) = torch.autograd.grad(found.sum(), logits)
    assert found.item() == value
    assert slope.flatten().tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("measure", "value"), [(normalized_entropy, 0.0), (half_squares, 0.5)])
def test_one_class_is_always_sure(measure: object, value: float) -> None:
    logits = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    found = measure(logits)  # type: ignore[operator]
    (slope,) = torch.autograd.grad(found.sum(), logits)
    assert found.flatten().tolist() == [value] * 18
    assert not bool(slope.any())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5), scale=st.floats(0.0, 50.0))
def test_both_stay_within_their_bounds(seed: int, classes: int, scale: float) -> None:
    logits = scale * torch.randn(2, classes, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    entropy, squares = normalized_entropy(logits), half_squares(logits)
    assert -1e-12 <= float(entropy.min()) <= float(entropy.max()) <= 1 + 1e-12
    assert 1 / (2 * classes) - 1e-12 <= float(squares.min()) <= float(squares.max()) <= 0.5 + 1e-12


@pytest.mark.parametrize("measure", [normalized_entropy, half_squares])
def test_slopes_agree_with_differences(measure: object) -> None:
    rng = torch.Generator().manual_seed(3)
    assert gradcheck(measure, torch.randn(2, 3, 2, 2, generator=rng, dtype=torch.float64).requires_grad_(True))  # type: ignore[arg-type]


@pytest.mark.parametrize("measure", [normalized_entropy, half_squares])
def test_half_precision_is_widened(measure: object) -> None:
    logits = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(measure(logits), measure(logits.float()))  # type: ignore[operator]


def test_rarity_by_hand() -> None:
    # first image: three of four pixels are 0, one is 2; second: all are 1
    prediction = torch.tensor([[[0, 0], [0, 2]], [[1, 1], [1, 1]]])
    assert rarity(prediction, 3, 1.0).flatten().tolist() == pytest.approx([4 / 3] * 3 + [4.0] + [1.0] * 4)
    assert rarity(prediction, 3, 0.5).flatten().tolist() == pytest.approx([(4 / 3) ** 0.5] * 3 + [2.0] + [1.0] * 4)
    assert rarity(prediction, 3, 0.0).flatten().tolist() == [1.0] * 8
    assert rarity(torch.zeros(1, 2, 2, dtype=torch.long), 1, 0.2).flatten().tolist() == [1.0] * 4


def test_guiding_labels_by_hand() -> None:
    # both unsure; the shallow sure (mean 0.65 / 0.35); the deep sure; both sure of something else (mean 0.51: class 0)
    shallow = pixels([0.6, 0.4], [0.96, 0.04], [0.3, 0.7], [0.98, 0.02])
    deep = pixels([0.7, 0.3], [0.34, 0.66], [0.01, 0.99], [0.04, 0.96])
    assert guiding_labels(shallow, deep, 0.95).flatten().tolist() == [IGNORE, 0, 1, 0]
    assert guiding_labels(shallow, deep, 0.0).flatten().tolist() == [0, 0, 1, 0]
    assert guiding_labels(shallow, deep, 1.0).flatten().tolist() == [IGNORE] * 4


def test_guiding_labels_have_the_pixels_of_the_heads_and_no_slope() -> None:
    rng = torch.Generator().manual_seed(0)
    heads = [torch.randn(2, 3, 4, 5, generator=rng, requires_grad=True) for _ in range(2)]
    label = guiding_labels(heads[0], heads[1], 0.5)
    assert label.shape == (2, 4, 5)
    assert label.dtype == torch.long
    assert not label.requires_grad
