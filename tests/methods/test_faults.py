"""One test for each fault of the published script (docs/methods/metacorrection.md says which is which).

Two more stand with the hypergradient: the diagonal that vanishes at the identity in ``test_hypergradient.py``, the
unbounded slope in ``tests/maths/test_hypergradient.py``.
"""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from prostate_uda.data.batch import Batch
from prostate_uda.maths.losses import IGNORE
from prostate_uda.maths.noise import descend, start
from prostate_uda.methods import AdaptSegNet, MetaCorrection, Optimization, SourceOnly
from prostate_uda.networks import DeepLab, Discriminator, DomainPredictor
from tests.builders import tiny_deeplab


def tiny(seed: int = 0, *, frozen_bn: bool = False) -> DeepLab:
    return tiny_deeplab(seed, dilations=(1, 2, 3, 4), frozen_bn=frozen_bn)


def batch(seed: int, size: int = 2) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    image = torch.randn(size, 1, 32, 32, generator=rng)
    return Batch(image=image, label=torch.randint(3, (size, 32, 32), generator=rng))


def nothing_known(seen: Batch) -> Batch:
    return Batch(image=seen.image, label=torch.full_like(seen.label, IGNORE))


def weights(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.named_parameters()}


def test_the_optimizer_receives_the_weights_and_they_move() -> None:
    """B1: weights held as buffers, so the optimizer was empty and only batch-norm statistics moved."""
    net = tiny()
    before = weights(net)
    state = MetaCorrection().prepare(net, Optimization(learning_rate=0.01, power=0.0))
    held = {id(p) for group in state.optimizers["network"].param_groups for p in group["params"]}
    assert held == {id(p) for p in net.parameters()}
    MetaCorrection().step(state, batch(1), batch(2))
    moves = {name: float((value - before[name]).abs().max()) for name, value in weights(net).items()}
    # Adam's first step moves every entry that has a gradient by the learning rate
    assert all(0.009 < move <= 0.0101 for move in moves.values()), moves


NEGATIVE = torch.tensor([[0.0, -1.0, -2.0], [-3.0, 0.0, -1.0], [-1.0, -1.0, 0.0]])


def test_a_slope_without_a_positive_entry_keeps_its_direction() -> None:
    """B6: ``G / max(G)`` is NaN here; the largest magnitude is not."""
    published = (torch.eye(3) - 0.11 * NEGATIVE / NEGATIVE.max()).clamp_min(0)
    assert not bool(published.isfinite().all())
    first = start(3, 0.05)
    moved = descend(first, NEGATIVE, 0.11)
    assert bool(moved.isfinite().all())
    off = ~torch.eye(3, dtype=torch.bool)
    assert bool((moved[0, 1:] > first[0, 1:]).all() & (moved[1, 0] > first[1, 0]))  # off-diagonals want to grow, and do
    assert bool((moved.diagonal() < first.diagonal()).all())
    assert float(moved[off].max()) == pytest.approx(float(moved[1, 0]))  # the steepest moves furthest


def test_a_slope_of_negative_entries_is_not_turned_round() -> None:
    """B6: with ``max(G) < 0`` the published step goes uphill: [-2, -0.5] / max = [4, 1]."""
    slope = torch.tensor([[-0.5, -2.0], [-2.0, -0.5]])
    assert bool((slope / slope.max() > 0).all())
    first = start(2, 0.05)
    moved = descend(first, slope, 0.11)
    assert float((slope * (moved - first)).sum()) < 0
    assert bool((moved.fliplr().diagonal() > first.fliplr().diagonal()).all())


class Remembered(nn.Module):
    """A predictor whose answer is known."""

    def __init__(self, probability: Tensor) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, image: Tensor) -> Tensor:
        return self.probability


def test_the_meta_mask_covers_the_label_and_every_element_of_the_batch() -> None:
    """B2 and B3: indices of an 8 times smaller map on a full-size label, taken from batch element 0."""
    source = batch(1, size=3)
    probability = torch.zeros(3, 32, 32)
    probability[0, :, 16:] = 0.9  # right half, lower half, a single far corner
    probability[1, 16:, :] = 0.9
    probability[2, 31, 31] = 0.9
    method = MetaCorrection(meta_threshold=0.5, meta_minimum=0.0)
    state = method.prepare(tiny(), Optimization(), domain_predictor=Remembered(probability))
    meta = method.meta_label(state, source)
    assert torch.equal(meta != IGNORE, probability > 0.5)
    assert torch.equal(meta[meta != IGNORE], source.label[probability > 0.5])
    assert method.step(state, source, batch(2))["meta_share"].item() == pytest.approx((512 + 512 + 1) / (3 * 1024))


def test_a_real_predictor_answers_at_label_resolution_for_every_element() -> None:
    """B2 and B3 again, with the predictor that the package builds."""
    judge = Discriminator(3, base_channels=4, layers=2)
    predictor = DomainPredictor(tiny(1), judge)
    source = batch(1, size=3)
    together = predictor(source.image)
    assert together.shape == source.label.shape
    for index in range(3):
        torch.testing.assert_close(predictor(source.image[index : index + 1])[0], together[index])
    assert not torch.allclose(together[0], together[1])
    method = MetaCorrection(meta_threshold=float(together.median()), meta_minimum=0.0)
    state = method.prepare(tiny(), Optimization(), domain_predictor=predictor)
    assert torch.equal(method.meta_label(state, source) != IGNORE, together >= together.median())


