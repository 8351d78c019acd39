"""Rectified pseudo-labels: golden numbers by hand, and the edges (nothing labelled, one class, underflow)."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from prostate_uda.errors import ShapeError
from prostate_uda.maths.losses import IGNORE, cross_entropy
from prostate_uda.maths.uncertainty import divergence, rectified_nll


def pixels(*distributions: list[float]) -> Tensor:
    """Logits ``(1, C, 1, W)`` whose softmax these are, a pixel each."""
    return torch.tensor(distributions).log().t()[None, :, None, :]


def heads(seed: int = 0, classes: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    one, other = torch.randn(2, 2, classes, 3, 4, generator=rng, dtype=torch.float64)
    label = torch.randint(classes, (2, 3, 4), generator=rng)
    label[0, 0] = IGNORE
    return one.requires_grad_(True), other.requires_grad_(True), label


def test_divergence_by_hand() -> None:
    # (½, ½) beside (¼, ¾): ½ log 2 + ½ log ⅔ = ½ log 4/3; the other way ¼ log ½ + ¾ log 3/2; equal heads: 0
    half, quarter = pixels([0.5, 0.5], [0.2, 0.8]), pixels([0.25, 0.75], [0.2, 0.8])
    assert divergence(half, quarter).flatten().tolist() == pytest.approx([0.5 * math.log(4 / 3), 0.0], abs=1e-6)
    back = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert divergence(quarter, half).flatten().tolist() == pytest.approx([back, 0.0], abs=1e-6)


def test_rectified_nll_by_hand() -> None:
    # pixel 0: V = ½ log 4/3, CE = log 2, exp(-V) = √¾; pixel 1: heads agree, CE of p = 0.8; pixel 2 has no label
    half = pixels([0.5, 0.5], [0.2, 0.8], [0.9, 0.1])
    quarter = pixels([0.25, 0.75], [0.2, 0.8], [0.1, 0.9])
    doubted = math.sqrt(3 / 4) * math.log(2) + 0.5 * math.log(4 / 3)
    found = rectified_nll(half, quarter, torch.tensor([[[0, 1, IGNORE]]]))
    assert found.item() == pytest.approx((doubted - math.log(0.8)) / 2, rel=1e-5)


def test_a_share_is_divided_by_the_count_of_all() -> None:
    one, other, label = heads()
    known = int((label != IGNORE).sum())
    whole, share = rectified_nll(one, other, label), rectified_nll(one, other, label, torch.tensor(4 * known))
    torch.testing.assert_close(4 * share, whole)


def test_heads_that_agree_are_taught_by_cross_entropy() -> None:
    one, _, label = heads()
    torch.testing.assert_close(rectified_nll(one, one.detach(), label), cross_entropy(one, label))


def test_slopes_reach_both_heads_and_agree_with_differences() -> None:
    one, other, label = heads()
    slopes = torch.autograd.grad(rectified_nll(one, other, label), (one, other))
    assert all(bool(slope.any()) for slope in slopes)
    assert all(not bool(slope[0, :, 0].any()) for slope in slopes)  # where there is no label
    assert gradcheck(lambda a, b: rectified_nll(a, b, label), (one, other))


def test_nothing_labelled_is_exactly_zero_with_a_zero_gradient() -> None:
    one, other, label = heads()
    value = rectified_nll(one, other, torch.full_like(label, IGNORE))
    slopes = torch.autograd.grad(value, (one, other))
    assert value.item() == 0.0
    assert not any(bool(slope.any()) for slope in slopes)


def test_one_class_leaves_nothing_to_learn_or_doubt() -> None:
    one, other, label = heads(classes=1)
    value = rectified_nll(one, other, torch.zeros_like(label))
    assert value.item() == 0.0
    assert not any(bool(slope.any()) for slope in torch.autograd.grad(value, (one, other)))


def test_opposite_heads_that_underflow_cost_a_finite_loss_with_a_finite_slope() -> None:
    one = torch.tensor([300.0, -300.0]).view(1, 2, 1, 1).requires_grad_(True)
    other = torch.tensor([-300.0, 300.0]).view(1, 2, 1, 1).requires_grad_(True)
    value = rectified_nll(one, other, torch.tensor([[[1]]]))
    # V = 600 and exp(-600) = 0 in float32: the label is not believed at all, and V alone remains
    assert value.item() == 600.0
    slopes = torch.autograd.grad(value, (one, other))
    assert all(bool(slope.isfinite().all()) for slope in slopes)
    assert slopes[1].flatten().tolist() == [-1.0, 1.0]  # the other head is drawn to this one


def test_half_precision_is_widened() -> None:
    one, other, label = heads()
    found = rectified_nll(one.bfloat16(), other.bfloat16(), label)
    torch.testing.assert_close(found, rectified_nll(one.bfloat16().float(), other.bfloat16().float(), label))
    assert found.dtype == torch.float32


def test_heads_of_other_shapes_are_our_error() -> None:
    one, other, label = heads()
    with pytest.raises(ShapeError, match="allowed are two heads of one shape"):
        rectified_nll(one, other[:, :2], label)
    with pytest.raises(ShapeError, match="resample the label"):
        rectified_nll(one, other, label[:, :2])
