"""CRST's losses and slopes, worked by hand."""

import pytest
import torch

from prostate_uda.errors import ShapeError
from prostate_uda.maths.losses import IGNORE, cross_entropy
from prostate_uda.maths.regularizers import regularized_nll, soft_nll

# two pixels; the second takes no part
PROBS = torch.tensor([[0.7, 0.5], [0.2, 0.3], [0.1, 0.2]], dtype=torch.float64)[None, :, None, :]
LABEL = torch.tensor([[[0, IGNORE]]])
P = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
ONE_HOT = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)


def slope_at_the_first_pixel(**weights: float) -> torch.Tensor:
    logits = PROBS.log().requires_grad_(True)
    (slope,) = torch.autograd.grad(regularized_nll(logits, LABEL, **weights), logits)
    assert not slope[..., 1].any()
    return slope[0, :, 0, 0]


def test_mrkld_by_hand() -> None:
    # -log .7 = .3567; -(log .7 + log .2 + log .1) / 3 = 4.2687 / 3 = 1.4229
    assert regularized_nll(PROBS.log(), LABEL, kld_weight=0.1).item() == pytest.approx(0.356675 + 0.1422900, abs=1e-6)
    torch.testing.assert_close(slope_at_the_first_pixel(kld_weight=0.1), P - ONE_HOT + 0.1 * (P - 1 / 3))


def test_mrent_by_hand() -> None:
    # .7 log .7 + .2 log .2 + .1 log .1 = -.2497 - .3219 - .2303 = -.8018
    assert regularized_nll(PROBS.log(), LABEL, entropy_weight=0.1).item() == pytest.approx(0.2764931, abs=1e-6)
    expected = P - ONE_HOT + 0.1 * P * (P.log() + 0.8018186)
    torch.testing.assert_close(slope_at_the_first_pixel(entropy_weight=0.1), expected, atol=1e-7, rtol=0)


def test_lrent_by_hand() -> None:
    # .5 · .3567 + .3 · 1.6094 + .2 · 2.3026
    soft = torch.tensor([[0.5, 0.0], [0.3, 0.0], [0.2, 1.0]], dtype=torch.float64)[None, :, None, :]
    logits = PROBS.log().requires_grad_(True)
    loss = soft_nll(logits, LABEL, soft=soft)
    assert loss.item() == pytest.approx(1.1216859, abs=1e-6)
    (slope,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(slope[0, :, 0, 0], P - soft[0, :, 0, 0])
    assert not slope[..., 1].any()


def test_without_a_weight_it_is_cross_entropy() -> None:
    rng = torch.Generator().manual_seed(0)
    logits, label = torch.randn(2, 3, 5, 4, generator=rng), torch.randint(3, (2, 5, 4), generator=rng)
    assert torch.equal(regularized_nll(logits, label), cross_entropy(logits, label))
    hard = torch.nn.functional.one_hot(label, 3).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(soft_nll(logits, label, soft=hard), cross_entropy(logits, label))


def test_shares_of_a_batch_add_up() -> None:
    rng = torch.Generator().manual_seed(0)
    logits, label = torch.randn(4, 3, 5, 4, generator=rng), torch.randint(3, (4, 5, 4), generator=rng)
    label[0] = IGNORE
    soft, count = logits.roll(1, 0).softmax(dim=1), (label != IGNORE).sum()
    whole = regularized_nll(logits, label, kld_weight=0.3, entropy_weight=0.2) + soft_nll(logits, label, soft=soft)
    parts = [
        regularized_nll(logits[half], label[half], count, kld_weight=0.3, entropy_weight=0.2)
        + soft_nll(logits[half], label[half], count, soft=soft[half])
        for half in (slice(0, 1), slice(1, 4))
    ]
    torch.testing.assert_close(parts[0] + parts[1], whole)


def test_nothing_selected_costs_nothing_and_an_underflow_little() -> None:
    logits = torch.tensor([0.0, -2e4, 2e4]).view(1, 3, 1, 1).requires_grad_(True)
    nothing, one = torch.full((1, 1, 1), IGNORE), torch.zeros(1, 1, 1, dtype=torch.int64)
    for label in (nothing, one):
        loss = regularized_nll(logits, label, kld_weight=0.1, entropy_weight=0.1)
        (slope,) = torch.autograd.grad(loss, logits)
        assert bool(loss.isfinite())
        assert bool(slope.isfinite().all())
        assert (loss == 0) == (label is nothing)


def test_soft_labels_of_other_pixels_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"soft labels of shape \(1, 3, 1, 1\); allowed is \(1, 3, 1, 2\)"):
        soft_nll(PROBS.log(), LABEL, soft=torch.ones(1, 3, 1, 1))
