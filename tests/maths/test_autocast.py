"""Losses under autocast: what the networks compute in bfloat16 is judged in float32, in every derivative."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from prostate_uda.maths.losses import cross_entropy, masked_nll, safe_log, weighted_sum
from prostate_uda.maths.noise import correct, corrected_nll, start

LABEL = torch.randint(3, (2, 6, 5), generator=torch.Generator().manual_seed(1))
LOGITS = 3 * torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))
TRANSITION = start(3, 0.1)
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "masked_nll": lambda z, _: masked_nll(z, LABEL),
    "cross_entropy": lambda z, _: cross_entropy(z, LABEL),
    "corrected_nll": lambda z, T: corrected_nll(z, T, LABEL),
    "correct": lambda z, T: correct(z.softmax(dim=1), T).square().mean(),
    "safe_log": lambda z, _: safe_log(z.softmax(dim=1)).square().mean(),
}


def everything(loss: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
    """The value, both slopes, the slopes of the slopes' squares, and the derivative along a tangent."""
    z, T = LOGITS.clone().requires_grad_(True), TRANSITION.clone().requires_grad_(True)
    value = loss(z, T)
    slopes = torch.autograd.grad(value, (z, T), create_graph=True, materialize_grads=True)
    again = (
        torch.autograd.grad(
            torch.stack([slope.square().sum() for slope in slopes]).sum(),
            (z, T),
            materialize_grads=True,
            allow_unused=True,
        )
        if any(slope.requires_grad for slope in slopes)
        else ()
    )
    _, tangent = torch.func.jvp(loss, (LOGITS, TRANSITION), (LOGITS.cos(), TRANSITION))
    return [one.detach() for one in (value, *slopes, *again, tangent)]


@pytest.mark.parametrize("name", LOSSES)
def test_autocast_changes_no_bit_of_a_loss(name: str) -> None:
    plain = everything(LOSSES[name])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = everything(LOSSES[name])
    assert all(one.dtype == torch.float32 for one in cast)
    torch.testing.assert_close(cast, plain, rtol=0, atol=0)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_widened_before_anything_is_computed(name: str, half: torch.dtype) -> None:
    if name in ("correct", "safe_log"):  # the softmax before them is the test's own
        values = LOGITS.softmax(dim=1).to(half)
        loss = {"correct": lambda p: correct(p, TRANSITION), "safe_log": safe_log}[name]
        found, expected = loss(values), loss(values.float())
    else:
        values = LOGITS.to(half)
        found, expected = LOSSES[name](values, TRANSITION), LOSSES[name](values.float(), TRANSITION)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_double_precision_stays(name: str) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert LOSSES[name](LOGITS.double(), TRANSITION.double()).dtype == torch.float64


def test_an_unused_head_in_half_precision_does_not_lower_the_sum() -> None:
    exact = torch.tensor(1.00390625)  # 1 + 2⁻⁸: not a bfloat16
    total = weighted_sum([torch.zeros((), dtype=torch.bfloat16), exact], (0.0, 1.0))
    assert total.dtype == torch.float32
    assert float(total) == float(exact)
