"""MetaCorrection's hypergradient through a real network: derivatives, and nothing moved on the way.

The oracle writes the virtual and the meta step without any of the method's code: torch's own losses and a plain
forward pass of a copied network whose weights were replaced.
"""

from copy import deepcopy
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.nn import functional

from prostate_uda.data.batch import Batch
from prostate_uda.maths.hypergradient import Hypergradient as Found
from prostate_uda.maths.losses import IGNORE
from prostate_uda.methods import MetaCorrection, Optimization
from prostate_uda.methods.metacorrection import Derivative
from prostate_uda.networks import DeepLab, build_network
from prostate_uda.networks.splits import Scope, run_shared

RATE = 0.5
WEIGHTS = (0.3, 1.0)


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(*, frozen_bn: bool = False) -> DeepLab:
    net = DeepLab(
        in_channels=1,
        num_classes=3,
        depth=18,
        widths=(3, 3, 4, 4),
        dilations=(1, 2),
        frozen_bn=frozen_bn,
        generator=rng(0),
    ).double()
    for parameter in net.head_parameters():
        nn.init.normal_(parameter, 0.0, 0.3, generator=rng(1))  # heads of 0.01 would predict the same everywhere
    return net


def batch(seed: int, ignored: float = 0.2) -> Batch:
    image = torch.randn(2, 1, 32, 32, generator=rng(seed), dtype=torch.float64)
    label = torch.randint(3, (2, 32, 32), generator=rng(seed + 1))
    label[torch.rand(label.shape, generator=rng(seed + 2)) < ignored] = IGNORE
    return Batch(image=image, label=label)


METHOD = MetaCorrection(
    level_weights=WEIGHTS,
    virtual_rate=RATE,
    epsilon=0.2,
    ntm_mode="learned",
    virtual_scope="all",
    derivative="double-backward",
)
VARIANTS: list[tuple[Scope, Derivative]] = [
    ("all", "double-backward"),
    ("all", "forward-mode"),
    ("last-stage", "forward-mode"),
    ("heads", "finite-difference"),
    ("heads", "double-backward"),
]
every_exact_way = pytest.mark.parametrize(("scope", "derivative"), VARIANTS)


def hypergradient(net: DeepLab, ntm: Tensor, source: Batch, target: Batch, method: MetaCorrection = METHOD) -> Found:
    state = method.prepare(net, Optimization())
    state.tensors["ntm"] = ntm
    with torch.enable_grad():  # gradcheck calls this from a place without
        passes = run_shared(net, method.virtual_scope, source.image, target.image, moved=False)
        return method.hypergradient(state, passes, source.label, target.label)


def matrices() -> Tensor:
    return torch.stack(
        [torch.randn(3, 3, generator=rng(9 + level), dtype=torch.float64).softmax(dim=-1) for level in (0, 1)]
    )


def plain_target_loss(net: DeepLab, ntm: Tensor, target: Batch) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for weight, logits, transition in zip(WEIGHTS, net(target.image).logits, ntm, strict=True):
        q = (logits.softmax(dim=1)[:, :, None] * transition[None, :, :, None, None]).sum(dim=1)
        total = total + weight * functional.nll_loss(q.log(), target.label, ignore_index=IGNORE)
    return total


SCOPED = {"all": "", "last-stage": ("backbone.layer4", "heads"), "heads": "heads"}


def meta_loss_after_virtual_step(
    net: DeepLab, ntm: Tensor, source: Batch, target: Batch, scope: Scope = "all"
) -> Tensor:
    """``L_m(w - γ_v ∇_w L_t(w, T))`` on copies, first order only."""
    virtual = deepcopy(net)
    named = virtual.named_parameters()
    moving = [value for name, value in named if value.requires_grad and name.startswith(SCOPED[scope])]
    with torch.enable_grad():  # gradcheck calls this from a place without
        slopes = torch.autograd.grad(plain_target_loss(virtual, ntm, target), moving)
    with torch.no_grad():
        for value, slope in zip(moving, slopes, strict=True):
            value -= RATE * slope
        logits = virtual(source.image).logits
        losses = [functional.cross_entropy(z, source.label, ignore_index=IGNORE) for z in logits]
        return WEIGHTS[0] * losses[0] + WEIGHTS[1] * losses[1]


class MetaLoss(torch.autograd.Function):
    """``T ↦ L_m(ŵ(T))``: the oracle forward, the method's hypergradient backward."""

    @staticmethod
    def forward(ctx, ntm, net, source, target, method) -> Tensor:  # type: ignore[no-untyped-def, override]
        ctx.came = ntm.detach(), net, source, target, method
        return meta_loss_after_virtual_step(net, ntm.detach(), source, target, method.virtual_scope)

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[no-untyped-def, override]
        ntm, net, source, target, method = ctx.came
        found = hypergradient(net, ntm, source, target, method)
        return upstream * torch.stack(found.gradients), None, None, None, None


@every_exact_way
@pytest.mark.parametrize("frozen_bn", [False, True])
def test_gradcheck_through_a_deeplab(frozen_bn: bool, scope: Scope, derivative: Derivative) -> None:
    net, method = network(frozen_bn=frozen_bn).train(), replace(METHOD, virtual_scope=scope, derivative=derivative)
    assert gradcheck(
        lambda t: MetaLoss.apply(t, net, batch(10), batch(20), method),  # type: ignore[no-untyped-call]
        (matrices().requires_grad_(True),),
        eps=1e-6,
        atol=1e-8,
        rtol=1e-4,
    )


