"""Rectified self-training: its step beside the same step written out."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.errors import SettingsError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.methods import Uncertainty
from prostate_uda.networks import DeepLab, Levels
from tests.methods.test_baselines import (
    SGD,
    assert_batch_norm_follows_the_target,
    batch,
    expected_after_one_step,
    tiny,
)


def rectified(logits: Tensor, other: Tensor, label: Tensor) -> Tensor:
    doubt = functional.kl_div(
        other.log_softmax(dim=1), logits.log_softmax(dim=1), reduction="none", log_target=True
    ).sum(dim=1)
    nll = functional.cross_entropy(logits, label, ignore_index=IGNORE, reduction="none")
    return (torch.exp(-doubt) * nll + doubt)[label != IGNORE].mean()


def test_the_weights_move_by_the_expected_amounts() -> None:
    method = Uncertainty(level_weights=(0.5, 2.0), target_weight=0.25)
    net, source, target = tiny(), batch(1), batch(2)

    def loss(copy: DeepLab) -> Tensor:
        shallow, deep = copy(target.image).logits
        on_target = 0.5 * rectified(shallow, deep, target.label) + 2 * rectified(deep, shallow, target.label)
        on_source = [functional.cross_entropy(z, source.label, ignore_index=IGNORE) for z in copy(source.image).logits]
        return 0.5 * on_source[0] + 2 * on_source[1] + 0.25 * on_target

    expected = expected_after_one_step(net, loss)
    method.step(method.prepare(net, SGD), source, target)
    torch.testing.assert_close({name: value.detach() for name, value in net.named_parameters()}, expected)


def test_batch_norm_follows_the_target() -> None:
    assert_batch_norm_follows_the_target(Uncertainty())


def test_a_label_that_the_heads_doubt_teaches_less() -> None:
    deep = torch.tensor([[0.5, 0.5], [0.5, 0.5]]).log().t()[None, :, None, :].requires_grad_(True)
    shallow = torch.tensor([[0.5, 0.5], [0.05, 0.95]]).log().t()[None, :, None, :]
    label = torch.tensor([[[0, 0]]])
    with_doubt = Uncertainty(level_weights=(0.0, 1.0)).rectified(Levels((shallow, deep), ()), label)
    (slope,) = torch.autograd.grad(with_doubt, deep)
    agreed, doubted = slope[0, 0, 0].tolist()
    assert agreed == pytest.approx(-0.25)  # of CE: p - 1 = -½, over two pixels
    assert doubted > 0  # the label says class 0; that the other head says class 1 counts more


@pytest.mark.parametrize("weights", [(1.0,), (0.1, 0.5, 1.0)])
def test_two_heads_are_compared(weights: tuple[float, ...]) -> None:
    with pytest.raises(SettingsError, match="allowed are two weights, shallow and deep"):
        Uncertainty(level_weights=weights)


@pytest.mark.parametrize("weight", [-0.1, float("nan")])
def test_impossible_settings_are_one_line(weight: float) -> None:
    with pytest.raises(SettingsError, match=r"^target_weight .*; allowed is 0 or more$"):
        Uncertainty(target_weight=weight)
