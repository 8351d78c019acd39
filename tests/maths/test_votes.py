"""Windows, their votes, and which classes are there."""

import math
from itertools import pairwise

import pytest
import torch

from prostate_uda.maths.losses import IGNORE
from prostate_uda.maths.selection import BalancedSelection
from prostate_uda.maths.votes import (
    TIE,
    VotedSelection,
    Window,
    any_known,
    ballot,
    classes_present,
    presence_loss,
    starts,
    windows,
)


@pytest.mark.parametrize("length", [32, 33, 50, 96, 97, 320])
@pytest.mark.parametrize("side", [16, 32])
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.9])
def test_squares_cover_an_axis_and_overlap_as_asked(length: int, side: int, overlap: float) -> None:
    found = starts(length, side, overlap)
    assert found[0] == 0
    assert found[-1] == length - side
    assert found == sorted(set(found))
    steps = [after - before for before, after in pairwise(found)]
    assert all(step <= side * (1 - overlap) + 1 for step in steps)
    assert all(step <= side for step in steps)


def test_windows_by_hand() -> None:
    found = list(windows(64, 96, (0.5, 0.5, 1.0), 0.5, 32))
    assert found[0] == Window(0, 64, 0, 96)
    halves = [Window(t, t + 32, left, left + 32) for t in (0, 16, 32) for left in (0, 16, 32, 48, 64)]
    assert found[1:] == [*halves, Window(0, 64, 0, 64), Window(0, 64, 32, 96)]


def test_no_window_is_smaller_than_the_network_takes() -> None:
    assert set(windows(40, 40, (0.1,), 0.0, 32)) >= {Window(0, 32, 0, 32), Window(8, 40, 8, 40)}
    assert list(windows(20, 20, (0.5,), 0.5, 32)) == [Window(0, 20, 0, 20)]


def test_a_hard_vote_is_for_one_class_and_breaks_ties_by_probability() -> None:
    probs = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    logits = probs.log()[None, :, None, None]
    expected = (1 - TIE) * torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64) + TIE * probs
    torch.testing.assert_close(ballot(logits, hard=True).flatten(), expected)
    torch.testing.assert_close(ballot(logits, hard=False).flatten(), probs)


def test_labels_of_other_votes_are_other_labels() -> None:
    first, second = (VotedSelection(portion=0.3, scales=(0.5,), overlap=0.5, vote=vote) for vote in ("hard", "soft"))
    assert len({repr(rule) for rule in (first, second, BalancedSelection(portion=0.3))}) == 3
    probs = torch.tensor([[0.6, 0.33], [0.4, 0.35], [0.0, 0.32]])
    k = torch.tensor([0.6, 0.35, 1.0])
    assert torch.equal(first.labels(probs, k), BalancedSelection(portion=0.3).labels(probs, k))


def test_classes_present() -> None:
    label = torch.tensor([[[0, 0, 2, IGNORE]], [[1, 1, 1, 0]], [[IGNORE] * 4]])
    assert classes_present(label, 3).tolist() == [[1, 0, 1], [1, 1, 0], [0, 0, 0]]
    assert classes_present(label, 3, least=2).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert any_known(label).tolist() == [True, True, False]


def test_the_presence_loss_by_hand() -> None:
    logits = torch.tensor([[0.0, 2.0], [1.0, -1.0], [9.0, 9.0]], requires_grad=True)
    present = torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    loss = presence_loss(logits, present, torch.tensor([True, True, False]))
    first = math.log(2) + math.log(1 + math.exp(-2))
    second = math.log(1 + math.exp(1)) + math.log(1 + math.exp(1))
    assert float(loss.detach()) == pytest.approx((first + second) / 4)
    (slope,) = torch.autograd.grad(loss, logits)
    assert slope[2].tolist() == [0, 0]


def test_no_known_image_is_no_loss() -> None:
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    loss = presence_loss(logits, torch.zeros(2, 3), torch.tensor([False, False]))
    assert float(loss.detach()) == 0
    assert torch.equal(torch.autograd.grad(loss, logits)[0], torch.zeros(2, 3))
