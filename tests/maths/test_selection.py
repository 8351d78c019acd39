"""Which pixels take part: golden choices, and the edges (ties, nothing found, nothing labelled)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from prostate_uda.maths.losses import IGNORE
from prostate_uda.maths.selection import confident_labels, target_like


def test_confident_labels_by_hand() -> None:
    # columns are pixels; the largest of each is 0.6 (class 0), 0.9 (class 2), 0.4 (class 1), 0.5 (class 0)
    probs = torch.tensor([[0.6, 0.05, 0.3, 0.5], [0.3, 0.05, 0.4, 0.25], [0.1, 0.9, 0.3, 0.25]])
    assert confident_labels(probs, 0.5).tolist() == [0, 2, IGNORE, 0]  # 0.5 reaches a threshold of 0.5
    assert confident_labels(probs, 0.0).tolist() == [0, 2, 1, 0]
    assert confident_labels(probs, 1.0).tolist() == [IGNORE] * 4
    assert confident_labels(probs, 0.5).dtype == torch.uint8


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_higher_threshold_only_drops_labels(seed: int, low: float, high: float) -> None:
    low, high = sorted((low, high))
    probs = torch.randn(4, 3, 5, 2, generator=torch.Generator().manual_seed(seed)).softmax(dim=0)
    many, few = confident_labels(probs, low), confident_labels(probs, high)
    assert many.shape == (3, 5, 2)
    kept = few != IGNORE
    assert torch.equal(few[kept], many[kept])
    assert torch.equal(kept, probs.amax(dim=0) >= high)


def test_target_like_by_hand() -> None:
    probability = torch.tensor([[[0.9, 0.1], [0.5, 0.8]], [[0.2, 0.3], [0.7, 0.4]]])
    label = torch.tensor([[[0, 1], [2, IGNORE]], [[1, 2], [0, 1]]])
    chosen = target_like(probability, label, threshold=0.5, minimum_share=0.0)
    assert chosen.tolist() == [[[0, IGNORE], [2, IGNORE]], [[IGNORE, IGNORE], [0, IGNORE]]]


def test_the_most_target_like_are_taken_when_too_few_reach_the_threshold() -> None:
    # 7 labelled pixels, half of them is 3.5: four are wanted, and only 0.9 reaches the threshold
    probability = torch.tensor([[[0.9, 0.1], [0.5, 0.8]], [[0.2, 0.3], [0.7, 0.4]]])
    label = torch.tensor([[[0, 1], [2, IGNORE]], [[1, 2], [0, 1]]])
    chosen = target_like(probability, label, threshold=0.85, minimum_share=0.5)
    assert chosen.tolist() == [[[0, IGNORE], [2, IGNORE]], [[IGNORE, IGNORE], [0, 1]]]


def test_one_pixel_at_least_however_few_are_labelled() -> None:
    label = torch.full((1, 2, 3), IGNORE)
    label[0, 0, :2] = torch.tensor([1, 2])
    chosen = target_like(torch.tensor([[[0.1, 0.2, 0.3]] * 2]), label, threshold=0.5, minimum_share=0.1)
    assert chosen[0, 0].tolist() == [IGNORE, 2, IGNORE]


@pytest.mark.parametrize("minimum_share", [0.0, 0.1, 1.0])
def test_nothing_labelled_stays_nothing(minimum_share: float) -> None:
    label = torch.full((2, 3, 3), IGNORE)
    assert torch.equal(target_like(torch.rand(2, 3, 3), label, 0.0, minimum_share), label)


def scene(seed: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    label = torch.randint(3, (3, 6, 5), generator=rng)
    label[torch.rand(label.shape, generator=rng) < 0.3] = IGNORE
    return torch.rand(label.shape, generator=rng), label


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), threshold=st.floats(0, 1), share=st.floats(0, 1))
def test_laws_of_the_meta_labels(seed: int, threshold: float, share: float) -> None:
    probability, label = scene(seed)
    chosen = target_like(probability, label, threshold, share)
    kept = chosen != IGNORE
    assert torch.equal(chosen[kept], label[kept])  # labels are dropped, never changed
    known = label != IGNORE
    reached = known & (probability >= threshold)
    assert bool((kept | ~reached).all())  # all that reach the threshold are in
    assert int(kept.sum()) >= share * int(known.sum())
    if int(kept.sum()) > int(reached.sum()):  # others are in: then none that is out looks more like the target
        assert min(probability[kept].tolist()) >= max([0.0, *probability[known & ~kept].tolist()])
