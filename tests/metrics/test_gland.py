"""What a reader wants to know of a gland: by hand, on anisotropic voxels, and where there is none."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from prostate_uda.metrics.gland import PIECE_ML, extents_mm, gland_measures


def digitized(radii: tuple[float, float, float], spacing: tuple[float, float, float]) -> Tensor:
    """Voxels whose centres lie in an ellipsoid, label 1."""
    counts = [2 * math.ceil(radius / step) + 4 for radius, step in zip(radii, spacing, strict=True)]
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(counts, spacing, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    inside = sum((axis / radius) ** 2 for axis, radius in zip((x, y, z), radii, strict=True)) <= 1
    return torch.from_numpy(inside.astype(np.uint8))


def test_a_box_by_hand() -> None:
    label = torch.zeros(30, 40, 10, dtype=torch.uint8)
    label[5:25, 10:30, 2:7] = 1  # 20 × 20 × 5 voxels of 0.5 × 0.5 × 3 mm: 1500 mm³
    label[10:20, 15:25, 3:6] = 2  # 10 × 10 × 3: 225 mm³
    label[0:10, 0:4, 9] = 1  # another piece: 40 voxels, 30 mm³: a speck
    found = gland_measures(label, (0.5, 0.5, 3.0))
    assert found == {
        "WP_mL": pytest.approx(1.53),
        "PZ_mL": pytest.approx(1.305),
        "TZ_mL": pytest.approx(0.225),
        "TZ_PZ_ratio": pytest.approx(0.225 / 1.305),
        "ellipsoid_mL": pytest.approx(math.pi / 6 * 12.5 * 15.0 * 24.0 / 1000),
        "slices": 6.0,
        "pieces": 1.0,
        "second_mL": 0.0,
    }
    label[0:10, 0:10, 9] = 1  # 100 voxels, 75 mm³: a piece
    found = gland_measures(label, (0.5, 0.5, 3.0))
    assert (found["pieces"], found["second_mL"]) == (2.0, pytest.approx(0.075))
    assert 0.03 < PIECE_ML < 0.075


def test_pieces_that_meet_at_a_corner_are_one() -> None:
    label = torch.zeros(4, 4, 2, dtype=torch.uint8)
    label[:2, :2, 0], label[2:, 2:, 1] = 1, 2
    assert gland_measures(label, (5.0, 5.0, 5.0))["pieces"] == 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_counted_along_their_axis(axis: int) -> None:
    label = torch.zeros(8, 9, 7, dtype=torch.uint8)
    label[1:3, 2:6, 1:6] = 1
    assert gland_measures(label, (1.0, 1.0, 1.0), slice_axis=axis)["slices"] == (2, 4, 5)[axis]


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.floats(12, 35)] * 3),
    st.tuples(st.floats(0.3, 1.0), st.floats(0.3, 1.0), st.floats(1.0, 3.0)),
)
def test_an_ellipsoid_has_the_volume_of_its_diameters(
    radii: tuple[float, float, float], spacing: tuple[float, float, float]
) -> None:
    found = gland_measures(digitized(radii, spacing), spacing)
    assert found["WP_mL"] == pytest.approx(4 / 3 * math.pi * math.prod(radii) / 1000, rel=0.02)
    off = math.prod(1 + step / (2 * radius) for radius, step in zip(radii, spacing, strict=True))
    assert 1 / off**2 < found["ellipsoid_mL"] / found["WP_mL"] < off * 1.02
    assert found["pieces"] == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.tuples(*[st.floats(0.2, 5)] * 3), st.floats(0, 1))
def test_laws(seed: int, spacing: tuple[float, float, float], filled: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    drawn = torch.randint(1, 3, (5, 6, 4), generator=rng) * (torch.rand(5, 6, 4, generator=rng) < filled)
    found = gland_measures(drawn, spacing)
    assert found["WP_mL"] == pytest.approx(found["PZ_mL"] + found["TZ_mL"])
    assert found["ellipsoid_mL"] <= math.pi / 6 * math.prod(spacing) * 120 / 1000 + 1e-9
    assert 0 <= found["second_mL"] <= found["WP_mL"] / 2 + 1e-9
    turned = gland_measures(drawn.permute(2, 0, 1), (spacing[2], spacing[0], spacing[1]), slice_axis=0)
    assert turned == pytest.approx(found, nan_ok=True)
    mirrored = gland_measures(drawn.flip(0, 2), spacing)
    assert mirrored == pytest.approx(found, nan_ok=True)


def test_no_gland_is_nothing_and_no_error() -> None:
    found = gland_measures(torch.zeros(4, 4, 3, dtype=torch.uint8), (1.0, 1.0, 3.0))
    assert math.isnan(found.pop("TZ_PZ_ratio"))
    assert set(found.values()) == {0.0}


def test_a_zone_alone() -> None:
    label = torch.full((4, 4, 3), 2, dtype=torch.uint8)
    assert math.isnan(gland_measures(label, (1.0, 1.0, 3.0))["TZ_PZ_ratio"])
    assert gland_measures(label / 2 > 0.5, (1.0, 1.0, 3.0))["TZ_PZ_ratio"] == 0


def test_extents_are_of_whole_voxels() -> None:
    mask = torch.zeros(5, 6, 7, dtype=torch.bool)
    assert extents_mm(mask, (1.0, 1.0, 1.0)) == (0, 0, 0)
    mask[2, 3, 4] = True
    assert extents_mm(mask, (0.5, 0.25, 3.0)) == (0.5, 0.25, 3.0)
    mask[4, 0, 4] = True
    assert extents_mm(mask, (0.5, 0.25, 3.0)) == (1.5, 1.0, 3.0)
