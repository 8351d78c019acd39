"""The bilevel derivative on problems small enough for paper, and the closed form of the inner slope."""

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from prostate_uda.maths.hypergradient import (
    Parameters,
    double_backward,
    finite_difference,
    forward_mode,
    transition_slope,
)
from prostate_uda.maths.losses import IGNORE
from prostate_uda.maths.noise import corrected_nll, start


def number(value: float, *, moves: bool = True) -> Tensor:
    return torch.tensor(value, dtype=torch.float64).requires_grad_(moves)


def parabola(weights: Parameters, transitions: Sequence[Tensor]) -> Tensor:
    """``½ T w²`` with a 1 × 1 T."""
    return 0.5 * transitions[0].squeeze() * weights["w"].square()


def square(weights: Parameters) -> Tensor:
    return 0.5 * weights["w"].square()


def test_a_parabola_by_hand() -> None:
    # w = 3, T = 2, γ = 0.1: ŵ = w - γ T w = 3 - 0.6 = 2.4. L_t = ½·2·9 = 9, L_m = ½·2.4² = 2.88
    # dL_m/dT = ŵ · dŵ/dT = 2.4 · (-γ w) = 2.4 · (-0.3) = -0.72
    found = double_backward(parabola, square, {"w": number(3.0)}, [torch.full((1, 1), 2.0, dtype=torch.float64)], 0.1)
    assert found.gradients[0].item() == pytest.approx(-0.72)
    assert found.target_loss.item() == pytest.approx(9.0)
    assert found.meta_loss.item() == pytest.approx(2.88)


def test_a_frozen_parameter_takes_no_virtual_step() -> None:
    # L_t = T (w + b)², only w moves: ŵ = 1 - 0.1 · 2 · 3 = 0.4, b̂ = b = 2. L_m = b̂² + ŵ = 4.4
    # dL_m/dT = dŵ/dT = -0.1 · 2 (w + b) = -0.6
    def target_loss(weights: Parameters, transitions: Sequence[Tensor]) -> Tensor:
        return transitions[0].squeeze() * (weights["w"] + weights["b"]).square()

    def meta_loss(weights: Parameters) -> Tensor:
        return weights["b"].square() + weights["w"]

    parameters = {"w": number(1.0), "b": number(2.0, moves=False)}
    found = double_backward(target_loss, meta_loss, parameters, [torch.ones(1, 1, dtype=torch.float64)], 0.1)
    assert found.meta_loss.item() == pytest.approx(4.4)
    assert found.gradients[0].item() == pytest.approx(-0.6)


def test_parameters_and_matrices_without_influence_have_zero_slopes() -> None:
    idle = torch.eye(2, dtype=torch.float64)
    parameters = {"w": number(3.0), "unused": number(7.0)}
    found = double_backward(parabola, square, parameters, [torch.ones(1, 1, dtype=torch.float64), idle], 0.1)
    assert found.gradients[1].shape == (2, 2)
    assert not bool(found.gradients[1].any())


def test_what_came_in_is_left_alone() -> None:
    w, transition = number(3.0), torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    found = double_backward(parabola, square, {"w": w}, [transition], 0.1)
    assert (w.item(), w.grad, transition.item(), transition.grad) == (3.0, None, 1.0, None)
    assert not any(t.requires_grad for t in (*found.gradients, found.target_loss, found.meta_loss))


def test_it_works_where_gradients_are_switched_off() -> None:
    with torch.no_grad():
        found = double_backward(parabola, square, {"w": number(3.0)}, [torch.ones(1, 1, dtype=torch.float64)], 0.1)
    assert found.gradients[0].item() == pytest.approx(-0.3 * 2.7)


def scene(seed: int, classes: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, classes, 4, 5, generator=rng, dtype=torch.float64)
    label = torch.randint(classes, (2, 4, 5), generator=rng)
    label[torch.rand(label.shape, generator=rng) < 0.2] = IGNORE
    return logits, label


def closed_form(logits: Tensor, transition: Tensor, label: Tensor) -> Tensor:
    """``∂L_t/∂T_jk = -(1/N) Σ_{pixels with ŷ = k} p_j / q_k``, in a loop over pixels."""
    classes = logits.shape[1]
    p = logits.softmax(dim=1).movedim(1, -1).reshape(-1, classes)
    known = [(row, int(k)) for row, k in zip(p, label.flatten(), strict=True) if int(k) != IGNORE]
    slope = torch.zeros_like(transition)
    for row, k in known:
        slope[:, k] -= row / (row @ transition)[k] / len(known)
    return slope


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5), epsilon=st.floats(0, 0.9))
def test_the_inner_slope_has_a_closed_form(seed: int, classes: int, epsilon: float) -> None:
    logits, label = scene(seed, classes)
    transition = start(classes, epsilon, torch.float64).requires_grad_(True)
    (slope,) = torch.autograd.grad(corrected_nll(logits, transition, label), transition)
    torch.testing.assert_close(slope, closed_form(logits, transition.detach(), label))


