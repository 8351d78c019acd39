"""The baselines' steps beside the same steps written out with torch's own losses and a hand-made SGD update."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.data.batch import Batch
from prostate_uda.maths.losses import IGNORE
from prostate_uda.methods import AdaptSegNet, Method, Optimization, SelfTraining, SourceOnly
from prostate_uda.methods.adversarial import SOURCE, TARGET, domain_loss
from prostate_uda.networks import DeepLab
from tests.builders import tiny_deeplab

RATE, HEADS, DECAY = 0.05, 10.0, 0.01
SGD = Optimization(algorithm="sgd", learning_rate=RATE, head_factor=HEADS, weight_decay=DECAY, power=0.0)


def tiny(*, frozen_bn: bool = False) -> DeepLab:
    return tiny_deeplab(frozen_bn=frozen_bn).double()


def batch(seed: int, ignored: float = 0.2) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    label = torch.randint(3, (2, 32, 32), generator=rng)
    label[torch.rand(label.shape, generator=rng) < ignored] = IGNORE
    return Batch(image=torch.randn(2, 1, 32, 32, generator=rng, dtype=torch.float64), label=label)


def plain_loss(net: DeepLab, seen: Batch) -> Tensor:
    shallow, deep = (functional.cross_entropy(z, seen.label, ignore_index=IGNORE) for z in net(seen.image).logits)
    return 0.1 * shallow + deep


def expected_after_one_step(net: DeepLab, loss: Callable[[DeepLab], Tensor]) -> dict[str, Tensor]:
    """``w - γ (∇L + λ w)``, γ tenfold in the heads; momentum starts at the first gradient."""
    copy = deepcopy(net)
    named = {name: value for name, value in copy.named_parameters() if value.requires_grad}
    slopes = torch.autograd.grad(loss(copy), list(named.values()))
    moved = {}
    for (name, value), slope in zip(named.items(), slopes, strict=True):
        rate = RATE * (HEADS if name.startswith("heads.") else 1.0)
        moved[name] = value.detach() - rate * (slope + DECAY * value.detach())
    return moved


CASES: list[tuple[Method, Callable[[DeepLab, Batch, Batch], Tensor]]] = [
    (SourceOnly(), lambda net, source, target: plain_loss(net, source)),
    (SelfTraining(), lambda net, source, target: plain_loss(net, source) + plain_loss(net, target)),
    (
        SelfTraining(target_weight=0.25),
        lambda net, source, target: plain_loss(net, source) + plain_loss(net, target) / 4,
    ),
]


@pytest.mark.parametrize("frozen_bn", [False, True])
@pytest.mark.parametrize(("method", "loss"), CASES)
def test_the_weights_move_by_the_expected_amounts(
    method: Method, loss: Callable[[DeepLab, Batch, Batch], Tensor], frozen_bn: bool
) -> None:
    net, source, target = tiny(frozen_bn=frozen_bn), batch(1), batch(2)
    expected = expected_after_one_step(net, lambda copy: loss(copy, source, target))
    before = deepcopy(dict(net.named_parameters()))
    state = method.prepare(net, SGD)
    method.step(state, source, target)
    after = {name: value.detach() for name, value in net.named_parameters() if value.requires_grad}
    torch.testing.assert_close(after, expected)
    assert all(not torch.equal(after[name], before[name]) for name in after)  # every one of them, by a visible amount
    assert state.step == 1


def test_source_only_does_not_look_at_the_target() -> None:
    ends = []
    for target in (batch(2), batch(3)):
        net = tiny()
        state = SourceOnly().prepare(net, SGD)
        SourceOnly().step(state, batch(1), target)
        ends.append(net.state_dict())
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=0)


def assert_batch_norm_follows_the_target(method: Method) -> None:
    """After a step the statistics are those of one pass of the target."""
    net, source, target = tiny(), batch(1), batch(2)
    alone = deepcopy(net)
    alone(target.image)
    method.step(method.prepare(net, SGD), source, target)
    torch.testing.assert_close(dict(net.named_buffers()), dict(alone.named_buffers()), rtol=0, atol=0)


def test_batch_norm_follows_the_target_in_self_training() -> None:
    assert_batch_norm_follows_the_target(SelfTraining())


def adversarial() -> AdaptSegNet:
    return AdaptSegNet(discriminator_channels=4, discriminator_stages=2, adversarial_weight=0.5)


def test_adaptsegnet_moves_the_network_by_segmentation_and_deception() -> None:
    net, source, target = tiny(), batch(1), batch(2)
    state = adversarial().prepare(net, SGD, seed=3)
    discriminator = state.modules["discriminator"].double()

    def loss(copy: DeepLab) -> Tensor:
        logits = discriminator(copy(target.image).final.softmax(dim=1))
        return plain_loss(copy, source) + 0.5 * functional.softplus(logits).mean()  # BCE with label 0

    expected = expected_after_one_step(net, loss)
    before = deepcopy(discriminator.state_dict())
    adversarial().step(state, source, target)
    after = {name: value.detach() for name, value in net.named_parameters()}
    torch.testing.assert_close(after, expected)
    assert all(not torch.equal(value, before[name]) for name, value in discriminator.state_dict().items())


def test_adaptsegnet_teaches_the_discriminator_on_the_maps_from_before_the_step() -> None:
    net, source, target = tiny(), batch(1), batch(2)
    state = adversarial().prepare(net, SGD, seed=3)
    state.modules["discriminator"].double()
    copy, judge = deepcopy(net), deepcopy(state.modules["discriminator"])
    with torch.no_grad():
        on_source, on_target = (judge(copy(seen.image).final.softmax(dim=1)) for seen in (source, target))
    found = adversarial().step(state, source, target)
    # BCE with label 0 is softplus(z), with label 1 softplus(-z)
    telling = (functional.softplus(on_source).mean() + functional.softplus(-on_target).mean()) / 2
    torch.testing.assert_close(found["discriminator"], telling)
    torch.testing.assert_close(found["fooling"], functional.softplus(on_target).mean())


def test_the_discriminator_learns_nothing_from_the_networks_backward_pass() -> None:
    net = tiny()
    state = adversarial().prepare(net, SGD, seed=3)
    discriminator = state.modules["discriminator"].double()
    state.optimizers["discriminator"] = torch.optim.SGD(discriminator.parameters(), lr=1.0)
    before, copy = deepcopy(discriminator), deepcopy(net)
    source, target = batch(1), batch(2)
    with torch.no_grad():
        maps = [copy(seen.image).final.softmax(dim=1) for seen in (source, target)]
    telling = (domain_loss(before(maps[0]), SOURCE) + domain_loss(before(maps[1]), TARGET)) / 2
    slopes = torch.autograd.grad(telling, list(before.parameters()))
    adversarial().step(state, source, target)
    expected = [value.detach() - slope for value, slope in zip(before.parameters(), slopes, strict=True)]
    torch.testing.assert_close([value.detach() for value in discriminator.parameters()], expected)


def test_the_discriminators_first_weights_are_of_the_seed_and_leave_the_global_generator() -> None:
    def first(seed: int) -> Tensor:
        return next(adversarial().prepare(tiny(), SGD, seed=seed).modules["discriminator"].parameters())

    before = torch.get_rng_state()
    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))
    assert torch.equal(torch.get_rng_state(), before)


def test_domain_loss_by_hand() -> None:
    # σ(0) = ½: log 2 for either domain; σ(log 3) = 3/4: -log(1/4) for the source, -log(3/4) for the target
    assert domain_loss(torch.zeros(1, 1, 2, 2), SOURCE).item() == pytest.approx(0.6931472)
    sure = torch.full((1, 1, 1, 1), 1.0986123)
    assert domain_loss(sure, SOURCE).item() == pytest.approx(1.3862944)
    assert domain_loss(sure, TARGET).item() == pytest.approx(0.2876821)


def test_adaptsegnet_of_two_levels_is_fooled_and_taught_at_each() -> None:
    method = AdaptSegNet(discriminator_channels=4, discriminator_stages=2, adversarial_weight=0.5, shallow_weight=0.25)
    net, source, target = tiny(), batch(1), batch(2)
    state = method.prepare(net, SGD, seed=3)
    judges = [state.modules[name].double() for name in ("shallow_discriminator", "discriminator")]
    assert {"network", "discriminator", "shallow_discriminator"} == state.optimizers.keys()

    def loss(copy: DeepLab) -> Tensor:
        maps = [logits.softmax(dim=1) for logits in copy(target.image).logits]
        shallow, deep = (functional.softplus(judge(seen)).mean() for judge, seen in zip(judges, maps, strict=True))
        return plain_loss(copy, source) + 0.25 * shallow + 0.5 * deep

    expected, copy, before = expected_after_one_step(net, loss), deepcopy(net), deepcopy(judges)
    found = method.step(state, source, target)
    torch.testing.assert_close({name: value.detach() for name, value in net.named_parameters()}, expected)
    with torch.no_grad():
        both = [[z.softmax(dim=1) for z in copy(seen.image).logits] for seen in (source, target)]
        for level, name in enumerate(("shallow_discriminator", "discriminator")):
            near, far = (before[level](maps[level]) for maps in both)
            telling = (functional.softplus(near).mean() + functional.softplus(-far).mean()) / 2
            torch.testing.assert_close(found[name], telling)
