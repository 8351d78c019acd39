"""Rules that look at each class's confidences: golden thresholds and labels, and their laws."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from prostate_uda.maths.losses import IGNORE
from prostate_uda.maths.selection import (
    BINS,
    BalancedSelection,
    RegularizedSelection,
    Selection,
    balanced_labels,
    bin_edges,
    confident_labels,
    count_confidences,
    portion_thresholds,
    regularized_labels,
    soft_labels,
)
from tests.builders import two_classes

NO_VOLUMES = torch.zeros(3)
K = torch.tensor([0.9, 0.4, 0.6])
# columns are pixels; p / k is (.89 .38 .08), (.56 1.13 .08), (1.06 .08 .03), (.22 .75 .83), (.11 .75 1)
PROBS = torch.tensor([[0.8, 0.5, 0.95, 0.2, 0.1], [0.15, 0.45, 0.03, 0.3, 0.3], [0.05, 0.05, 0.02, 0.5, 0.6]])


def random_probs(seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return (4 * torch.randn(3, 40, 10, generator=rng)).softmax(dim=0)


def test_balanced_labels_by_hand() -> None:
    assert balanced_labels(PROBS, K).tolist() == [IGNORE, 1, 0, IGNORE, 2]  # a ratio of 1 is enough
    assert balanced_labels(PROBS, K).dtype == torch.uint8


def test_a_class_may_lose_every_pixel_that_is_predicted_as_it() -> None:
    probs = torch.tensor([[0.6, 0.33], [0.4, 0.35], [0.0, 0.32]])  # predicted as 0 and 1, and k is (.6 .35 1)
    k = portion_thresholds(count_confidences(probs), 1.0)
    assert balanced_labels(probs, k).tolist() == [1, 1]


def test_regularized_labels_by_hand() -> None:
    # a = ½: the squared ratios of the first pixel sum to .94, those of the fourth to .05 + .56 + .69 = 1.31
    assert regularized_labels(PROBS, K, 0.5).tolist() == [IGNORE, 1, 0, 2, 2]
    assert regularized_labels(PROBS, K, 0.01).tolist() == [IGNORE, 1, 0, IGNORE, 2]  # towards the hard rule
    soft = soft_labels(PROBS.T[:, :, None, None], K, 0.5)[3, :, 0, 0]
    torch.testing.assert_close(soft, torch.tensor([0.0378, 0.4306, 0.5316]), atol=1e-4, rtol=0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), a=st.floats(0.05, 2))
def test_the_kept_pixels_are_those_of_the_papers_rule(seed: int, a: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    probs = random_probs(seed).double()
    k = torch.rand(3, generator=rng).double() * 0.6 + 0.4
    y = soft_labels(probs[None], k, a)[0]
    cost = (y * (-probs.log() + a * y.clamp_min(1e-300).log())).sum(dim=0)
    bound = -(y * k.log()[:, None, None]).sum(dim=0)
    clear = (cost - bound).abs() > 1e-9
    kept = regularized_labels(probs, k, a) != IGNORE
    assert torch.equal(kept[clear], (cost < bound)[clear])
    assert bool((kept | (balanced_labels(probs, k) == IGNORE) | ~clear).all())  # none that CBST keeps is lost


def test_thresholds_by_hand() -> None:
    # ten pixels of class 0: a fifth of them is two, the second most confident has 0.9
    counts = count_confidences(two_classes(0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.58, 0.55))
    assert counts.sum(dim=1).tolist() == [10, 0]
    torch.testing.assert_close(portion_thresholds(counts, 0.2), torch.tensor([0.9, 1.0]), atol=3e-4, rtol=0)
    torch.testing.assert_close(portion_thresholds(counts, 0.01)[0].item(), 0.95, atol=2e-4, rtol=0)  # one at least
    torch.testing.assert_close(portion_thresholds(counts, 1.0)[0].item(), 0.55, atol=7e-4, rtol=0)
    # LTIR: the median where it is below 0.9
    ltir = Selection(threshold=0.9, portion=0.5)
    torch.testing.assert_close(ltir.thresholds(counts, NO_VOLUMES), torch.tensor([0.75, 0.9]), atol=5e-4, rtol=0)
    sure = count_confidences(two_classes(0.99, 0.98, 0.97, 0.6))
    assert ltir.thresholds(sure, NO_VOLUMES)[0] == torch.tensor(0.9)


def test_a_class_predicted_nowhere_is_given_to_no_pixel() -> None:
    probs = PROBS[:, :3]  # class 2 is nowhere the largest
    k = BalancedSelection(portion=1.0).thresholds(count_confidences(probs), NO_VOLUMES)
    assert k[2] == 1
    assert 2 not in balanced_labels(probs, k)
    assert 2 not in regularized_labels(probs, k, 0.25)


def test_a_pixel_without_a_doubt_is_kept() -> None:
    probs = torch.tensor([[1.0], [0.0], [0.0]])
    for rule in (BalancedSelection(portion=0.2), RegularizedSelection(portion=0.2, smoothness=0.25)):
        assert rule.labels(probs, rule.thresholds(count_confidences(probs), NO_VOLUMES)).tolist() == [0]


def test_what_the_network_has_not_seen_is_neither_counted_nor_labelled() -> None:
    probs = torch.zeros(3, 4)
    probs[:, 0] = torch.tensor([0.2, 0.7, 0.1])
    counts = count_confidences(probs)
    assert counts.sum(dim=1).tolist() == [0, 1, 0]
    for rule in (BalancedSelection(portion=1.0), RegularizedSelection(portion=1.0, smoothness=0.25)):
        assert rule.labels(probs, rule.thresholds(counts, NO_VOLUMES)).tolist() == [1, IGNORE, IGNORE, IGNORE]


def test_confidences_just_below_one_are_told_apart() -> None:
    sure = [1 - 10**-power for power in (2.0, 3.0, 4.0, 5.0, 6.0)]
    counts = count_confidences(two_classes(*sure, 1.0))
    for place in range(5):
        k = portion_thresholds(counts, (place + 1) / 6)[0].item()
        expected = [1.0, *reversed(sure)][place]
        assert 1 - k == pytest.approx(1 - expected, rel=0.06, abs=0)  # float32 has but 17 steps left at 1 - 1e-6


def test_bins_hold_every_confidence() -> None:
    edges = bin_edges()
    assert edges.shape == (BINS,)
    assert bool((edges[1:] >= edges[:-1]).all())
    assert edges[-1] == 1
    assert float((edges[1:] - edges[:-1]).max()) < 6.1e-4
    assert int(count_confidences(two_classes(1.0, 1.0000001, 0.5)).sum()) == 3  # resampling may exceed 1 by rounding


def test_one_threshold_for_all_is_that_of_the_classes() -> None:
    probs = two_classes(0.9, torch.nextafter(torch.tensor(0.9), torch.tensor(0.0)).item(), 0.91, 0.6)
    k = Selection(threshold=0.9).thresholds(torch.zeros(2, BINS, dtype=torch.int64), NO_VOLUMES)
    assert Selection(threshold=0.9).labels(probs, k).tolist() == [0, IGNORE, 0, IGNORE]
    for threshold in (0.0, 0.3, 0.6, 0.9, 0.9999):
        rule = Selection(threshold=threshold)
        probs = random_probs(1)
        chosen = rule.labels(probs, rule.thresholds(torch.zeros(3, BINS, dtype=torch.int64), NO_VOLUMES))
        assert torch.equal(chosen, confident_labels(probs, threshold))
    assert IGNORE not in Selection().labels(probs, torch.zeros(3))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), portion=st.floats(0.01, 1), order=st.permutations(range(3)))
def test_thresholds_and_labels_go_with_the_classes(seed: int, portion: float, order: list[int]) -> None:
    rule, probs = BalancedSelection(portion=portion), random_probs(seed)
    k = rule.thresholds(count_confidences(probs), NO_VOLUMES)
    swapped = rule.thresholds(count_confidences(probs[order]), NO_VOLUMES)
    assert torch.equal(swapped, k[order])
    here, there = rule.labels(probs, k), rule.labels(probs[order], swapped)
    kept = here != IGNORE
    assert torch.equal(kept, there != IGNORE)
    assert torch.equal(torch.tensor(order)[there[kept].long()], here[kept].long())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), portion=st.floats(0.01, 1))
def test_the_portion_of_each_class_is_as_asked(seed: int, portion: float) -> None:
    probs = random_probs(seed)
    k = portion_thresholds(count_confidences(probs), portion)
    confidence, label = probs.max(dim=0)
    above = bin_edges()[torch.searchsorted(bin_edges(), k, right=True).clamp_max(BINS - 1)]  # the next bin's
    for number in range(3):
        mine = confidence[label == number]
        wanted = math.ceil(portion * len(mine))
        assert int((mine >= k[number]).sum()) >= wanted
        assert int((mine >= above[number]).sum()) < max(wanted, 1) or k[number] == 1


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(1, 39))
def test_counts_of_parts_add_up(seed: int, cut: int) -> None:
    probs = random_probs(seed)
    whole, parts = count_confidences(probs), [count_confidences(probs[:, :cut]), count_confidences(probs[:, cut:])]
    assert torch.equal(whole, parts[0] + parts[1])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_larger_portion_keeps_what_a_smaller_one_kept(seed: int) -> None:
    probs = random_probs(seed)
    counts = count_confidences(probs)
    few, many = (portion_thresholds(counts, portion) for portion in (0.2, 0.5))
    assert bool((many <= few).all())
    kept = balanced_labels(probs, few) != IGNORE
    assert bool((balanced_labels(probs, many)[kept] != IGNORE).all())
