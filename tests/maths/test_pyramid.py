"""PyCDA's questions beside the same written out by hand."""

import math

import pytest
import torch

from prostate_uda.errors import ShapeError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.maths.pyramid import class_counts, distribution_gap, squares, sure_labels


def logits(*pixels: list[float]) -> torch.Tensor:
    """Probabilities of pixels in a row, as ``(1, C, 1, n)`` logits."""
    return torch.tensor(pixels, dtype=torch.float64).log().t()[None, :, None, :]


def test_only_what_is_surer_than_the_confidence_is_its_own_label() -> None:
    z = logits([0.6, 0.3, 0.1], [0.4, 0.35, 0.25], [0.05, 0.05, 0.9]).requires_grad_(True)
    label = sure_labels(z, 0.5)
    assert label.tolist() == [[[0, IGNORE, 2]]]
    assert sure_labels(z, 0.95).tolist() == [[[IGNORE] * 3]]
    assert not label.requires_grad


def test_squares_average_logits_and_drop_what_is_left_over() -> None:
    z = torch.arange(2 * 5 * 9, dtype=torch.float64).view(1, 2, 5, 9)
    found = squares(z, 4)
    assert found.shape == (1, 2, 1, 2)
    torch.testing.assert_close(found[0, 1, 0, 1], z[0, 1, :4, 4:8].mean())
    with pytest.raises(ShapeError, match="squares of 8 allow 8 or more a side"):
        squares(z, 8)


def test_the_gap_by_hand() -> None:
    z = logits([0.8, 0.2], [0.4, 0.6])  # on average .6 and .4
    usual = torch.tensor([0.9, 0.1])
    expected = -(0.9 * math.log(0.6) + 0.1 * math.log(0.4) + 0.1 * math.log(0.4) + 0.9 * math.log(0.6)) / 2
    torch.testing.assert_close(float(distribution_gap(z, usual)), expected, rtol=0, atol=5e-6)


def test_the_gap_is_least_where_the_classes_have_their_usual_size() -> None:
    usual = torch.tensor([0.7, 0.2, 0.1])
    sizes = [[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.75, 0.2, 0.05], [1 / 3, 1 / 3, 1 / 3]]
    gaps = [float(distribution_gap(logits(size), usual)) for size in sizes]
    assert gaps[0] == min(gaps)
    z = logits(sizes[0]).requires_grad_(True)
    (slope,) = torch.autograd.grad(distribution_gap(z, usual), z)
    assert float(slope.abs().max()) < 1e-6


def test_every_image_is_compared_by_itself() -> None:
    """Two images that are all one class are far from halves, though their mean is not."""
    usual = torch.tensor([0.5, 0.5])
    one, other = logits([0.999, 0.001]), logits([0.001, 0.999])
    assert float(distribution_gap(torch.cat([one, other]), usual)) > 3
    torch.testing.assert_close(distribution_gap(torch.cat([one, one]), usual), distribution_gap(one, usual))


def test_a_class_that_is_nowhere_has_a_finite_loss() -> None:
    z = torch.tensor([0.0, -1e4])[None, :, None, None].requires_grad_(True)
    loss = distribution_gap(z, torch.tensor([0.5, 0.5]))
    (slope,) = torch.autograd.grad(loss, z)
    assert bool(loss.isfinite())
    assert bool(slope.isfinite().all())


def test_counts_leave_out_what_is_ignored() -> None:
    label = torch.tensor([[[0, 2, 2, IGNORE]], [[IGNORE, IGNORE, 0, 0]]])
    assert class_counts(label, 4).tolist() == [3, 0, 2, 0]
    assert class_counts(torch.full((1, 2, 2), IGNORE), 2).tolist() == [0, 0]
