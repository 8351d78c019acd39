"""MLSL's step beside the same step written out, its rule by rounds, and what a few steps do."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from prostate_uda.data.batch import Batch
from prostate_uda.errors import SettingsError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.maths.selection import BalancedSelection
from prostate_uda.methods import MLSL, Optimization, build_method
from prostate_uda.networks import DeepLab, FinalLogits
from prostate_uda.networks.voting import Voting
from tests.builders import random_batch, tiny_deeplab
from tests.methods.test_baselines import (
    DECAY,
    HEADS,
    RATE,
    SGD,
    assert_batch_norm_follows_the_target,
    batch,
    expected_after_one_step,
    plain_loss,
    tiny,
)
from tests.methods.toy_domains import ADAM, mistaken, taught, toy_source, toy_target


def presence(copy: DeepLab, classifier: nn.Module, shown: Batch) -> Tensor:
    """Image by image, class by class."""
    said = classifier(copy(shown.image).features[-1].mean(dim=(2, 3))).sigmoid()
    terms = []
    for chances, label in zip(said, shown.label, strict=True):
        if bool((label != IGNORE).any()):
            there = [bool((label == c).any()) for c in range(3)]
            terms += [-torch.log(p if is_in else 1 - p) for p, is_in in zip(chances, there, strict=True)]
    return torch.stack(terms).mean()


def rare(shown: Batch) -> Batch:
    """The first image without class 1, the second with no label at all."""
    label = shown.label.clone()
    label[0][label[0] == 1] = 0
    label[1] = IGNORE
    return Batch(shown.image, label)


def test_network_and_classifier_move_by_the_expected_amounts() -> None:
    method = MLSL(target_weight=0.25, presence_weight=0.5, presence_channels=6)
    net, source, target = tiny(), batch(1), rare(batch(2))
    state = method.prepare(net, SGD, seed=3)
    classifier = state.modules["presence"]
    start = deepcopy(classifier)

    def loss(copy: DeepLab, judge: nn.Module = start) -> Tensor:
        weak = presence(copy, judge, source) + presence(copy, judge, target)
        return plain_loss(copy, source) + 0.25 * plain_loss(copy, target) + 0.5 * weak

    expected = expected_after_one_step(net, loss)
    slopes = torch.autograd.grad(loss(deepcopy(net)), list(start.parameters()))
    method.step(state, source, target)
    torch.testing.assert_close({name: value.detach() for name, value in net.named_parameters()}, expected)
    moved = [w - RATE * HEADS * (slope + DECAY * w) for w, slope in zip(start.parameters(), slopes, strict=True)]
    torch.testing.assert_close([value.detach() for value in classifier.parameters()], [w.detach() for w in moved])


def test_batch_norm_follows_the_target() -> None:
    assert_batch_norm_follows_the_target(MLSL())


def test_preparing_leaves_the_network_as_it_is() -> None:
    net = tiny_deeplab()
    before = deepcopy(net.state_dict())
    state = MLSL().prepare(net, SGD, seed=1)
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)
    first, _, last = state.modules["presence"]
    assert (first.in_features, last.out_features) == (4, 3)  # features of the deepest level, classes
    other = MLSL().prepare(tiny_deeplab(), SGD, seed=2).modules["presence"][0].weight
    assert not torch.equal(first.weight, other)


def test_the_classifier_s_rate_decays_with_the_others() -> None:
    state = MLSL().prepare(tiny_deeplab(), Optimization(learning_rate=0.1, head_factor=10, total_steps=10, power=1.0))
    for step in range(3):
        MLSL().step(state, random_batch(step), random_batch(10 + step))
    rates = [group["lr"] for group in state.optimizers["network"].param_groups]
    assert rates == pytest.approx([0.08, 0.8, 0.8])


def test_the_portion_grows_by_rounds_and_the_rule_tells_the_votes() -> None:
    method = MLSL(window_scales=(0.5,), vote="soft")
    assert [method.selection(n).portion for n in (1, 2, 5, 9)] == pytest.approx([0.3, 0.35, 0.5, 0.5])
    assert isinstance(method.selection(1), BalancedSelection)
    assert method.selection(1) != MLSL().selection(1)


def test_its_labels_are_voted() -> None:
    network = FinalLogits(tiny_deeplab())
    hard, soft = MLSL().labeller(network), MLSL(vote="soft", window_scales=(1.0,)).labeller(network)
    assert isinstance(hard, Voting)
    assert isinstance(soft, Voting)
    assert (hard.hard, soft.hard, soft.scales, hard.overlap) == (True, False, (1.0,), 0.5)


def test_nineteen_classes_and_three_channels_in_half_precision() -> None:
    method, net = MLSL(), tiny_deeplab(in_channels=3, num_classes=19)
    rng = torch.Generator().manual_seed(0)
    street = Batch(torch.randn(2, 3, 32, 40, generator=rng), torch.randint(19, (2, 32, 40), generator=rng))
    state = method.prepare(net, SGD)
    with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
        named = method.step(state, street, street)
    assert all(bool(value.isfinite()) for value in named.values())
    assert named["presence"].dtype == torch.float32


def test_a_few_steps_teach_the_labels_and_which_classes_are_there() -> None:
    ends, presences = [], []
    for method in (MLSL(presence_weight=1.0), MLSL(target_weight=0.0, presence_weight=0.0)):
        state = method.prepare(taught(), ADAM)
        named = [method.step(state, toy_source(step), toy_target(step)) for step in range(20)]
        presences.append(sum(float(losses["presence"]) for losses in named[-6:]))
        ends.append(mistaken(state, [toy_target(100 + k) for k in range(4)]))
    assert ends[0] < ends[1]
    assert presences[0] < 0.9 * presences[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"portion": 0.0},
        {"portion_max": 0.2},
        {"portion_step": -0.1},
        {"window_scales": (0.0,)},
        {"window_scales": (1.5,)},
        {"window_overlap": 1.0},
        {"presence_weight": -1.0},
        {"target_weight": -1.0},
        {"presence_pixels": 0},
        {"presence_channels": 0},
        {"vote": "loud"},
    ],
)
def test_settings_out_of_range(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        build_method("mlsl", **wrong)
