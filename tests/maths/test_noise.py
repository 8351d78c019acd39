"""Noise transition matrices: golden numbers by hand, laws of the projection, and optimizers as oracle."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor
from torch.autograd import gradgradcheck

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.maths.losses import IGNORE, masked_nll
from prostate_uda.maths.noise import (
    LEAST,
    confusion_counts,
    correct,
    corrected_nll,
    descend,
    from_counts,
    project_rows,
    start,
)

finite32 = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=True)
tame = st.floats(-10, 10, allow_nan=False)


def matrices(numbers: st.SearchStrategy[float], dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
    return st.integers(2, 6).flatmap(
        lambda size: st.lists(st.lists(numbers, min_size=size, max_size=size), min_size=size, max_size=size).map(
            lambda rows: torch.tensor(rows, dtype=dtype)
        )
    )


def stochastic(seed: int, size: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(size, size, generator=rng, dtype=torch.float64).softmax(dim=-1)


def assert_row_stochastic(matrix: Tensor, tolerance: float) -> None:
    assert bool(matrix.isfinite().all())
    assert float(matrix.min()) >= 0
    assert float((matrix.sum(dim=-1) - 1).abs().max()) <= tolerance


def test_start_by_hand() -> None:
    # ε = 0.1 over C - 1 = 2 other classes: 0.05 each
    expected = [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]]
    torch.testing.assert_close(start(3, 0.1, torch.float64), torch.tensor(expected, dtype=torch.float64))


@given(size=st.integers(2, 20), epsilon=st.floats(0, 0.999))
def test_start_is_row_stochastic(size: int, epsilon: float) -> None:
    assert_row_stochastic(start(size, epsilon, torch.float64), 1e-12)


@pytest.mark.parametrize(("size", "epsilon"), [(1, 0.1), (3, -0.1), (3, 1.0), (3, math.nan)])
def test_start_rejects(size: int, epsilon: float) -> None:
    with pytest.raises(SettingsError, match="allowed are"):
        start(size, epsilon)


def test_correct_by_hand() -> None:
    # p = (1/2, 1/2), T = [[1, 0], [1/4, 3/4]]: q = (1/2 + 1/8, 3/8)
    probs = torch.tensor([0.5, 0.5]).view(1, 2, 1, 1)
    transition = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    assert correct(probs, transition).flatten().tolist() == [0.625, 0.375]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(2, 6))
def test_correct_agrees_with_einsum_and_gives_distributions(seed: int, size: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    probs = torch.randn(2, size, 3, 5, generator=rng, dtype=torch.float64).softmax(dim=1)
    transition = stochastic(seed, size)
    corrected = correct(probs, transition)
    torch.testing.assert_close(corrected, torch.einsum("bjhw,jk->bkhw", probs, transition))
    torch.testing.assert_close(corrected.sum(dim=1), torch.ones(2, 3, 5, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(2, 2), (3, 2), (3,), (1, 3, 3)])
def test_correct_rejects_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"allowed is \(3, 3\)"):
        correct(torch.ones(1, 3, 2, 2), torch.ones(shape))


def test_corrected_nll_by_hand() -> None:
    # logits (log 3, 0): p = (3/4, 1/4). T = [[2/3, 1/3], [0, 1]]: q = (1/2, 1/4 + 1/4) = (1/2, 1/2)
    # whatever the pseudo-label, -log q = log 2; the third pixel has none
    logits = torch.tensor([math.log(3), 0.0]).view(1, 2, 1, 1).expand(1, 2, 1, 3)
    transition = torch.tensor([[2 / 3, 1 / 3], [0.0, 1.0]])
    label = torch.tensor([[[0, 1, IGNORE]]])
    assert float(corrected_nll(logits, transition, label)) == pytest.approx(math.log(2), rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_identity_corrects_nothing(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 3, 4, 4, generator=rng, dtype=torch.float64)
    label = torch.randint(3, (2, 4, 4), generator=rng)
    plain = masked_nll(logits.log_softmax(dim=1), label)
    torch.testing.assert_close(corrected_nll(logits, torch.eye(3, dtype=torch.float64), label), plain)


def test_corrected_nll_is_differentiable_twice_in_logits_and_transition() -> None:
    rng = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 3, 2, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    transition = stochastic(1, 3).requires_grad_(True)
    label = torch.tensor([[[0, 1, 2], [IGNORE, 1, 0]]])
    assert gradgradcheck(lambda z, t: corrected_nll(z, t, label), (logits, transition))


def test_a_prediction_that_underflows_costs_a_finite_loss_with_a_finite_slope() -> None:
    # the gap of 400 is beyond float32's softmax: p = (1, 0, 0); a zeroed column of T does the same to q
    logits = torch.tensor([400.0, 0.0, 0.0]).view(1, 3, 1, 1)
    emptied = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    for transition in (torch.eye(3), emptied):
        z, t = logits.clone().requires_grad_(True), transition.clone().requires_grad_(True)
        loss = corrected_nll(z, t, torch.tensor([[[1]]]))
        slopes = torch.autograd.grad(loss, (z, t))
        assert bool(loss.isfinite())
        assert float(loss.detach()) > 80
        assert all(bool(slope.isfinite().all()) for slope in slopes)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([0.5, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]),  # all alike stay alike
        ([2.0, 0.0, 0.0], [1.0, 0.0, 0.0]),  # θ = 1
        ([0.8, 0.4, -0.5], [0.7, 0.3, 0.0]),  # two stay: 0.8 + 0.4 - 2θ = 1, θ = 0.1
        ([-1.0, -1.5, -3.0], [0.75, 0.25, 0.0]),  # no positive entry, where the published division is 0 / 0
        ([0.2, 0.3, 0.5], [0.2, 0.3, 0.5]),  # already there
        ([0.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_projection_by_hand(row: list[float], expected: list[float]) -> None:
    projected = project_rows(torch.tensor([row, row[::-1]], dtype=torch.float64))
    assert projected[0].tolist() == pytest.approx(expected, abs=1e-12)
    assert projected[1].tolist() == pytest.approx(expected[::-1], abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(matrix=matrices(finite32, torch.float32))
def test_projection_is_row_stochastic_and_idempotent_for_any_float(matrix: Tensor) -> None:
    once = project_rows(matrix)
    assert_row_stochastic(once, 1e-6)
    torch.testing.assert_close(project_rows(once), once, rtol=0, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(matrix=matrices(tame, torch.float64))
def test_projection_satisfies_the_optimality_conditions(matrix: Tensor) -> None:
    # KKT of min ½|x - v|² on the simplex: one θ per row with x = v - θ where x > 0, and v ≤ θ where x = 0
    for v, x in zip(matrix, project_rows(matrix), strict=True):
        theta = (v - x)[x > 0]
        assert float(theta.max() - theta.min()) <= 1e-12
        assert bool((v[x == 0] <= theta.mean() + 1e-12).all())


@settings(max_examples=100, deadline=None)
@given(matrix=matrices(tame, torch.float64), seed=st.integers(0, 10_000))
def test_no_other_stochastic_matrix_is_nearer(matrix: Tensor, seed: int) -> None:
    other = stochastic(seed, len(matrix))
    ours = project_rows(matrix)
    for nearer in (other, 0.999 * ours + 0.001 * other):
        assert float((matrix - ours).square().sum()) <= float((matrix - nearer).square().sum()) + 1e-12


@pytest.mark.parametrize("seed", range(6))
def test_projection_agrees_with_a_quadratic_program(seed: int) -> None:
    size = 2 + seed
    row = 2 * np.random.default_rng(seed).standard_normal(size)
    solved = minimize(
        lambda x: 0.5 * ((x - row) ** 2).sum(),
        np.full(size, 1 / size),
        jac=lambda x: x - row,
        bounds=[(0, None)] * size,
        constraints={"type": "eq", "fun": lambda x: x.sum() - 1, "jac": np.ones_like},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 200},
    )
    assert solved.success
    ours = project_rows(torch.tensor(row)[None])[0].numpy()
    np.testing.assert_allclose(ours, solved.x, atol=1e-6)


def test_descend_by_hand() -> None:
    # max|G| = 2, rate 0.1: T - 0.1 G / 2 = [[.8, .3], [.15, .8]]
    # row 0 sums to 1.1: θ = .05, (.75, .25). Row 1 sums to .95: θ = -.025, (.175, .825)
    moved = descend(torch.tensor([[0.8, 0.2], [0.2, 0.8]]), torch.tensor([[0.0, -2.0], [1.0, 0.0]]), 0.1)
    torch.testing.assert_close(moved, torch.tensor([[0.75, 0.25], [0.175, 0.825]]))


@settings(max_examples=100, deadline=None)
@given(gradient=matrices(tame, torch.float64), seed=st.integers(0, 10_000), rate=st.floats(0.001, 1))
def test_descend_goes_downhill_and_no_further_than_its_rate(gradient: Tensor, seed: int, rate: float) -> None:
    before = stochastic(seed, len(gradient))
    after = descend(before, gradient, rate)
    assert_row_stochastic(after, 1e-12)
    assert float((gradient * (after - before)).sum()) <= 1e-12
    # a projection onto a convex set is never longer than the step: |T⁺ - T| ≤ γ |G| / max|G| ≤ γ C
    assert float((after - before).norm()) <= rate * len(gradient) + 1e-12


@settings(max_examples=50, deadline=None)
@given(gradient=matrices(tame, torch.float64), exponent=st.integers(-60, 60))
def test_descend_does_not_know_the_scale_of_the_gradient(gradient: Tensor, exponent: int) -> None:
    assume(float(gradient.abs().max()) > 1e-6)
    first = start(len(gradient), 0.1, torch.float64)
    torch.testing.assert_close(descend(first, gradient * 2.0**exponent, 0.1), descend(first, gradient, 0.1))


@pytest.mark.parametrize("value", [0.0, 1e-45, -1e-45])
def test_a_gradient_of_nothing_leaves_the_matrix(value: float) -> None:
    first = start(3, 0.05)
    torch.testing.assert_close(descend(first, torch.full((3, 3), value), 0.11), first)


def test_a_counted_matrix_by_hand() -> None:
    true = torch.tensor([[0, 0, 0, 0], [1, 1, 2, 0]])
    pseudo = torch.tensor([[0, 0, 0, 1], [1, 0, IGNORE, IGNORE]])
    counts = confusion_counts(pseudo, true, 3)
    assert counts.tolist() == [[3, 1, 0], [1, 1, 0], [0, 0, 0]]
    bare = torch.tensor(
        [[0.75, 0.25, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    )  # nobody has seen the last: its own label
    torch.testing.assert_close(from_counts(counts), (bare + LEAST) / (1 + 3 * LEAST))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_counts_of_noise_find_its_matrix(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    truth = (torch.rand(3, 3, generator=generator) + 4 * torch.eye(3)).double()
    truth /= truth.sum(dim=1, keepdim=True)
    labels = torch.randint(3, (30_000,), generator=generator)
    noisy = torch.multinomial(truth[labels], 1, generator=generator)[:, 0]
    halves = [confusion_counts(noisy[half], labels[half], 3) for half in (slice(0, 9_000), slice(9_000, None))]
    torch.testing.assert_close(from_counts(sum(halves)).double(), truth, atol=0.03, rtol=0)
