"""Dice and IoU: by hand, laws, and MONAI as the oracle."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.metrics import DiceMetric

from prostate_uda.errors import ShapeError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.metrics import dice, iou, zone_dice


def mask(bits: list[int]) -> torch.Tensor:
    return torch.tensor(bits, dtype=torch.bool).reshape(2, 2, 2)


masks = st.lists(st.integers(0, 1), min_size=8, max_size=8).map(mask)
label_maps = st.lists(st.integers(0, 2), min_size=27, max_size=27).map(
    lambda values: torch.tensor(values, dtype=torch.uint8).reshape(3, 3, 3)
)


def test_dice_and_iou_by_hand() -> None:
    pred, truth = mask([1, 1, 1, 0, 0, 0, 0, 0]), mask([0, 1, 1, 1, 1, 0, 0, 0])
    assert dice(pred, truth).item() == pytest.approx(2 * 2 / (3 + 4))
    assert iou(pred, truth).item() == pytest.approx(2 / 5)


@pytest.mark.parametrize("score", [dice, iou])
def test_empty_masks(score) -> None:
    empty, some = mask([0] * 8), mask([1] + [0] * 7)
    assert math.isnan(score(empty, empty))
    assert score(empty, some).item() == 0
    assert score(some, empty).item() == 0


@given(masks, masks)
def test_laws(pred, truth) -> None:
    score, jaccard = dice(pred, truth).item(), iou(pred, truth).item()
    if math.isnan(score):
        assert math.isnan(jaccard)
        assert not (pred | truth).any()
        return
    assert score == dice(truth, pred).item()
    assert 0 <= jaccard <= score <= 1
    assert score == pytest.approx(2 * jaccard / (1 + jaccard))
    assert (score == 1) == bool((pred == truth).all())


def test_zone_dice_by_hand() -> None:
    #                      PZ PZ PZ TZ TZ  0  0 IGNORE
    truth = torch.tensor([1, 1, 1, 2, 2, 0, 0, IGNORE], dtype=torch.uint8)
    pred_ = torch.tensor([1, 1, 2, 2, 0, 0, 2, 1], dtype=torch.uint8)
    scores = zone_dice(pred_, truth)
    assert scores == {
        "PZ": pytest.approx(2 * 2 / (2 + 3)),
        "TZ": pytest.approx(2 * 1 / (3 + 2)),
        "WP": pytest.approx(2 * 4 / (5 + 5)),
        "WP_pooled": pytest.approx(2 * 3 / (5 + 5)),
    }


@given(label_maps, label_maps, st.integers(0, 2))
def test_ignored_voxels_do_not_matter(pred, truth, anything) -> None:
    truth = truth.clone()
    truth[0] = IGNORE
    other = pred.clone()
    other[0] = anything
    assert zone_dice(pred, truth) == pytest.approx(zone_dice(other, truth), nan_ok=True)


@given(label_maps, label_maps)
def test_pooling_never_forgives_a_swapped_zone(pred, truth) -> None:
    scores = zone_dice(pred, truth)
    if not math.isnan(scores["WP"]):
        assert scores["WP_pooled"] <= scores["WP"]


def test_a_case_of_ignored_voxels_alone_is_undefined() -> None:
    nothing = torch.full((2, 2, 2), IGNORE, dtype=torch.uint8)
    assert all(math.isnan(score) for score in zone_dice(torch.ones_like(nothing), nothing).values())


def test_zone_dice_agrees_with_monai() -> None:
    generator = torch.Generator().manual_seed(0)
    pred, truth = torch.randint(0, 3, (2, 4, 5, 6), generator=generator)
    one_hot = [torch.stack([labels == k for k in range(3)])[None].float() for labels in (pred, truth)]
    oracle = DiceMetric(include_background=False, reduction="none")(*one_hot)[0]
    scores = zone_dice(pred, truth)
    assert [scores["PZ"], scores["TZ"]] == pytest.approx(oracle.tolist(), abs=1e-6)


def test_mistakes_are_told() -> None:
    a = torch.zeros(2, 2, 2, dtype=torch.bool)
    with pytest.raises(ShapeError, match="boolean is allowed"):
        dice(a.float(), a)
    with pytest.raises(ShapeError, match=r"\(2, 2, 2\) and \(2, 2, 1\)"):
        iou(a, a[:, :, :1])
    with pytest.raises(ShapeError, match="argmax"):
        zone_dice(a.float(), a.long())
    with pytest.raises(ShapeError, match="grid"):
        zone_dice(a.long(), a[:1].long())
