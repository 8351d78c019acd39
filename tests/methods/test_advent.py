"""ADVENT: its two steps beside the same steps written out, and what alignment does to a toy."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.data.batch import Batch
from prostate_uda.engines.execution import autocast
from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.methods import Advent, Optimization, State
from prostate_uda.networks import DeepLab
from tests.builders import random_batch, tiny_deeplab
from tests.methods.test_baselines import (
    SGD,
    batch,
    expected_after_one_step,
    plain_loss,
    tiny,
)

JUDGES = ("discriminator_0", "discriminator_1")


def advent() -> Advent:
    return Advent(adversarial_weights=(0.3, 0.5), discriminator_channels=4, discriminator_stages=2)


def prepared(net: DeepLab, method: Advent) -> State:
    state = method.prepare(net, SGD, seed=3)
    for judge in state.modules.values():
        judge.double()
    return state


def doubt(logits: Tensor) -> Tensor:
    probs = logits.softmax(dim=1)
    return -probs * probs.log() / torch.tensor(3.0, dtype=torch.float64).log()


def test_the_network_moves_by_segmentation_and_deception_of_both_discriminators() -> None:
    net, source, target = tiny(), batch(1), batch(2)
    state = prepared(net, advent())
    shallow, deep = (state.modules[name] for name in JUDGES)

    def loss(copy: DeepLab) -> Tensor:
        first, second = (doubt(logits) for logits in copy(target.image).logits)
        fooling = 0.3 * functional.softplus(shallow(first)).mean() + 0.5 * functional.softplus(deep(second)).mean()
        return plain_loss(copy, source) + fooling  # BCE with label 0 is softplus(z)

    expected = expected_after_one_step(net, loss)
    blind = replace(target, label=torch.full_like(target.label, IGNORE))
    advent().step(state, source, blind)
    torch.testing.assert_close({name: value.detach() for name, value in net.named_parameters()}, expected)
    assert advent().needs == frozenset()


def test_each_discriminator_learns_from_its_own_heads_maps_from_before_the_step_alone() -> None:
    net, source, target = tiny(), batch(1), batch(2)
    state = prepared(net, advent())
    for name in JUDGES:
        state.optimizers[name] = torch.optim.SGD(state.modules[name].parameters(), lr=1.0)
    copy, judges = deepcopy(net), [deepcopy(state.modules[name]) for name in JUDGES]
    with torch.no_grad():
        maps = [[doubt(logits) for logits in copy(seen.image).logits] for seen in (source, target)]
    told, fooled = [], []
    for level, judge in enumerate(judges):
        on_source, on_target = judge(maps[0][level]), judge(maps[1][level])
        told.append((functional.softplus(on_source).mean() + functional.softplus(-on_target).mean()) / 2)
        fooled.append(functional.softplus(on_target).mean().detach())
    slopes = [torch.autograd.grad(loss, list(judge.parameters())) for loss, judge in zip(told, judges, strict=True)]
    found = advent().step(state, source, target)
    for name, judge, slope in zip(JUDGES, judges, slopes, strict=True):
        expected = [value.detach() - along for value, along in zip(judge.parameters(), slope, strict=True)]
        torch.testing.assert_close([value.detach() for value in state.modules[name].parameters()], expected)
    torch.testing.assert_close(found["discriminator"], (told[0] + told[1]).detach() / 2)
    torch.testing.assert_close(found["fooling"], (0.3 * fooled[0] + 0.5 * fooled[1]) / 0.8)


def test_batch_norm_follows_the_target() -> None:
    net, source, target = tiny(), batch(1), batch(2)
    alone = deepcopy(net)
    alone(target.image)
    advent().step(prepared(net, advent()), source, target)
    torch.testing.assert_close(dict(net.named_buffers()), dict(alone.named_buffers()), rtol=0, atol=0)


def test_a_level_of_weight_zero_has_no_discriminator() -> None:
    method = replace(advent(), adversarial_weights=(0.0, 1.0))
    state = prepared(tiny(), method)
    assert set(state.modules) == {"discriminator_1"}
    assert set(state.optimizers) == {"network", "discriminator_1"}
    assert method.step(state, batch(1), batch(2))["fooling"].isfinite()


def test_the_discriminators_first_weights_differ_and_are_of_the_seed() -> None:
    def first(seed: int) -> list[Tensor]:
        state = advent().prepare(tiny(), SGD, seed=seed)
        return [next(state.modules[name].parameters()) for name in JUDGES]

    before = torch.get_rng_state()
    one, again, other = first(1), first(1), first(5)
    assert all(map(torch.equal, one, again))
    assert not any(map(torch.equal, one, other))
    assert not torch.equal(*one)
    assert torch.equal(torch.get_rng_state(), before)


def scanner(sure: bool, seed: int) -> Batch:
    """Two bright squares, well seen in the source; the target's are pale and noisy, so that the network doubts."""
    rng = torch.Generator().manual_seed(seed)
    label = torch.zeros(4, 32, 32, dtype=torch.int64)
    for each in range(4):
        row, column = torch.randint(2, 14, (2,), generator=rng).tolist()
        label[each, row : row + 14, column : column + 14] = 1
        label[each, row + 4 : row + 10, column + 4 : column + 10] = 2
    noise = torch.randn(4, 1, 32, 32, generator=rng)
    image = label[:, None].float() * (1.0 if sure else 0.35) + noise * (0.1 if sure else 0.3)
    return Batch(image, label if sure else torch.full_like(label, IGNORE))


