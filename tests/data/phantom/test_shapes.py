"""Solids: signed distances, extents and layers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prostate_uda.data.phantom.shapes import Bowel, Capsule, Ellipsoid, Sling, Structure, Tubules
from prostate_uda.data.phantom.tissues import Tissue

SOLIDS = [
    Ellipsoid((3.0, -4.0, 5.0), (12.0, 7.0, 20.0), 25.0, -30.0),
    Capsule((-10.0, 2.0, 0.0), (15.0, 9.0, 12.0), 4.0),
    Tubules(Ellipsoid((0.0, 0.0, 0.0), (15.0, 9.0, 8.0)), ((0.5, 0.3, 0.1, 0.0), (0.1, -0.6, 0.2, 1.0)), 0.3),
    Sling(-20.0, -40.0, 15.0, 12.0, (15.0, 25.0), (32.0, 50.0), 4.0),
    Bowel(1.0, -30.0, 0.006, (14.0, 11.0), -25.0, 0.8, 0.05, 1.0),
]


def test_ball_by_hand():
    ball = Ellipsoid((1.0, 0.0, 0.0), (5.0, 5.0, 5.0))
    points = np.array([[1.0, 1.0, 9.0], [0.0, 4.0, 0.0], [0.0, 0.0, 0.0]], dtype=np.float32)
    assert ball.distance(points)[1:] == pytest.approx([-1, 3], abs=1e-5)


def test_capsule_by_hand():
    capsule = Capsule((0.0, 0.0, 0.0), (0.0, 0.0, 10.0), 2.0)
    points = np.array([[3.0, 0.0, 0.0], [4.0, 0.0, 0.0], [5.0, 5.0, 14.0]], dtype=np.float32)
    assert capsule.distance(points) == pytest.approx([3, -2, 2], abs=1e-5)


@pytest.mark.parametrize("solid", SOLIDS, ids=lambda solid: type(solid).__name__)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_extent_holds_the_solid(solid, seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-60, 60, (3, 4000)).astype(np.float32)
    inside = points[:, solid.distance(points) < 0]
    directions, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    along = directions @ (inside - np.array(solid.centre)[:, None])
    assert np.all(np.abs(along) <= solid.extent(directions)[:, None] + 1e-3)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_layers_are_nested_and_agree_with_distance(seed):
    points = np.random.default_rng(seed).uniform(-30, 30, (3, 3000)).astype(np.float32)
    for solid in SOLIDS[:2]:
        layered = Structure(solid, ((0.0, Tissue.CORTEX), (1.5, Tissue.MARROW)))
        (outer, first), (inner, second) = layered.masks(points)
        assert (first, second) == (Tissue.CORTEX, Tissue.MARROW)
        assert not np.any(inner & ~outer)
        distance = solid.distance(points)
        assert np.array_equal(outer[np.abs(distance) > 1e-3], (distance < 0)[np.abs(distance) > 1e-3])


def test_sling_is_open_in_front_and_closed_behind():
    sling = SOLIDS[3]
    ring = np.linspace(0, 2 * np.pi, 721)
    radius = np.linspace(0, 90, 600)
    x, y = radius[:, None] * np.sin(ring), sling.y + radius[:, None] * np.cos(ring)
    points = np.stack([x, y, np.full_like(x, 10.0)]).astype(np.float32)
    hit = (sling.distance(points) < 0).any(axis=0)
    assert not hit[0]  # straight ahead
    assert hit[360]  # straight back
    assert hit[180]
    assert hit[540]
