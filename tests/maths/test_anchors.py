"""Category anchors: class means, distances, labels and the loss, by hand, and their edges."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from prostate_uda.errors import ShapeError
from prostate_uda.maths.anchors import (
    active_labels,
    anchor_distances,
    anchor_loss,
    class_sums,
    pooled_label,
    sure_labels,
)
from prostate_uda.maths.losses import IGNORE

ALL = torch.ones(2, dtype=torch.bool)


def row(*pixels: list[float]) -> Tensor:
    """Features ``(1, F, 1, W)``, a pixel each."""
    return torch.tensor(pixels).t()[None, :, None, :]


def drawn(seed: int = 0, classes: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (2, 3, 5), generator=rng)
    label[0, 0] = IGNORE
    features = torch.randn(2, 6, 3, 5, generator=rng, dtype=torch.float64)
    return features, label, torch.randn(classes, 6, generator=rng, dtype=torch.float64)


def test_a_label_is_pooled_to_the_nearest_pixel() -> None:
    label = torch.tensor([[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, IGNORE]]])
    assert pooled_label(label, (2, 2)).tolist() == [[[0, 2], [8, 10]]]
    assert torch.equal(pooled_label(label, (4, 4)), label)
    assert pooled_label(pooled_label(label, (8, 8)), (4, 4)).tolist() == label.tolist()


def test_class_sums_by_hand() -> None:
    features = row([1.0, 10.0], [2.0, 20.0], [4.0, 40.0], [8.0, 80.0])
    sums, counts = class_sums(features, torch.tensor([[[1, 0, 1, IGNORE]]]), 3)
    assert sums.tolist() == [[[2.0, 20.0], [5.0, 50.0], [0.0, 0.0]]]
    assert counts.tolist() == [[1.0, 2.0, 0.0]]


def test_class_sums_of_images_do_not_mix_and_add_up_to_the_whole() -> None:
    features, label, _ = drawn()
    sums, counts = class_sums(features, label, 4)
    known = (label != IGNORE)[:, None]
    torch.testing.assert_close(sums.sum(dim=1), (features * known).sum(dim=(2, 3)))
    assert counts.sum(dim=1).tolist() == known.sum(dim=(1, 2, 3)).tolist()
    alone, _ = class_sums(features[1:], label[1:], 4)
    torch.testing.assert_close(alone, sums[1:])


def test_autocast_and_half_precision_round_no_sum() -> None:
    features, label, _ = drawn()
    plain = class_sums(features.bfloat16().float(), label, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = class_sums(features.bfloat16(), label, 4)
    torch.testing.assert_close(found, plain, rtol=0, atol=0)
    assert found[0].dtype == torch.float32


def test_distances_and_active_labels_by_hand() -> None:
    anchors = torch.tensor([[0.0, 0.0], [6.0, 8.0]])
    # 0 from the first and 10 from the second; 5 and 5; 6.5 and 3.5; 3.7 and 6.3 (times (0.6, 0.8))
    features = row([0.0, 0.0], [3.0, 4.0], [3.9, 5.2], [2.22, 2.96])
    distances = anchor_distances(features, anchors, ALL)
    assert distances.flatten(2)[0, 0].tolist() == pytest.approx([0.0, 5.0, 6.5, 3.7], abs=1e-5)
    assert distances.flatten(2)[0, 1].tolist() == pytest.approx([10.0, 5.0, 3.5, 6.3], abs=1e-5)
    assert active_labels(distances, 2.5).tolist() == [[[0, IGNORE, 1, 0]]]
    assert active_labels(distances, 2.8).tolist() == [[[0, IGNORE, 1, IGNORE]]]
    assert active_labels(distances, 3.2).tolist() == [[[0, IGNORE, IGNORE, IGNORE]]]


def test_the_second_nearest_counts_and_not_the_farthest() -> None:
    anchors = torch.tensor([[0.0], [1.0], [100.0]])
    distances = anchor_distances(row([0.0], [99.0]), anchors, torch.ones(3, dtype=torch.bool))
    assert active_labels(distances, 2.5).tolist() == [[[IGNORE, 2]]]


def test_a_class_without_an_anchor_gets_no_pixel_and_is_no_second() -> None:
    anchors = torch.tensor([[0.0], [10.0], [1.0]])
    distances = anchor_distances(row([0.0], [1.0]), anchors, torch.tensor([True, True, False]))
    assert active_labels(distances, 2.5).tolist() == [[[0, 0]]]


@pytest.mark.parametrize("anchored", [[False, False], [True, False]])
def test_fewer_than_two_anchors_make_no_label(anchored: list[bool]) -> None:
    distances = anchor_distances(row([0.0], [9.0]), torch.tensor([[0.0], [5.0]]), torch.tensor(anchored))
    assert active_labels(distances, 0.0).tolist() == [[[IGNORE, IGNORE]]]
    assert active_labels(distances[:, :1], 0.0).tolist() == [[[IGNORE, IGNORE]]]


def test_near_distances_of_large_features_are_exact() -> None:
    features = torch.full((1, 2048, 1, 40), 1000.0)
    anchors = torch.stack([torch.full((2048,), 1000.0), torch.full((2048,), 1000.125)]).repeat(20, 1)
    distances = anchor_distances(features, anchors, torch.ones(40, dtype=torch.bool))
    assert distances[0, 0].max() == 0
    assert distances[0, 1].flatten().tolist() == pytest.approx([0.125 * math.sqrt(2048)] * 40, rel=1e-5)


def test_sure_labels_are_above_the_threshold() -> None:
    probs = torch.tensor([[0.75, 0.25], [0.5, 0.5], [0.125, 0.875]]).t()[None, :, None, :]
    assert sure_labels(probs, 0.75).tolist() == [[[IGNORE, IGNORE, 1]]]
    assert sure_labels(probs, 0.5).tolist() == [[[0, IGNORE, 1]]]


def test_anchor_loss_by_hand() -> None:
    # class 0: mean (2, 0) beside (0, 0): (1.5 + 0)/2 = .75; class 1: (1, 1) beside (1.5, 3): (.125 + 1.5)/2 = .8125
    features = row([1.0, 0.0], [3.0, 0.0], [1.0, 1.0], [50.0, 50.0])
    label = torch.tensor([[[0, 0, 1, IGNORE]]])
    loss, count = anchor_loss(features, label, torch.tensor([[0.0, 0.0], [1.5, 3.0]]), ALL)
    assert loss.item() == pytest.approx(0.75 + 0.8125)
    assert count.item() == 2


def test_a_class_that_is_missing_or_has_no_anchor_gives_no_term() -> None:
    features, label, anchors = drawn()
    anchored = torch.tensor([True, True, False, True])
    loss, count = anchor_loss(features, label.masked_fill(label == 1, 0), anchors, anchored)
    expected, terms = torch.zeros((), dtype=torch.float64), 0
    for image, marks in zip(features, label.masked_fill(label == 1, 0), strict=True):
        for number in (0, 3):
            if bool((marks == number).any()):
                mean = image[:, marks == number].mean(dim=1)
                expected += torch.nn.functional.smooth_l1_loss(mean, anchors[number])
                terms += 1
    torch.testing.assert_close(loss, expected)
    assert count.item() == terms == 4


def test_slopes_agree_with_differences_and_pass_over_ignored_pixels() -> None:
    features, label, anchors = drawn()
    features.requires_grad_(True)
    known = torch.ones(4, dtype=torch.bool)
    (slope,) = torch.autograd.grad(anchor_loss(features, label, anchors, known)[0], features)
    assert not bool(slope[0, :, 0].any())
    assert bool(slope[0, :, 1:].all())
    assert gradcheck(lambda f: anchor_loss(f, label, anchors, known)[0], (features,))


def test_nothing_labelled_is_exactly_zero_with_a_zero_gradient() -> None:
    features, label, anchors = drawn()
    features.requires_grad_(True)
    loss, count = anchor_loss(features, torch.full_like(label, IGNORE), anchors, torch.ones(4, dtype=torch.bool))
    (slope,) = torch.autograd.grad(loss, features)
    assert (loss.item(), count.item()) == (0.0, 0)
    assert not bool(slope.any())


def test_labels_of_another_size_are_our_error() -> None:
    features, label, anchors = drawn()
    with pytest.raises(ShapeError, match="pool the label to the features' size"):
        anchor_loss(features, label[:, :2], anchors, torch.ones(4, dtype=torch.bool))