def test_every_entry_of_both_levels_against_central_differences() -> None:
    net, source, target, ntm = network().train(), batch(10), batch(20), matrices()
    found = hypergradient(net, ntm, source, target)
    step = 1e-5
    measured = torch.zeros_like(ntm)
    for index in range(ntm.numel()):
        direction = torch.zeros(ntm.numel(), dtype=torch.float64)
        direction[index] = step
        up, down = (
            meta_loss_after_virtual_step(net, ntm + sign * direction.view_as(ntm), source, target) for sign in (1, -1)
        )
        measured.view(-1)[index] = (up - down) / (2 * step)
    assert float(measured.abs().amax(dim=(1, 2)).min()) > 1e-4  # both levels matter, else the next line says nothing
    torch.testing.assert_close(torch.stack(found.gradients), measured, rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(found.target_loss, plain_target_loss(deepcopy(net), ntm, target).detach())
    torch.testing.assert_close(found.meta_loss, meta_loss_after_virtual_step(net, ntm, source, target))


@pytest.mark.parametrize("scope", ["all", "last-stage", "heads"])
@pytest.mark.parametrize("training", [True, False])
def test_every_way_agrees_with_double_backward(scope: Scope, training: bool) -> None:
    net = network().train(training)  # unbiased: dead pixels sit on their ReLU's kink, and a difference stays there
    found = {
        derivative: hypergradient(
            net, matrices(), batch(10), batch(20), replace(METHOD, virtual_scope=scope, derivative=derivative)
        )
        for derivative in get_args(Derivative)
    }
    reference = found["double-backward"]
    for derivative, tolerance in (("forward-mode", 1e-12), ("finite-difference", 2e-3)):
        for slope, exact in zip(found[derivative].gradients, reference.gradients, strict=True):
            assert float((slope - exact).norm()) <= tolerance * float(exact.norm()), derivative
        torch.testing.assert_close(found[derivative].meta_loss, reference.meta_loss)
        torch.testing.assert_close(found[derivative].target_loss, reference.target_loss)


@pytest.mark.parametrize("derivative", ["finite-difference", "forward-mode"])
def test_in_single_precision_it_is_as_good_as_the_issue_asks(derivative: Derivative) -> None:
    method = replace(METHOD, virtual_rate=1e-2, derivative=derivative)
    net = build_network("deeplab-small", in_channels=1, num_classes=3, generator=rng(0))
    reference = replace(method, derivative="double-backward")
    exact = torch.stack(hypergradient(deepcopy(net).double(), matrices(), batch(10), batch(20), reference).gradients)
    source, target = (Batch(image=seen.image.float(), label=seen.label) for seen in (batch(10), batch(20)))
    single = torch.stack(hypergradient(net, matrices().float(), source, target, method).gradients)
    assert float((single - exact).norm()) <= 1e-2 * float(exact.norm())


@every_exact_way
@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_moved(training: bool, scope: Scope, derivative: Derivative) -> None:
    net, source, target, ntm = network().train(training), batch(10), batch(20), matrices()
    method = replace(METHOD, virtual_scope=scope, derivative=derivative)
    for index, parameter in enumerate(net.parameters()):
        parameter.grad = torch.full_like(parameter, float(index))
    before = deepcopy((net.state_dict(), [p.grad for p in net.parameters()], ntm))
    hypergradient(net, ntm, source, target, method)
    after = (net.state_dict(), [p.grad for p in net.parameters()], ntm)
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert "backbone.bn1.num_batches_tracked" in before[0]
    assert all(p.requires_grad for p in net.parameters())


def test_a_level_of_weight_zero_has_no_slope() -> None:
    dmlc = replace(METHOD, level_weights=(0.0, 1.0), derivative="forward-mode")
    shallow, deep = hypergradient(network().train(), matrices(), batch(10), batch(20), dmlc).gradients
    assert not bool(shallow.any())
    assert bool(deep.any())


def test_fault_the_diagonal_of_the_slope_vanishes_at_the_identity() -> None:
    """Scaling column k of ``T = I`` adds ``log T_kk`` to the loss and nothing to its slope in w.

    So ``max(G)``, the published divisor, never comes from the diagonal and may be zero, negative or round-off.
    """
    net, source, target = network().train(), batch(10), batch(20)
    identity = torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    for gradient in hypergradient(net, identity, source, target).gradients:
        largest = float(gradient.abs().max())
        assert largest > 1e-4
        assert float(gradient.diagonal().abs().max()) <= 1e-12 * largest


@pytest.mark.parametrize("derivative", ["finite-difference", "forward-mode", "double-backward"])
@pytest.mark.parametrize("ignored", ["source", "target"])
def test_nothing_labelled_on_one_side_is_a_slope_of_zero(ignored: str, derivative: Derivative) -> None:
    net, source, target = network().train(), batch(10), batch(20)
    method = replace(METHOD, derivative=derivative)
    nothing = torch.full_like(source.label, IGNORE)
    if ignored == "source":
        found = hypergradient(net, matrices(), Batch(source.image, nothing), target, method)
        assert found.meta_loss.item() == 0.0
    else:
        found = hypergradient(net, matrices(), source, Batch(target.image, nothing), method)
        assert found.target_loss.item() == 0.0
    assert not bool(torch.stack(found.gradients).any())
