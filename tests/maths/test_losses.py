"""Losses: golden numbers by hand, torch's own losses as oracle, and the edges (nothing labelled, probability zero)."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from prostate_uda.errors import ShapeError
from prostate_uda.maths.losses import IGNORE, cross_entropy, masked_nll, safe_log, weighted_sum


def scene(seed: int, ignored: float = 0.3, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Logits ``(2, classes, 4, 5)`` in float64 and labels of which about that share is ignored."""
    rng = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, classes, 4, 5, generator=rng, dtype=torch.float64)
    label = torch.randint(classes, (2, 4, 5), generator=rng)
    label[torch.rand(label.shape, generator=rng) < ignored] = IGNORE
    return logits, label


def test_masked_nll_by_hand() -> None:
    # three pixels: p(label) = 1/2, 1/8 and one without a label
    # mean over the two labelled: (log 2 + log 8) / 2 = (log 2 + 3 log 2) / 2 = 2 log 2
    probs = torch.tensor([[[[0.5, 0.75, 0.9]], [[0.25, 0.125, 0.05]], [[0.25, 0.125, 0.05]]]])
    label = torch.tensor([[[0, 2, IGNORE]]])
    assert float(masked_nll(probs.log(), label)) == pytest.approx(2 * math.log(2), rel=1e-6)


def test_cross_entropy_by_hand() -> None:
    # logits (log 3, 0): p = (3/4, 1/4). Labels 0 and 1: mean = -(log 3/4 + log 1/4) / 2 = log 4 - log(3) / 2
    logits = torch.tensor([[[[math.log(3), math.log(3)]], [[0.0, 0.0]]]])
    label = torch.tensor([[[0, 1]]])
    assert float(cross_entropy(logits, label)) == pytest.approx(math.log(4) - math.log(3) / 2, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), ignored=st.sampled_from([0.0, 0.3, 0.9]), classes=st.integers(2, 5))
def test_both_agree_with_torch(seed: int, ignored: float, classes: int) -> None:
    logits, label = scene(seed, ignored, classes)
    label[0, 0, 0] = 0  # torch's mean over nothing is NaN
    log_probs = logits.log_softmax(dim=1)
    torch.testing.assert_close(masked_nll(log_probs, label), functional.nll_loss(log_probs, label, ignore_index=IGNORE))
    torch.testing.assert_close(
        cross_entropy(logits, label), functional.cross_entropy(logits, label, ignore_index=IGNORE)
    )


@pytest.mark.parametrize("loss", [masked_nll, cross_entropy])
def test_nothing_labelled_is_exactly_zero_with_a_zero_gradient(loss: object) -> None:
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    value = loss(logits, torch.full((2, 4, 4), IGNORE))  # type: ignore[operator]
    (slope,) = torch.autograd.grad(value, logits)
    assert float(value.detach()) == 0.0
    assert not bool(slope.any())


def test_an_ignored_pixel_has_no_gradient_even_where_its_value_is_infinite() -> None:
    log_probs = torch.tensor([[[[-1.0, -torch.inf]], [[-1.0, -torch.inf]]]], requires_grad=True)
    value = masked_nll(log_probs, torch.tensor([[[1, IGNORE]]]))
    (slope,) = torch.autograd.grad(value, log_probs)
    assert float(value.detach()) == 1.0
    assert slope.tolist() == [[[[0.0, 0.0]], [[-1.0, 0.0]]]]


def test_cross_entropy_survives_logits_that_underflow_a_softmax() -> None:
    logits = torch.tensor([[[[300.0]], [[-300.0]]]], requires_grad=True)
    value = cross_entropy(logits, torch.tensor([[[1]]]))
    (slope,) = torch.autograd.grad(value, logits)
    assert float(value.detach()) == 600.0
    assert slope.flatten().tolist() == [1.0, -1.0]


def test_it_is_differentiable_twice_through_a_strided_input() -> None:
    logits, label = scene(3)
    strided = logits.permute(0, 2, 3, 1).contiguous().requires_grad_(True)  # channels last, as an einsum leaves it

    def loss(values: Tensor) -> Tensor:
        return cross_entropy(values.permute(0, 3, 1, 2), label)

    assert gradcheck(loss, (strided,))
    assert gradgradcheck(loss, (strided,))


@pytest.mark.parametrize("shape", [(2, 4, 4), (1, 4, 5), (2, 1, 4, 5), (40,)])
def test_a_label_of_other_pixels_is_our_error(shape: tuple[int, ...]) -> None:
    logits, _ = scene(0)
    with pytest.raises(ShapeError, match=r"allowed is \(2, 4, 5\)"):
        masked_nll(logits, torch.zeros(shape, dtype=torch.long))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_safe_log_is_log_where_log_is_finite_and_finite_at_zero(dtype: torch.dtype) -> None:
    probs = torch.tensor([0.0, torch.finfo(dtype).tiny, 0.25, 1.0], dtype=dtype, requires_grad=True)
    logs = safe_log(probs)
    (slope,) = torch.autograd.grad(logs.sum(), probs)
    assert logs[2:].tolist() == pytest.approx([math.log(0.25), 0.0])
    assert logs[0].item() == logs[1].item() == pytest.approx(math.log(torch.finfo(dtype).tiny))
    assert bool(slope.isfinite().all())
    assert float(slope[0]) == 0.0  # a probability on the floor is not pushed: there is no number to push it to
    assert slope[2:].tolist() == [4.0, 1.0]


def test_weighted_sum_by_hand() -> None:
    # 0.1 · 2 + 1 · 3 = 3.2
    losses = [torch.tensor(2.0), torch.tensor(3.0)]
    assert float(weighted_sum(losses, (0.1, 1.0))) == pytest.approx(3.2)


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 1.0, 1.0)])
def test_one_weight_per_head(weights: tuple[float, ...]) -> None:
    with pytest.raises(ShapeError, match="2 heads; give one weight per head"):
        weighted_sum([torch.tensor(1.0), torch.tensor(1.0)], weights)
