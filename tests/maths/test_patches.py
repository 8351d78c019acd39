"""Patches of labels: histograms by hand, clusters, and their edges."""

import pytest
import torch
from torch import Tensor

from prostate_uda.maths.losses import IGNORE
from prostate_uda.maths.patches import cluster_centers, nearest_center, patch_histograms, thinned

X = IGNORE


def test_histograms_by_hand() -> None:
    # two patches a side, of 4 × 2 pixels; their quarters are 2 × 1
    label = torch.tensor([[[0, 1, 2, 2], [0, 0, 2, 2], [1, X, 2, X], [1, 0, 2, X], *[[0, 1, 2, X]] * 4]])
    shares, known = patch_histograms(label, 3, 2)
    assert shares.shape == (1, 2, 2, 12)
    assert known.tolist() == [[[True, False], [True, False]]]
    quarters = shares.view(1, 2, 2, 3, 2, 2)  # class, then the quarter's row and column
    assert quarters[0, 0, 0, :, 0, 0].tolist() == [1.0, 0.0, 0.0]
    assert quarters[0, 0, 0, :, 0, 1].tolist() == [0.5, 0.5, 0.0]
    assert quarters[0, 0, 0, :, 1, 0].tolist() == [0.0, 1.0, 0.0]
    assert quarters[0, 0, 0, :, 1, 1].tolist() == [1.0, 0.0, 0.0]  # of the one pixel that has a label
    assert quarters[0, 0, 1, :, 0].tolist() == [[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]


def test_shares_of_a_quarter_sum_to_one_whatever_the_size() -> None:
    rng = torch.Generator().manual_seed(0)
    label = torch.randint(19, (2, 37, 50), generator=rng)
    label[torch.rand(label.shape, generator=rng) < 0.2] = IGNORE
    shares, known = patch_histograms(label, 19, 5)
    assert bool(known.all())
    torch.testing.assert_close(shares.view(2, 5, 5, 19, 4).sum(dim=3), torch.ones(2, 5, 5, 4))


def test_a_patch_is_another_one_when_it_is_turned() -> None:
    label = torch.tensor([[[0, 0], [1, 1]]])
    one, other = patch_histograms(label, 2, 1)[0], patch_histograms(label.transpose(1, 2), 2, 1)[0]
    assert float((one - other).abs().sum()) == 4
    assert torch.equal(one.view(2, 4).sum(dim=1), other.view(2, 4).sum(dim=1))  # though it holds as much


def test_nothing_labelled_is_no_patch_and_finite() -> None:
    shares, known = patch_histograms(torch.full((1, 8, 8), IGNORE), 3, 2)
    assert not bool(known.any())
    assert not bool(shares.any())


def groups(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Three groups of patches about known centers."""
    rng = torch.Generator().manual_seed(seed)
    centers = torch.eye(3).repeat(1, 4)
    return centers, centers.repeat(50, 1) + 0.05 * torch.randn(150, 12, generator=rng)


def test_clusters_are_found_and_the_same_again() -> None:
    centers, rows = groups()
    found = cluster_centers(rows, 3)
    assert found.dtype == torch.float32
    near = torch.cdist(centers, found)
    assert sorted(near.argmin(dim=1).tolist()) == [0, 1, 2]
    assert float(near.min(dim=1).values.max()) < 0.05
    state = torch.get_rng_state()
    assert torch.equal(cluster_centers(rows, 3), found)
    assert torch.equal(torch.get_rng_state(), state)


def test_there_are_no_more_clusters_than_different_patches() -> None:
    rows = torch.eye(4).repeat(5, 1)
    found = cluster_centers(rows + 1e-8 * torch.randn(20, 4, generator=torch.Generator().manual_seed(0)), 50)
    assert len(found) == 4
    assert torch.equal(found.sort(dim=0).values, torch.eye(4).sort(dim=0).values)
    assert len(cluster_centers(rows[:1], 50)) == 1


def test_the_nearest_center_by_hand() -> None:
    centers = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    patches = torch.tensor([[[[0.1, 0.2], [0.9, 0.8]], [[0.4, 0.9], [1.0, 1.0]]]])
    known = torch.tensor([[[True, True], [True, False]]])
    assert nearest_center(patches, known, centers).tolist() == [[[0, 1], [2, IGNORE]]]


@pytest.mark.parametrize(("most", "stride"), [(100, 1), (23, 1), (22, 2), (12, 2), (11, 4), (1, 32)])
def test_rows_are_thinned_evenly_across_their_parts(most: int, stride: int) -> None:
    rows = torch.arange(23.0).unsqueeze(1)
    parts = rows.split([5, 0, 1, 10, 7])
    assert thinned(parts, most).flatten().tolist() == rows[::stride].flatten().tolist()
