"""Criteria without a truth: golden numbers, and what they say of networks that find nothing."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prostate_uda.metrics.label_free import certainty, consistency, mean_rank, plausibility


def test_consistency_by_hand() -> None:
    one, other = torch.tensor([[[1, 1, 2, 0]]]), torch.tensor([[[1, 0, 2, 2]]])
    # PZ 2·1/(2+1), TZ 2·1/(1+2), the whole gland 2·2/(3+3)
    assert consistency(one, other) == pytest.approx(2 / 3)
    assert consistency(one, one) == 1
    nothing = torch.zeros_like(one)
    assert consistency(one, nothing) == 0
    assert math.isnan(consistency(nothing, nothing))


def test_certainty_looks_at_the_gland_alone() -> None:
    entropy, labels = torch.tensor([[[0.9, 0.2, 0.4]]]), torch.tensor([[[0, 1, 2]]])
    assert certainty(entropy, labels) == pytest.approx(0.7)
    assert math.isnan(certainty(entropy, torch.zeros_like(labels)))


def test_plausibility_by_hand() -> None:
    expected = torch.tensor([20.0, 30.0])
    assert plausibility(expected, expected) == 0
    assert plausibility(torch.tensor([10.0, 60.0]), expected) == pytest.approx(-2 * math.log(2))
    assert plausibility(torch.tensor([0.0, 30.0]), expected) == -math.inf


def test_mean_rank_by_hand() -> None:
    columns = torch.tensor([[0.1, 0.3, 0.3], [5.0, math.nan, 6.0]])  # ranks 0, 1.5, 1.5 and 1, 0, 2
    assert mean_rank(columns).tolist() == [0.5, 0.75, 1.75]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), criteria=st.integers(1, 4), networks=st.integers(1, 6))
def test_ranks_add_up_and_go_with_their_networks(seed: int, criteria: int, networks: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    columns = torch.randint(4, (criteria, networks), generator=generator).double()
    ranks = mean_rank(columns)
    assert float(ranks.sum()) == pytest.approx(networks * (networks - 1) / 2)
    order = torch.randperm(networks, generator=generator)
    torch.testing.assert_close(mean_rank(columns[:, order]), ranks[order])
