"""The interval of a difference of mIoU: against all draws of two images, a plain bootstrap, and what seeds share."""

import math

import numpy as np
import pytest
import torch

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.metrics import class_iou, confusion, mean_iou, ratio_bootstrap
from prostate_uda.metrics.ratio_bootstrap import Judged, paired_iou_bootstrap

CLASSES = 4


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def maps(images: int, seed: int, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Truth, and predictions of which about that share is drawn anew; images differ in what they hold."""
    drawn = generator(seed)
    weights = torch.rand(images, CLASSES, generator=drawn)
    truth = torch.multinomial(weights, 64, replacement=True, generator=drawn)
    other = torch.randint(CLASSES, truth.shape, generator=drawn)
    return truth, torch.where(torch.rand(truth.shape, generator=drawn) < share, other, truth)


def counts(truth: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
    both = [[((t == c) & (p == c)).sum() for c in range(CLASSES)] for t, p in zip(truth, predicted, strict=True)]
    either = [[((t == c) | (p == c)).sum() for c in range(CLASSES)] for t, p in zip(truth, predicted, strict=True)]
    return torch.stack([torch.tensor(both), torch.tensor(either)], dim=1)


def judged(images: int = 12, name: str = "") -> tuple[Judged, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    truth, ours = maps(images, 1, 0.3)
    _, theirs = maps(images, 1, 0.5)
    names = tuple(f"{name}{number}" for number in range(images))
    return Judged(names, counts(truth, ours), counts(truth, theirs)), (truth, ours, theirs)


def miou(truth: torch.Tensor, predicted: torch.Tensor) -> float:
    return mean_iou(class_iou(confusion(predicted, truth, CLASSES)))


def test_the_difference_is_that_of_all_pixels_together() -> None:
    seed, (truth, ours, theirs) = judged()
    found = paired_iou_bootstrap([seed], generator=generator(), resamples=10)
    assert found.mean == pytest.approx(miou(truth, ours) - miou(truth, theirs), abs=1e-12)


def test_the_ends_of_two_images_are_two_of_the_three_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the one, twice the other, or both, in a half of all draws; so, too, in parts."""
    seed, (truth, ours, theirs) = judged(2)
    draws = [[0, 0], [0, 1], [1, 1]]
    values = sorted(miou(truth[draw], ours[draw]) - miou(truth[draw], theirs[draw]) for draw in draws)
    assert len({round(value, 9) for value in values}) == 3
    for at_once in (2**22, 8):
        monkeypatch.setattr(ratio_bootstrap, "AT_ONCE", at_once)
        found = paired_iou_bootstrap([seed], generator=generator(), resamples=1000)
        assert (found.low, found.high) == pytest.approx((values[0], values[2]), abs=1e-12)


def test_it_is_the_plain_bootstrap_of_one_seed() -> None:
    seed, (truth, ours, theirs) = judged(12)
    drawn = np.random.default_rng(5).integers(12, size=(2000, 12))
    plain = [miou(truth[row], ours[row]) - miou(truth[row], theirs[row]) for row in drawn.tolist()]
    found = paired_iou_bootstrap([seed], generator=generator(), resamples=20000)
    low, high = np.quantile(plain, (0.025, 0.975))
    width = high - low
    assert found.low == pytest.approx(low, abs=0.08 * width)
    assert found.high == pytest.approx(high, abs=0.08 * width)


def test_images_that_many_seeds_judged_are_no_further_evidence() -> None:
    one, _ = judged()
    fresh = [judged(name=f"{seed}-")[0] for seed in range(4)]
    alone, same, other = (paired_iou_bootstrap(seeds, generator=generator()) for seeds in ([one], [one] * 4, fresh))
    assert same == pytest.approx(alone, abs=1e-12)
    assert other.mean == pytest.approx(alone.mean)
    assert other.high - other.low == pytest.approx((alone.high - alone.low) / 2, rel=0.1)


def test_seeds_count_alike_whatever_number_of_images_they_have() -> None:
    (first, _), (second, _) = judged(12, "a"), judged(3, "b")
    each = [paired_iou_bootstrap([seed], generator=generator(), resamples=1).mean for seed in (first, second)]
    both = paired_iou_bootstrap([first, second], generator=generator(), resamples=1)
    assert both.mean == pytest.approx(sum(each) / 2)


def test_a_class_that_is_nowhere_has_no_part() -> None:
    """Theirs finds class 1, which is not there: an IoU of 0 in its mean alone."""
    ours = torch.tensor([[[10, 0], [10, 0]]])
    theirs = torch.tensor([[[6, 0], [10, 4]]])
    found = paired_iou_bootstrap([Judged(("a",), ours, theirs)], generator=generator(), resamples=5)
    assert found == pytest.approx((0.7, 0.7, 0.7))


def test_nothing_is_no_number() -> None:
    empty = Judged((), torch.zeros(0, 2, 3), torch.zeros(0, 2, 3))
    for seeds in ([], [empty]):
        assert all(math.isnan(value) for value in paired_iou_bootstrap(seeds, generator=generator()))
    seed, _ = judged()
    assert paired_iou_bootstrap([seed, empty], generator=generator()) == paired_iou_bootstrap(
        [seed], generator=generator()
    )


def test_what_does_not_fit() -> None:
    seed, _ = judged()
    with pytest.raises(ShapeError, match="for 1 images"):
        Judged(("a",), seed.ours, seed.theirs)
    with pytest.raises(ShapeError, match="give the same images to both"):
        Judged(seed.images, seed.ours, seed.theirs[:3])
    for wrong in ({"resamples": 0}, {"level": 1.0}):
        with pytest.raises(SettingsError, match=r"try 10000 and 0\.95"):
            paired_iou_bootstrap([seed], generator=generator(), **wrong)