def test_the_discriminator_gives_logits_and_learns_below_the_double_sigmoids_floor() -> None:
    """B5: a sigmoid before a with-logits loss floors it at (0.693 + 0.313) / 2 = 0.503."""
    method = AdaptSegNet(discriminator_channels=8, discriminator_stages=2, discriminator_rate=0.01)
    still = Optimization(algorithm="sgd", learning_rate=1e-30)
    net = tiny(frozen_bn=True)  # batch statistics would hide that the target is darker
    for parameter in net.head_parameters():
        nn.init.normal_(parameter, 0.0, 0.3, generator=torch.Generator().manual_seed(1))
    source, target = batch(1), batch(2)
    target = Batch(image=target.image - 3, label=target.label)
    state = method.prepare(net, still)
    losses = []
    for _ in range(60):
        state.step = 0  # a constant rate
        losses.append(float(method.step(state, source, target)["discriminator"]))
    assert losses[-1] < 0.3 < 0.503 < losses[0]
    with torch.no_grad():
        maps = torch.cat([net(seen.image).final.softmax(dim=1) for seen in (source, target)])
        logits = state.modules["discriminator"](maps)
    assert float(logits.min()) < 0
    assert float(logits.max()) > 1


def test_training_and_evaluation_use_the_same_heads() -> None:
    """B4: four dilations summed in training, two in evaluation, from the same weights."""
    net = tiny()
    features = net.features(batch(1).image)
    trained = net.train().heads(features, (32, 32))
    judged = net.eval().heads(features, (32, 32))
    torch.testing.assert_close(judged, trained, rtol=0, atol=0)
    for level, seen in zip(net.heads.levels, features, strict=True):
        branches = [branch(seen) for branch in level.branches]  # type: ignore[operator, union-attr]
        assert len(branches) == 4
        torch.testing.assert_close(level(seen), torch.stack(branches).sum(dim=0))


@pytest.mark.parametrize("mode", ["per-step", "learned"])
def test_an_over_confident_network_stays_finite(mode: str) -> None:
    """B7: float32's softmax underflows beyond a gap of about 103, and log(0) is infinite."""
    net = tiny()
    with torch.no_grad():
        for parameter in net.head_parameters():
            parameter.mul_(1e5)
        logits = net(batch(2).image).final
    assert float((logits.amax(dim=1) - logits.amin(dim=1)).max()) > 1000
    method = MetaCorrection(ntm_mode=mode)  # type: ignore[arg-type]
    state = method.prepare(net, Optimization(algorithm="sgd", learning_rate=1e-6))
    for _ in range(2):
        named = method.step(state, batch(1), batch(2))
        assert all(bool(value.isfinite()) for value in named.values()), named
    assert all(bool(value.isfinite().all()) for value in weights(net).values())
    assert all(bool(value.isfinite().all()) for value in state.tensors.values())


@pytest.mark.parametrize("mode", ["per-step", "learned"])
@pytest.mark.parametrize("side", ["source", "target", "both"])
def test_nothing_labelled_is_finite(side: str, mode: str) -> None:
    """B8: the mean over no pixel is NaN."""
    net = tiny()
    before = weights(net)
    method = MetaCorrection(ntm_mode=mode)  # type: ignore[arg-type]
    state = method.prepare(net, Optimization())
    source = batch(1) if side == "target" else nothing_known(batch(1))
    target = batch(2) if side == "source" else nothing_known(batch(2))
    named = method.step(state, source, target)
    assert all(bool(value.isfinite()) for value in named.values()), named
    assert all(bool(value.isfinite().all()) for value in weights(net).values())
    if side == "both":  # nothing to learn from moves nothing
        torch.testing.assert_close(weights(net), before, rtol=0, atol=0)


def test_the_source_is_in_the_actual_step() -> None:
    """D1: no source loss. With nothing known of the target, one step is source-only training's step."""
    ours, plain = tiny(), tiny()
    source, target = batch(1), nothing_known(batch(2))
    for net, method in ((ours, MetaCorrection()), (plain, SourceOnly())):
        state = method.prepare(net, Optimization(algorithm="sgd", learning_rate=0.1, power=0.0))
        method.step(state, source, target)
    torch.testing.assert_close(weights(ours), weights(plain), rtol=0, atol=0)
    first = weights(tiny())
    assert all(not torch.equal(value, first[name]) for name, value in weights(ours).items())


def test_the_same_image_and_label_weigh_differently_with_and_without_source() -> None:
    """D1: the source's gradient is in the step, in full."""
    source, target = batch(1), batch(2)
    ends = []
    for seen in (source, nothing_known(source)):
        net = tiny()
        state = MetaCorrection().prepare(net, Optimization(algorithm="sgd", learning_rate=0.1, power=0.0))
        state.frozen["domain_predictor"] = Remembered(torch.zeros(2, 32, 32))  # the meta set is empty either way
        method = MetaCorrection(meta_minimum=0.0)
        method.step(state, seen, target)
        ends.append(weights(net))
    copy = deepcopy(tiny())
    shallow, deep = (functional.cross_entropy(z, source.label) for z in copy(source.image).logits)
    slopes = torch.autograd.grad(0.1 * shallow + deep, list(copy.parameters()))
    for (name, _), slope in zip(copy.named_parameters(), slopes, strict=True):
        torch.testing.assert_close(ends[1][name] - ends[0][name], 0.1 * slope, rtol=1e-3, atol=1e-6)
