"""Street scenes: laws of the generator, and what the two looks promise."""

from dataclasses import replace

import numpy as np
import pytest

from prostate_uda.data.scene_classes import SCENE_CLASSES
from prostate_uda.data.streets import LOOKS, make_scene
from prostate_uda.data.streets.camera import SAMPLES, draw_view, majority
from prostate_uda.data.streets.case import generators
from prostate_uda.data.streets.faces import CLASS, NOTHING
from prostate_uda.data.streets.raster import rasterize
from prostate_uda.data.streets.street import make_street
from prostate_uda.data.streets.writer import TEST_FIRST_INDEX
from prostate_uda.errors import SettingsError

each_look = pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)


@pytest.fixture(scope="module")
def scenes():
    return {name: [make_scene(look, seed=7, index=i, size="small") for i in range(3)] for name, look in LOOKS.items()}


def quick_label(look, index, shape=(96, 192)):
    """A scene's label in another size, without light."""
    for_street, _, for_camera = generators(look, 0, index)
    mesh, plan = make_street(for_street, look)
    near, seen = rasterize(mesh.points, draw_view(for_camera, look.sensor, plan.lane, shape))
    return majority(mesh.labels[seen], near)


@each_look
def test_the_same_numbers_give_the_same_bits(look, scenes):
    again, other = (make_scene(look, seed=seed, index=2, size="small") for seed in (7, 8))
    assert np.array_equal(again.image, scenes[look.name][2].image)
    assert np.array_equal(again.label, scenes[look.name][2].label)
    assert not np.array_equal(again.label, other.label)


def test_scenes_differ_between_indices_and_looks(scenes):
    labels = [scene.label.tobytes() for part in scenes.values() for scene in part]
    assert len(set(labels)) == len(labels)


def test_looks_have_streets_of_their_own():
    render = LOOKS["streets-render"]
    renamed = replace(render, name="streets-other")
    first, second = (make_street(generators(look, 0, 0)[0], look)[1] for look in (render, renamed))
    assert first != second


@each_look
def test_arrays(look, scenes):
    for scene in scenes[look.name]:
        assert scene.image.shape == (192, 384, 3)
        assert scene.label.shape == (192, 384)
        assert scene.image.dtype == scene.label.dtype == np.uint8
        assert set(np.unique(scene.label)) <= {*range(19), NOTHING}
        assert scene.image.std() > 20


@each_look
@pytest.mark.parametrize("first", [0, TEST_FIRST_INDEX], ids=["train", "test"])
def test_sixteen_scenes_hold_all_classes_and_most_hold_fourteen(look, first):
    counts = np.stack([np.bincount(quick_label(look, first + i).ravel(), minlength=256)[:19] for i in range(16)])
    absent = [SCENE_CLASSES[k] for k in np.flatnonzero((counts >= 20).sum(axis=0) < 2)]
    assert absent == []
    assert np.median((counts > 0).sum(axis=1)) >= 14


@each_look
def test_a_street_lies_below_the_sky(look, scenes):
    for scene in scenes[look.name]:
        rows = np.arange(192)[:, None] * np.ones((1, 384))
        means = [rows[scene.label == CLASS[name]].mean() for name in ("sky", "building", "road")]
        assert means == sorted(means)
        seen = (scene.label != NOTHING)[100:]
        assert (scene.label[100:] == CLASS["road"])[seen].mean() > 0.3


@each_look
def test_things_are_large_enough_to_learn(look, scenes):
    for scene in scenes[look.name]:
        pole = scene.label == CLASS["pole"]
        edges = np.diff(np.pad(pole, ((0, 0), (1, 1))).astype(int), axis=1)
        widths = np.nonzero(edges.T == -1)[0]  # as many runs end as start
        assert len(widths) > 20
        starts, ends = (np.argwhere(edges == way) for way in (1, -1))
        assert np.percentile((ends - starts)[:, 1], 80) >= 3


def test_photo_is_paler_hazier_and_noisier(scenes):
    colour, grain = {}, {}
    for name, part in scenes.items():
        pictures = np.stack([scene.image for scene in part]).astype(float)
        roads = np.stack([scene.label == CLASS["road"] for scene in part])
        colour[name] = np.ptp(pictures, axis=3).mean()
        steps = np.abs(np.diff(pictures.mean(axis=3), axis=2))[roads[:, :, 1:]]
        grain[name] = np.median(steps)
    assert colour["streets-photo"] < 0.8 * colour["streets-render"]
    assert grain["streets-photo"] > 2 * grain["streets-render"]


def test_a_shadow_lies_on_the_road(scenes):
    bright = [scene.image[scene.label == CLASS["road"]].mean(axis=1) for scene in scenes["streets-render"]]
    assert any(np.percentile(road, 90) > 1.4 * np.percentile(road, 10) for road in bright)


def test_majority_votes_and_ties_go_to_the_nearer():
    labels = np.array([[1, 2], [2, 2]], dtype=np.uint8)
    near = np.array([[9.0, 1.0], [1.0, 1.0]], dtype=np.float32)
    assert majority(labels, near).tolist() == [[2]]
    labels[0, 1] = 1
    assert majority(labels, near).tolist() == [[1]]
    assert SAMPLES == 2


@pytest.mark.parametrize(("seed", "index", "size"), [(-1, 0, "small"), (0, -1, "small"), (0, 0, "huge")])
def test_refusals(seed, index, size):
    with pytest.raises(SettingsError, match=r"^.*(0 or more|choose one of: small, full)$"):
        make_scene(LOOKS["streets-photo"], seed=seed, index=index, size=size)
