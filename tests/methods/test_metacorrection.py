"""MetaCorrection's step: the actual update by hand, what the matrices do, and a noise it has to find."""

from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from prostate_uda.data.batch import Batch
from prostate_uda.errors import SettingsError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.maths.noise import descend, from_counts, start
from prostate_uda.maths.selection import BalancedSelection, Selection
from prostate_uda.methods import MetaCorrection, Optimization, State
from prostate_uda.methods.metacorrection import Derivative
from prostate_uda.networks import DeepLab, Levels
from prostate_uda.networks.splits import Scope, run_shared
from prostate_uda.networks.teacher import Teacher
from tests.builders import tiny_deeplab, tiny_teacher

RATE, WEIGHTS = 0.05, (0.3, 1.0)
SGD = Optimization(algorithm="sgd", learning_rate=RATE, power=0.0)


def tiny() -> DeepLab:
    net = tiny_deeplab().double()
    for parameter in net.head_parameters():
        nn.init.normal_(parameter, 0.0, 0.3, generator=torch.Generator().manual_seed(1))
    return net


def batch(seed: int) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    label = torch.randint(3, (2, 32, 32), generator=rng)
    label[torch.rand(label.shape, generator=rng) < 0.2] = IGNORE
    return Batch(image=torch.randn(2, 1, 32, 32, generator=rng, dtype=torch.float64), label=label)


def slopes_of(method: MetaCorrection, state: State, source: Batch, target: Batch) -> tuple[Tensor, ...]:
    passes = run_shared(state.network, method.virtual_scope, source.image, target.image, moved=False)
    return method.hypergradient(state, passes, source.label, target.label).gradients


def prepared(method: MetaCorrection, optimization: Optimization = SGD, teacher: Teacher | None = None) -> State:
    """A state in float64: NTMs are made in float32, as a network's parameters usually are."""
    state = method.prepare(tiny(), optimization, teacher=teacher)
    state.tensors["ntm"] = state.tensors["ntm"].double()
    return state


@pytest.mark.parametrize(
    "wrong",
    [
        {"epsilon": 0.0},
        {"epsilon": 1.0},
        {"epsilon": -0.1},
        {"portion": 1.5},
        {"volume_trust": 1.5},
        {"volume_trust": 0.5, "portion": 0.5},
        {"anchor": 0.5},
        {"ntm_mode": "learned", "anchor": 51.0},
        {"ntm_mode": "learned", "anchor": -1.0},
    ],
)
def test_impossible_settings_are_our_error(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="allowed"):
        MetaCorrection(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["ntm_mode", "virtual_scope", "derivative", "ntm_moves"])
def test_an_unknown_choice_is_told_the_known_ones(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} 'reference'; choose one of: "):
        MetaCorrection(**{name: "reference"})  # type: ignore[arg-type]


def test_a_network_has_to_say_its_classes() -> None:
    with pytest.raises(SettingsError, match="num_classes"):
        MetaCorrection().prepare(nn.Conv2d(1, 3, 1), Optimization())


def test_a_network_that_cannot_be_cut_is_taken_whole() -> None:
    net = LinearSoftmax()
    with pytest.raises(SettingsError, match="LinearSoftmax has no known heads; choose the scope all"):
        MetaCorrection(level_weights=(1.0,)).prepare(net, Optimization())
    MetaCorrection(level_weights=(1.0,), virtual_scope="all").prepare(net, Optimization())


@pytest.mark.parametrize("mode", ["per-step", "learned"])
def test_the_matrices_begin_at_the_start(mode: str) -> None:
    state = MetaCorrection(ntm_mode=mode, epsilon=0.1).prepare(tiny(), Optimization())  # type: ignore[arg-type]
    torch.testing.assert_close(state.tensors["ntm"], torch.stack([start(3, 0.1)] * 2))
    assert set(state.tensors) == ({"ntm", "ntm_logits"} if mode == "learned" else {"ntm"})
    if mode == "learned":
        torch.testing.assert_close(state.tensors["ntm_logits"].detach().softmax(-1), state.tensors["ntm"])


