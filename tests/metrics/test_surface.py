"""Surface distances: by hand, laws, and MONAI and SimpleITK as oracles."""

import math

import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import HausdorffDistanceMetric, SurfaceDistanceMetric

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.metrics import assd, hd95
from prostate_uda.metrics.surface import _surface_distances

SPACING = (3.0, 0.6, 0.5)
masks = st.lists(st.integers(0, 1), min_size=27, max_size=27).map(
    lambda bits: torch.tensor(bits, dtype=torch.bool).reshape(3, 3, 3)
)


def ball(centre: tuple[float, ...], radius: float) -> torch.Tensor:
    grid = torch.stack(torch.meshgrid(*[torch.arange(n) for n in (10, 20, 24)], indexing="ij"), dim=-1)
    return ((grid - torch.tensor(centre)) * torch.tensor(SPACING)).norm(dim=-1) <= radius


def test_single_voxels_by_hand() -> None:
    a, b = torch.zeros(2, 4, 6, 6, dtype=torch.bool)
    a[0, 0, 0], b[2, 0, 4] = True, True
    distance = math.hypot(2 * 3.0, 4 * 0.5)
    assert hd95(a, b, SPACING).item() == pytest.approx(distance)
    assert assd(a, b, SPACING).item() == pytest.approx(distance)


def test_a_slab_moved_by_one_voxel_by_hand() -> None:
    a, b = torch.zeros(2, 6, 4, 4, dtype=torch.bool)
    a[1:3], b[2:4] = True, True  # both layers of each slab are surface: distances 3 and 0, half of each
    assert assd(a, b, SPACING).item() == pytest.approx(1.5)
    assert hd95(a, b, SPACING).item() == pytest.approx(3.0)


@pytest.mark.parametrize("distance", [hd95, assd])
def test_empty_masks(distance) -> None:
    empty = torch.zeros(2, 2, 2, dtype=torch.bool)
    assert math.isnan(distance(empty, empty, SPACING))
    assert distance(empty, ~empty, SPACING).item() == math.inf
    assert distance(~empty, empty, SPACING).item() == math.inf


@settings(deadline=None)
@given(masks, masks, st.floats(0.1, 10))
def test_laws(a, b, factor) -> None:
    for distance in (hd95, assd):
        value = distance(a, b, SPACING).item()
        assert value == pytest.approx(distance(b, a, SPACING).item(), nan_ok=True)
        scaled = distance(a, b, [factor * step for step in SPACING]).item()
        assert scaled == pytest.approx(factor * value, nan_ok=True)
        turned = distance(a.permute(2, 0, 1), b.permute(2, 0, 1), (SPACING[2], *SPACING[:2])).item()
        assert turned == pytest.approx(value, nan_ok=True)
        if a.any():
            assert distance(a, a, SPACING).item() == 0


# MONAI 1.6.1 warns about an argument that it hands to itself.
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy.*:FutureWarning")
@pytest.mark.parametrize(("shift", "radius"), [((0, 0, 0), 5.0), ((1, 2, -3), 4.5), ((4, 0, 0), 3.3)])
def test_agrees_with_monai(shift, radius) -> None:
    a, b = ball((4, 9, 12), 5.0), ball(tuple(c + s for c, s in zip((4, 9, 12), shift, strict=True)), radius)
    arguments = {"include_background": True, "reduction": "none"}
    hausdorff = HausdorffDistanceMetric(percentile=95, **arguments)
    average = SurfaceDistanceMetric(symmetric=True, **arguments)
    one_hot = a[None, None].float(), b[None, None].float()
    assert hd95(a, b, SPACING).item() == pytest.approx(hausdorff(*one_hot, spacing=SPACING).item(), rel=1e-5)
    assert assd(a, b, SPACING).item() == pytest.approx(average(*one_hot, spacing=SPACING).item(), rel=1e-5)


def test_farthest_distance_agrees_with_simpleitk() -> None:
    a, b = ball((4, 9, 12), 5.0), ball((5, 7, 15), 4.0)
    images = []
    for labels in (a, b):
        image = SimpleITK.GetImageFromArray(labels.numpy().astype(np.uint8))
        image.SetSpacing(SPACING[::-1])
        images.append(image)
    oracle = SimpleITK.HausdorffDistanceImageFilter()
    oracle.Execute(*images)
    farthest = max(distances.max() for distances in _surface_distances(a, b, SPACING))
    assert farthest == pytest.approx(oracle.GetHausdorffDistance(), rel=1e-5)


def test_mistakes_are_told() -> None:
    a = torch.ones(2, 2, 2, dtype=torch.bool)
    with pytest.raises(SettingsError, match="one positive number per axis"):
        hd95(a, a, (1.0, 1.0))
    with pytest.raises(SettingsError, match="one positive number per axis"):
        assd(a, a, (1.0, 0.0, 1.0))
    with pytest.raises(ShapeError, match="boolean"):
        hd95(a.float(), a, SPACING)
