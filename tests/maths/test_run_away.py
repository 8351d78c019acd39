"""Which rows of a learned NTM have been given up."""

import torch

from prostate_uda.maths.noise import run_away, start

DESIGNS = torch.tensor([[0.97, 0.03, 0.0], [0.35, 0.55, 0.10], [0.05, 0.35, 0.60]])
"""The known noise of DESIGN.md: much, and plain."""
RAN = torch.tensor([[0.2, 0.5, 0.3], [0.03, 0.94, 0.03], [0.03, 0.03, 0.94]])
"""DESIGN.md's that took the network with it."""


def test_the_row_and_its_level_are_named() -> None:
    first = start(3, 0.05).expand(2, 3, 3)
    assert run_away(torch.stack([first[0], RAN]), first, 0.35) == [(1, 0)]
    assert run_away(torch.stack([RAN.flip(0, 1), RAN]), first, 0.35) == [(0, 2), (1, 0)]


def test_plain_noise_has_not_run_away() -> None:
    first = start(3, 0.05).expand(1, 3, 3)
    drifted = torch.tensor([[0.6, 0.2, 0.2], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    half_wrong = torch.tensor([[0.5, 0.25, 0.25]] * 3).roll(0)
    exchanged = torch.tensor([[0.98, 0.01, 0.01], [0.05, 0.50, 0.45], [0.05, 0.40, 0.55]])
    for matrix in (first[0], DESIGNS, drifted, exchanged, torch.diag_embed(half_wrong.diagonal()) + 0.1):
        assert run_away(matrix[None], first, 0.35) == []
    assert run_away(half_wrong[None], first, 0.35) == [(0, 1), (0, 2)]  # their labels say another class


def test_a_row_that_began_low_may_stay_low() -> None:
    counted = torch.tensor([[[0.97, 0.02, 0.01], [0.80, 0.15, 0.05], [0.3, 0.1, 0.6]]])
    assert run_away(counted, counted, 0.35) == []
    assert run_away(counted, start(3, 0.05)[None], 0.35) == [(0, 1)]


def test_what_is_exactly_on_the_floor_stays() -> None:
    first = torch.eye(2)[None]
    assert run_away(torch.full((1, 2, 2), 0.5), first, 0.5) == []
    assert run_away(torch.tensor([[[0.4, 0.6], [0.5, 0.5]]]), first, 0.5) == [(0, 0)]