@pytest.mark.parametrize("mode", ["per-step", "learned"])
def test_the_matrices_begin_where_the_teacher_confuses(mode: str) -> None:
    method = MetaCorrection(ntm_mode=mode, ntm_start="confusion")  # type: ignore[arg-type]
    assert method.needs - MetaCorrection().needs == {"confusion"}
    teacher = tiny_teacher()
    state = prepared(method, teacher=teacher)
    assert teacher.confusion is not None
    torch.testing.assert_close(state.tensors["ntm"], torch.stack([from_counts(teacher.confusion).double()] * 2))
    first = state.tensors["ntm"].clone()
    method.step(state, batch(0), batch(1))
    assert not torch.equal(state.tensors["ntm"], first)
    expected = first if mode == "per-step" else state.tensors["ntm"]
    torch.testing.assert_close(method.first_transitions(state), expected)
    without = method.prepare(tiny(), Optimization())  # nobody asked: uniform
    torch.testing.assert_close(without.tensors["ntm"], torch.stack([start(3, 0.05)] * 2))


def test_the_anchor_is_where_the_teacher_confuses() -> None:
    method = MetaCorrection(ntm_mode="learned", ntm_start="confusion", anchor=1.0, learned_rate=0.5)
    state = method.prepare(tiny(), Optimization(), teacher=tiny_teacher())
    home = state.tensors["ntm_start"].log()
    with torch.no_grad():
        state.tensors["ntm_logits"].add_(torch.eye(3))
    method.move_transitions(state, [torch.zeros(3, 3)] * 2)
    for level in state.tensors["ntm_logits"].detach():
        torch.testing.assert_close(level, home + 0.5 * torch.eye(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("derivative", ["finite-difference", "forward-mode", "double-backward"])
@pytest.mark.parametrize("scope", ["all", "last-stage", "heads"])
def test_the_actual_step_moves_the_weights_by_the_expected_amounts(scope: Scope, derivative: Derivative) -> None:
    method = MetaCorrection(
        level_weights=WEIGHTS, virtual_rate=0.5, ntm_rate=0.2, epsilon=0.1, virtual_scope=scope, derivative=derivative
    )
    source, target, state = batch(1), batch(2), prepared(method)
    slopes = slopes_of(method, state, source, target)
    moved = [descend(start(3, 0.1, torch.float32).double(), slope, 0.2) for slope in slopes]

    copy = deepcopy(state.network)
    on_source = [functional.cross_entropy(z, source.label, ignore_index=IGNORE) for z in copy(source.image).logits]
    on_target = []
    for logits, transition in zip(copy(target.image).logits, moved, strict=True):
        q = (logits.softmax(dim=1)[:, :, None] * transition[None, :, :, None, None]).sum(dim=1)
        on_target.append(functional.nll_loss(q.log(), target.label, ignore_index=IGNORE))
    parts = [0.3 * on_source[0] + on_source[1], 0.3 * on_target[0] + on_target[1]]
    gradients = torch.autograd.grad(parts[0] + parts[1], list(copy.parameters()))
    expected = [value.detach() - RATE * slope for value, slope in zip(copy.parameters(), gradients, strict=True)]

    before = [value.detach().clone() for value in state.network.parameters()]
    named = method.step(state, source, target)
    after = [value.detach() for value in state.network.parameters()]
    torch.testing.assert_close(after, expected)
    assert all(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    torch.testing.assert_close(torch.stack([named["source"], named["target"]]), torch.stack(parts).detach())
    torch.testing.assert_close(named["ntm_diagonal"], moved[-1].diagonal().mean())
    torch.testing.assert_close(named["meta_share"], (source.label != IGNORE).float().mean())


@pytest.mark.parametrize("scope", ["all", "last-stage", "heads"])
def test_moved_after_the_actual_step_the_matrix_acts_one_step_later(scope: Scope) -> None:
    method = MetaCorrection(
        level_weights=WEIGHTS, virtual_rate=0.5, epsilon=0.1, virtual_scope=scope, ntm_mode="learned"
    )
    source, target = batch(1), batch(2)
    early, late, still = prepared(method), prepared(method), prepared(method)
    method.step(early, source, target)
    replace(method, ntm_moves="after").step(late, source, target)
    torch.testing.assert_close(late.tensors["ntm"], early.tensors["ntm"])  # the same move
    still.optimizers["ntm"] = torch.optim.SGD([still.tensors["ntm_logits"]], lr=1e-30)
    method.step(still, source, target)  # the actual step by the matrix as it was
    torch.testing.assert_close(late.network.state_dict(), still.network.state_dict())
    weight = "heads.levels.1.branches.0.weight"
    assert not torch.allclose(late.network.state_dict()[weight], early.network.state_dict()[weight])


@pytest.mark.parametrize("other", [{"ntm_mode": "per-step"}, {"derivative": "double-backward"}])
def test_after_needs_a_matrix_that_lasts_and_the_closed_form(other: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="ntm_moves 'after' needs"):
        MetaCorrection(**{"ntm_mode": "learned", "ntm_moves": "after", **other})  # type: ignore[arg-type]


@pytest.mark.parametrize("derivative", ["finite-difference", "forward-mode", "double-backward"])
@pytest.mark.parametrize("scope", ["all", "last-stage", "heads"])
def test_batch_norm_follows_the_target_alone(scope: Scope, derivative: Derivative) -> None:
    method = MetaCorrection(virtual_scope=scope, derivative=derivative)
    source, target, state = batch(1), batch(2), prepared(method)
    alone = deepcopy(state.network)
    alone(target.image)
    method.step(state, source, target)
    torch.testing.assert_close(dict(state.network.named_buffers()), dict(alone.named_buffers()), rtol=0, atol=0)


def test_adam_moves_the_learned_logits_along_the_slope() -> None:
    # T = softmax(V): ∂L/∂V_jk = T_jk (G_jk - Σ_m T_jm G_jm); Adam's first step is γ times the sign of it
    method = MetaCorrection(ntm_mode="learned", virtual_rate=0.5, learned_rate=0.02, epsilon=0.1)
    source, target, state = batch(1), batch(2), prepared(method)
    first = state.tensors["ntm"].clone()
    slopes = torch.stack(slopes_of(method, state, source, target))
    in_logits = first * (slopes - (first * slopes).sum(dim=-1, keepdim=True))
    method.step(state, source, target)
    expected = (first.log() - 0.02 * in_logits.sign()).softmax(dim=-1)
    torch.testing.assert_close(state.tensors["ntm"], expected, rtol=1e-4, atol=1e-6)


def test_a_learned_matrix_persists_and_is_in_the_state() -> None:
    method = MetaCorrection(ntm_mode="learned", virtual_rate=0.5)
    state = prepared(method)
    seen = [state.tensors["ntm"].clone()]
    for step in range(3):
        method.step(state, batch(step), batch(10 + step))
        seen.append(state.tensors["ntm"].clone())
    moves = [float((later - earlier).abs().max()) for earlier, later in pairwise(seen)]
    assert all(move > 1e-4 for move in moves)
    torch.testing.assert_close(state.state_dict()["tensors"]["ntm"], seen[-1], rtol=0, atol=0)
    torch.testing.assert_close(seen[-1].sum(dim=-1), torch.ones(2, 3, dtype=torch.float64))
    torch.testing.assert_close(state.tensors["ntm_logits"].detach().double().softmax(-1), seen[-1], rtol=0, atol=1e-6)


def test_per_step_starts_anew_every_step() -> None:
    method = MetaCorrection(virtual_rate=0.5, epsilon=0.1)
    still = Optimization(algorithm="sgd", learning_rate=1e-30)  # the network stays, so steps could differ by T alone
    state = prepared(method, still)
    diagonals = [method.step(state, batch(1), batch(2))["ntm_diagonal"] for _ in range(3)]
    assert float(diagonals[0]) != pytest.approx(0.9, abs=1e-3)  # it did move
    torch.testing.assert_close(diagonals[1:], diagonals[:1] * 2, rtol=0, atol=0)
    torch.testing.assert_close(state.tensors["ntm"][-1].diagonal().mean(), diagonals[0])  # what was used last is told


@pytest.mark.parametrize("mode", ["per-step", "learned"])
def test_a_level_of_weight_zero_keeps_its_start(mode: str) -> None:
    method = MetaCorrection(level_weights=(0.0, 1.0), ntm_mode=mode, virtual_rate=0.5)  # type: ignore[arg-type]
    state = prepared(method)
    first = state.tensors["ntm"].clone()
    slopes = slopes_of(method, state, batch(1), batch(2))
    moved = method.move_transitions(state, slopes)
    torch.testing.assert_close(moved[0], first[0])
    assert float((moved[1] - first[1]).abs().max()) > 1e-3


CENTRES = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
NOISE = torch.tensor([[0.9, 0.1, 0.0], [0.3, 0.6, 0.1], [0.05, 0.25, 0.7]])


class LinearSoftmax(nn.Module):
    """A pixel's class from its two values."""

    num_classes = 3

    def __init__(self) -> None:
        super().__init__()
        self.classify = nn.Conv2d(2, 3, kernel_size=1)
        nn.init.zeros_(self.classify.weight)
        nn.init.zeros_(self.classify.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Levels:
        return Levels(logits=(self.classify(image),), features=(image,))


def separable(rng: torch.Generator, noise: Tensor) -> Batch:
    """Three clouds; every label redrawn from its row of the noise."""
    clean = torch.randint(3, (2, 24, 24), generator=rng)
    image = CENTRES[clean].movedim(-1, 1) + 0.5 * torch.randn(2, 2, 24, 24, generator=rng)
    noisy = torch.multinomial(noise[clean.flatten()], 1, generator=rng).view_as(clean)
    return Batch(image=image, label=noisy)


@pytest.mark.parametrize("noise", [NOISE, torch.eye(3)], ids=["known noise", "no noise"])
def test_a_known_noise_is_found(noise: Tensor) -> None:
    rng = torch.Generator().manual_seed(0)
    method = MetaCorrection(
        level_weights=(1.0,),
        ntm_mode="learned",
        virtual_scope="all",
        virtual_rate=1.0,
        learned_rate=0.03,
        epsilon=0.1,
    )
    state = method.prepare(LinearSoftmax(), Optimization(learning_rate=0.05, power=0.0))
    before = float((start(3, 0.1) - noise).abs().mean())
    for _ in range(150):
        method.step(state, separable(rng, torch.eye(3)), separable(rng, noise))
    found = float((state.tensors["ntm"][0] - noise).abs().mean())
    assert found < before / 2
    if noise is NOISE:
        assert found < float((torch.eye(3) - noise).abs().mean()) / 3


def test_an_anchor_draws_the_ntm_back_to_its_start() -> None:
    method = MetaCorrection(level_weights=(1.0,), ntm_mode="learned", virtual_scope="all", anchor=4.0, epsilon=0.1)
    state = method.prepare(LinearSoftmax(), Optimization(learning_rate=0.05, power=0.0))
    home = start(3, 0.1).log()
    with torch.no_grad():
        state.tensors["ntm_logits"].copy_(home + 1.0 * torch.eye(3))
    method.move_transitions(state, [torch.zeros(3, 3)])
    distance = state.tensors["ntm_logits"].detach()[0] - home
    torch.testing.assert_close(distance, (1 - 0.02 * 4.0) * torch.eye(3))
    steep = 1e3 * (torch.ones(3, 3) - torch.eye(3))
    for _ in range(400):
        method.move_transitions(state, [steep])
    farthest = (state.tensors["ntm_logits"].detach() - home).abs().max()
    assert 0.2 < float(farthest) <= 1 / 4.0 + 0.02


@pytest.mark.parametrize("portion", [0.0, 0.4])
def test_pseudo_labels_are_all_or_a_class_balanced_portion(portion: float) -> None:
    rule = MetaCorrection(portion=portion).selection(2)
    assert rule == (BalancedSelection(portion=0.4) if portion else Selection())
