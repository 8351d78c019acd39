"""Entropy minimization: its step beside the same step written out, and what it must not look at."""

import pytest
import torch
from torch import Tensor

from prostate_uda.data.batch import Batch
from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.methods import EntropyMinimization, Optimization
from prostate_uda.networks import DeepLab, Levels
from tests.methods.test_baselines import (
    SGD,
    assert_batch_norm_follows_the_target,
    batch,
    expected_after_one_step,
    plain_loss,
    tiny,
)


def entropy(logits: Tensor) -> Tensor:
    probs = logits.softmax(dim=1)
    return -(probs * probs.log()).sum(dim=1).mean() / torch.tensor(3.0, dtype=torch.float64).log()


def test_the_weights_move_by_the_expected_amounts_and_the_targets_label_is_not_read() -> None:
    method = EntropyMinimization(target_weight=0.5)
    net, source, target = tiny(), batch(1), batch(2)

    def loss(copy: DeepLab) -> Tensor:
        shallow, deep = copy(target.image).logits
        return plain_loss(copy, source) + 0.5 * (0.1 * entropy(shallow) + entropy(deep))

    expected = expected_after_one_step(net, loss)
    blind = Batch(image=target.image, label=torch.full_like(target.label, IGNORE))
    found = method.step(method.prepare(net, SGD), source, blind)
    torch.testing.assert_close({name: value.detach() for name, value in net.named_parameters()}, expected)
    assert set(found) == {"source", "target"}
    assert method.needs == frozenset()


def test_batch_norm_follows_the_target() -> None:
    assert_batch_norm_follows_the_target(EntropyMinimization())


def test_the_target_term_by_hand() -> None:
    # two equal classes: 1 at the shallow head; (¼, ¾) and (1, 0) at the deep one
    quarter = (0.25 * 2 + 0.75 * 0.4150375) / 1.0  # in bits, of one bit
    deep = torch.tensor([[0.25, 1.0], [0.75, 1e-30]]).log().view(1, 2, 1, 2)
    levels = Levels(logits=(torch.zeros(1, 2, 1, 2), deep), features=())
    found = EntropyMinimization(level_weights=(0.1, 2.0)).doubt(levels)
    assert found.item() == pytest.approx(0.1 * 1.0 + 2.0 * (quarter + 0.0) / 2, rel=1e-6)


def test_a_level_of_weight_zero_is_not_computed_with() -> None:
    levels = Levels(logits=(torch.full((1, 2, 1, 1), torch.nan), torch.zeros(1, 2, 1, 1)), features=())
    assert EntropyMinimization(level_weights=(0.0, 1.0)).doubt(levels).item() == pytest.approx(1.0)


def test_the_target_becomes_surer() -> None:
    net, source, target = tiny(), batch(1), batch(2)
    method = EntropyMinimization(target_weight=10.0)
    state = method.prepare(net, Optimization(learning_rate=5e-3))
    first, *_, last = [float(method.step(state, source, target)["target"]) for _ in range(10)]
    assert last < 0.9 * first


@pytest.mark.parametrize("weight", [-0.1, float("nan")])
def test_impossible_settings_are_one_line(weight: float) -> None:
    with pytest.raises(SettingsError, match=r"^target_weight .*; allowed is 0 or more$"):
        EntropyMinimization(target_weight=weight)


def test_one_weight_per_head() -> None:
    method = EntropyMinimization(level_weights=(1.0,))
    with pytest.raises(ShapeError, match="give one weight per head"):
        method.step(method.prepare(tiny(), SGD), batch(1), batch(2))
