"""Glands: volumes, zones, lesions."""

import numpy as np
import pytest

from prostate_uda.data.phantom.gland import draw_gland, to_body, to_gland

GLANDS = {
    compressed: [draw_gland(np.random.default_rng([7, seed]), compressed=compressed) for seed in range(60)]
    for compressed in (False, True)
}


@pytest.mark.parametrize("compressed", [False, True])
def test_volumes_are_those_of_men(compressed):
    volumes = np.array([gland.volume_ml for gland in GLANDS[compressed]])
    assert volumes.min() > 20
    assert volumes.max() < 110
    assert volumes.std() > 8
    share = np.array([gland.zone_ml[0] / gland.volume_ml for gland in GLANDS[compressed]])
    assert share.min() > 0.12
    assert share.max() < 0.75
    assert np.corrcoef(share, volumes)[0, 1] < -0.3  # hyperplasia grows the transition zone


def test_half_of_the_glands_have_lesions():
    count = sum(bool(gland.lesions) for glands in GLANDS.values() for gland in glands)
    assert 42 <= count <= 78  # 120 fair coins, more than three deviations each way


def test_balloon_flattens():
    depth = {key: np.mean([g.shape.radii[1] / g.shape.radii[0] for g in glands]) for key, glands in GLANDS.items()}
    assert depth[True] < 0.92 * depth[False]


def test_peripheral_zone_is_behind_and_transition_zone_inside():
    gland = GLANDS[False][0]
    axis = np.linspace(-40, 40, 81, dtype=np.float32)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    outline, inner = gland.shape.distances(points)
    assert outline[40, 40, 40] < -8  # the very centre is deep inside
    peripheral, transition = (outline < 0) & (inner >= 0), (outline < 0) & (inner < 0)
    assert points[1][peripheral].mean() < points[1][transition].mean() - 5
    assert points[2][peripheral].mean() < points[2][transition].mean()  # towards the apex


def test_gland_and_body_coordinates_are_inverse():
    shape = GLANDS[False][1].shape
    body = np.array(to_body(shape, (3.0, -4.0, 5.0)), dtype=np.float32)
    assert to_gland(shape, body) == pytest.approx([3, -4, 5], abs=1e-5)
