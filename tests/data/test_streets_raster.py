"""Faces to pixels: depth, order, edges."""

import numpy as np
import pytest
from skimage.draw import polygon

from prostate_uda.data.streets.faces import bar, disc
from prostate_uda.data.streets.raster import LARGE, View, _filled, face_normals, rasterize

SHAPE = (60, 80)
EYE = View(np.eye(3), np.array([0.0, 1.0, 0.0]), 40.0, (39.5, 29.5), SHAPE)
SQUARE = np.array([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)], dtype=float)


def square(depth, half=1.0, x=0.0):
    return half * SQUARE + (x, 1, depth)


def test_a_square_has_the_size_and_nearness_of_its_depth():
    near, index = rasterize([square(4.0)], EYE)
    rows, columns = np.nonzero(index == 0)
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == 2 * 40 / 4
    assert near[index == 0] == pytest.approx(1 / 4)
    assert (near[index < 0] == -np.inf).all()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_face_is_seen_whatever_the_order(order):
    faces = [square(4.0, 0.5), square(6.0, 2.0)]
    _, index = rasterize([faces[i] for i in order], EYE)
    assert order[index[30, 40]] == 0
    assert order[index[30, 30]] == 1


def test_nearness_along_the_ground_is_that_of_the_rays():
    ground = np.array([(-50, 0, -5), (50, 0, -5), (50, 0, 80), (-50, 0, 80)], dtype=float)  # begins behind the camera
    near, index = rasterize([ground], EYE)
    rows = np.flatnonzero(index[:, 40] == 0)
    assert rows[-1] == SHAPE[0] - 1
    assert near[rows, 40] == pytest.approx((rows - 29.5) / 40 / 1.0, rel=1e-5)  # height over depth is the slope
    points = EYE.rays()[rows, 40] / near[rows, 40, None] + EYE.position
    assert np.allclose(points[:, 1], 0, atol=1e-4)


def test_what_is_behind_the_camera_or_edge_on_is_not_drawn():
    edge_on = np.array([(0, 1, 3), (0, 2, 3), (0, 2, 6), (0, 1, 6)], dtype=float)
    _, index = rasterize([square(-3.0), edge_on], EYE)
    assert (index == -1).all()


def test_parallel_rays_keep_size_and_measure_depth():
    view = View(np.eye(3), np.zeros(3), 10.0, (40.0, 30.0), SHAPE, parallel=True)
    for depth in (3.0, 30.0):
        near, index = rasterize([square(depth)], view)
        assert near[index == 0] == pytest.approx(-depth)
        assert (index == 0).sum() == 21 * 21  # 2 m at 10 pixels, both edges on pixels


def test_normals_of_tilted_polygons():
    tilted = np.array([(0, 0, 0), (2, 0, 0), (2, 1, 1), (0, 1, 1)], dtype=float)
    assert face_normals([square(3.0), tilted]) == pytest.approx(np.array([[0, 0, 1], [0, -(0.5**0.5), 0.5**0.5]]))


def test_large_polygons_are_filled_as_scikit_image_fills_them():
    rng = np.random.default_rng(0)
    convex = [
        disc(rng.uniform(0, 60, 2), rng.uniform(30, 80), tall=rng.uniform(0.5, 2), corners=c) for c in range(3, 9)
    ]
    slanted = [bar(rng.uniform(-40, 100, 2), rng.uniform(-40, 100, 2), rng.uniform(8, 30)) for _ in range(20)]
    star = disc((0, 0), 30, corners=10) * np.where(np.arange(10) % 2, 1, 0.4)[:, None] + 30
    large = [shape for shape in (*convex, *slanted, star) if np.prod(np.ptp(shape, axis=0)) > LARGE]
    assert len(large) > 20
    for shape in large:
        masks = np.zeros((2, *SHAPE), dtype=bool)
        for mask, fill in zip(masks, (polygon, _filled), strict=True):
            mask[fill(shape[:, 0], shape[:, 1], SHAPE)] = True
        assert np.array_equal(*masks)