def test_the_closed_form_by_hand() -> None:
    # two pixels, p = (3/4, 1/4) and (1/4, 3/4), pseudo-labels 0 and 1, T = [[4/5, 1/5], [1/5, 4/5]]
    # q_0 of the first: 3/4·4/5 + 1/4·1/5 = 13/20; so is q_1 of the second
    # column 0: -½ (3/4, 1/4) / (13/20) = -(15/26, 5/26); column 1: -(5/26, 15/26)
    p = torch.tensor([[0.75, 0.25], [0.25, 0.75]], dtype=torch.float64)
    logits = p.log().t().reshape(1, 2, 1, 2)
    transition = start(2, 0.2, torch.float64).requires_grad_(True)
    (slope,) = torch.autograd.grad(corrected_nll(logits, transition, torch.tensor([[[0, 1]]])), transition)
    expected = torch.tensor([[-15 / 26, -5 / 26], [-5 / 26, -15 / 26]], dtype=torch.float64)
    torch.testing.assert_close(slope, expected)


@pytest.mark.parametrize("gap", [5.0, 20.0, 80.0])
def test_fault_the_slope_is_unbounded_at_the_identity_and_bounded_from_the_start(gap: float) -> None:
    # a network sure of class 0 where the pseudo-label says 1: at T = I the slope is -p_0 / p_1 = -exp(gap);
    # from T = start(3, ε) it is at least -p_0 / (p_0 T_01) = -(C - 1) / ε
    epsilon, label = 0.05, torch.tensor([[[1]]])
    logits = torch.tensor([gap, 0.0, 0.0]).view(1, 3, 1, 1)
    slopes = []
    for transition in (torch.eye(3), start(3, epsilon)):
        leaf = transition.requires_grad_(True)
        slopes.append(torch.autograd.grad(corrected_nll(logits, leaf, label), leaf)[0])
    at_identity, at_start = slopes
    torch.testing.assert_close(at_identity[0, 1].neg().log(), torch.tensor(gap))
    assert float(at_start.abs().max()) <= 2 / epsilon * (1 + 1e-6)


def test_the_bound_holds_for_any_prediction() -> None:
    # q_k ≥ p_j T_jk for every j, so p_j / q_k ≤ 1 / T_jk ≤ (C - 1) / ε
    rng = torch.Generator().manual_seed(0)
    logits = 200 * torch.randn(4, 3, 16, 16, generator=rng)
    label = torch.randint(3, (4, 16, 16), generator=rng)
    leaf = start(3, 0.05).requires_grad_(True)
    (slope,) = torch.autograd.grad(corrected_nll(logits, leaf, label), leaf)
    assert float(slope.abs().max()) <= 2 / 0.05


@pytest.mark.parametrize("count", [None, torch.tensor(50)])
def test_the_slope_along_a_direction_is_the_derivative_of_the_inner_slope(count: Tensor | None) -> None:
    logits, label = scene(3, 3)
    rng = torch.Generator().manual_seed(4)
    along = torch.randn(logits.shape, generator=rng, dtype=torch.float64)
    transition = torch.randn(3, 3, generator=rng, dtype=torch.float64).softmax(dim=-1)
    step = 1e-5
    up, down = (closed_form(logits + sign * step * along, transition, label) for sign in (1, -1))
    known = int((label != IGNORE).sum())
    expected = (up - down) / (2 * step) * (1 if count is None else known / 50)
    torch.testing.assert_close(
        transition_slope(logits, along, transition, label, count), expected, rtol=1e-6, atol=1e-9
    )


def test_a_prediction_that_underflows_has_a_finite_slope_and_no_label_none() -> None:
    logits = torch.tensor([1e4, -1e4, 0.0]).view(1, 3, 1, 1)
    along = torch.ones(1, 3, 1, 1) * torch.tensor([1.0, -1.0, 0.5]).view(1, 3, 1, 1)
    found = transition_slope(logits, along, torch.eye(3), torch.tensor([[[1]]]))  # q of the label is exactly zero
    assert bool(found.isfinite().all())
    assert not bool(transition_slope(logits, along, torch.eye(3), torch.full((1, 1, 1), IGNORE)).any())


def curved(weights: Parameters) -> list[Tensor]:
    """``sin(w) b`` and ``w b²``."""
    return [weights["w"].sin() * weights["b"], weights["w"] * weights["b"].square()]


def test_forward_mode_and_differences_by_hand() -> None:
    at, along = {"w": number(0.5), "b": number(2.0)}, {"w": number(1.5).detach(), "b": number(-1.0).detach()}
    # d(sin w · b) = cos w · b dw + sin w db, d(w b²) = b² dw + 2 w b db
    expected = [3 * math.cos(0.5) - math.sin(0.5), 4 * 1.5 - 2.0]
    assert [float(one) for one in forward_mode(curved, at, along)] == pytest.approx(expected, rel=1e-12)
    with torch.no_grad():
        shared = curved(at)
    assert [float(one) for one in finite_difference(curved, at, along, shared)] == pytest.approx(expected, rel=1e-5)
    assert [float(one) for one in finite_difference(curved, at, along)] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("shared", [True, False])
def test_a_difference_along_nothing_or_from_the_origin_is_finite(shared: bool) -> None:
    origin = {"w": number(0.0), "b": number(0.0)}
    for along in (0.0, 1.0):
        direction = {name: torch.full_like(value.detach(), along) for name, value in origin.items()}
        found = finite_difference(curved, origin, direction, [z.detach() for z in curved(origin)] if shared else None)
        assert all(bool(value.isfinite()) for value in found)
        assert all(abs(float(value)) < 1e-4 for value in found)  # both products are flat at the origin
