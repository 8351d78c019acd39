"""Where a prediction is in doubt, class by class, and the ranking of images: by hand, laws, and the edges."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prostate_uda.maths.entropy import normalized_entropy
from prostate_uda.maths.self_information import easiest, self_information


def test_self_information_by_hand() -> None:
    # (½, ¼, ¼): ½ log 2, ¼ log 4, ¼ log 4, all ½ log 2; (1/9, 4/9, 4/9): log 9 / 9, 4/9 log(9/4) twice
    logits = torch.tensor([[0.5, 0.25, 0.25], [1 / 9, 4 / 9, 4 / 9]]).log().t()[None, :, None, :]
    found = self_information(logits)
    assert found.shape == (1, 3, 1, 2)
    half, ninth, rest = 0.5 * math.log(2), math.log(9) / 9, 4 / 9 * math.log(9 / 4)
    wanted = [half, ninth, half, rest, half, rest]  # class by class, two pixels each
    assert found.flatten().tolist() == pytest.approx([value / math.log(3) for value in wanted], rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 19), scale=st.floats(0.0, 50.0))
def test_its_sum_is_the_entropy_and_it_stays_within_its_bounds(seed: int, classes: int, scale: float) -> None:
    logits = scale * torch.randn(2, classes, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = self_information(logits)
    torch.testing.assert_close(found.sum(dim=1), normalized_entropy(logits))
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1 / (math.e * math.log(classes)) + 1e-12


def test_the_released_codes_maps_are_these() -> None:
    probs = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).softmax(dim=1)
    released = -probs * torch.log2(probs + 1e-30) / math.log2(4)
    torch.testing.assert_close(self_information(probs.log()), released)


def test_a_prediction_that_underflows_is_in_no_doubt_and_is_not_pushed() -> None:
    logits = torch.tensor([300.0, -300.0, 0.0]).view(1, 3, 1, 1).requires_grad_(True)
    found = self_information(logits)
    (slope,) = torch.autograd.grad(found.sum(), logits)
    assert found.flatten().tolist() == [0.0, 0.0, 0.0]
    assert slope.flatten().tolist() == [0.0, 0.0, 0.0]


def test_one_class_is_never_in_doubt_and_half_precision_is_widened() -> None:
    assert self_information(torch.randn(1, 1, 2, 2)).abs().max() == 0
    assert self_information(torch.zeros(1, 2, 2, 2, dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize(
    ("doubts", "share", "wanted"),
    [
        ([0.3, 0.1, 0.2], 0.67, [False, True, True]),  # ⌊2.01⌋
        ([0.3, 0.1, 0.2, 0.4, 0.0], 0.67, [False, True, True, False, True]),  # ⌊3.35⌋
        ([0.2, 0.2, 0.2, 0.2], 0.5, [True, True, False, False]),  # the first of equals
        ([0.5], 0.67, [True]),  # ⌊0.67⌋ is none: one at least
        ([math.nan, 0.9], 0.5, [False, True]),
        ([], 0.5, []),
    ],
)
def test_the_easiest_by_hand(doubts: list[float], share: float, wanted: list[bool]) -> None:
    assert easiest(torch.tensor(doubts), share).tolist() == wanted


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(2, 60), share=st.floats(0.05, 0.95))
def test_no_easy_image_is_more_in_doubt_than_a_hard_one(seed: int, count: int, share: float) -> None:
    doubts = torch.rand(count, generator=torch.Generator().manual_seed(seed))
    easy = easiest(doubts, share)
    assert int(easy.sum()) == max(int(share * count), 1)
    if bool((~easy).any()):
        assert float(doubts[easy].max()) <= float(doubts[~easy].min())