def doubts(net: DeepLab, *, sure: bool) -> float:
    """Mean entropy of the network's predictions on slices it has not seen."""
    with torch.no_grad():
        maps = [doubt(net(scanner(sure, seed).image).final.double()) for seed in (901, 902)]
    return float(torch.cat(maps).sum(dim=1).mean())


def test_the_doubt_of_the_target_comes_down_to_the_sources_and_without_a_weight_it_does_not() -> None:
    gaps = []
    for weights in ((0.0, 1e-12), (0.01, 0.05)):
        net = tiny_deeplab(1, frozen_bn=True)  # statistics of its own would hide how pale the target is
        method = Advent(
            adversarial_weights=weights, discriminator_channels=8, discriminator_stages=3, discriminator_rate=2e-3
        )
        state = method.prepare(net, Optimization(learning_rate=5e-3, power=0.0))
        first, *_, last = [
            float(method.step(state, scanner(True, step), scanner(False, 500 + step))["source"]) for step in range(50)
        ]
        assert last < 0.5 * first
        gaps.append(doubts(net, sure=False) - doubts(net, sure=True))
    assert gaps[0] > 0.1
    assert abs(gaps[1]) < 0.5 * gaps[0]


def test_a_step_under_bf16_and_with_other_channels_and_classes_is_finite() -> None:
    net = tiny_deeplab(in_channels=3, num_classes=19)
    method = Advent(discriminator_channels=4, discriminator_stages=2)
    state = method.prepare(net, Optimization())
    rgb = Batch(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)), random_batch(0).label)
    with autocast(torch.device("cpu"), {}):
        found = method.step(state, rgb, rgb)
    assert all(bool(value.isfinite()) for value in found.values())
    assert all(bool(value.isfinite().all()) for value in net.state_dict().values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"adversarial_weights": (0.1,)},
            r"^adversarial_weights \(0.1,\) beside level_weights .*; allowed are as many",
        ),
        ({"adversarial_weights": (0.0, 0.0)}, "at least one of them > 0"),
        ({"adversarial_weights": (-0.1, 1.0)}, "as many weights ≥ 0"),
        ({"adversarial_weights": (float("nan"), 1.0)}, "as many weights ≥ 0"),
        ({"discriminator_rate": 0.0}, "discriminator_rate 0.0; allowed is a rate > 0"),
        ({"discriminator_stages": 0}, "allowed is 1 or more for both"),
        ({"level_weights": (0.0, 0.0)}, "at least one of them > 0"),
    ],
)
def test_impossible_settings_are_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Advent(**changes)  # type: ignore[arg-type]


def test_one_weight_per_head() -> None:
    method = Advent(level_weights=(1.0,), adversarial_weights=(1.0,), discriminator_stages=2)
    with pytest.raises(ShapeError, match="give one weight per head"):
        method.step(prepared(tiny(), method), batch(1), batch(2))
