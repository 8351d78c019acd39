import json
import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from scipy.interpolate import make_interp_spline

from prostate_uda.errors import DataError, SettingsError
from prostate_uda.transforms.nyul import (
    Landmarks,
    NyulNormalize,
    NyulNormalized,
    learn_landmarks,
    load_landmarks,
    piecewise_linear,
    save_landmarks,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "nyul.json").read_text(encoding="utf-8"))
IMAGES = [torch.tensor(image, dtype=torch.float32)[None] for image in GOLDEN["images"]]
QUARTERS = (0.0, 25.0, 50.0, 75.0, 100.0)


def ramp(*, gain: float = 1.0, power: float = 1.0) -> torch.Tensor:
    """101 equally frequent values from 100 up: percentile p of the body is value number p."""
    values = 100 + 400 * torch.linspace(0, 1, 101, dtype=torch.float64) ** power
    return (gain * values).float().reshape(1, 1, 101, 1).expand(1, 10, 101, 2).clone()


def noise(seed: int, shape: tuple[int, ...] = (1, 12, 12, 4)) -> torch.Tensor:
    return 200 + 300 * torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_landmarks_by_hand():
    learned = learn_landmarks([ramp(), ramp(power=2)], QUARTERS, (0.0, 100.0))
    assert learned.values == pytest.approx((0, (25 + 6.25) / 2, (50 + 25) / 2, (75 + 56.25) / 2, 100), abs=1e-3)


def test_a_map_by_hand():
    nyul = NyulNormalize(Landmarks((0.0, 50.0, 100.0), (0.0, 10.0, 100.0)))
    out = nyul(ramp())
    assert out[0, 0, [0, 25, 50, 75, 100], 0].tolist() == pytest.approx([0, 5, 10, 55, 100], abs=1e-4)


def test_landmarks_agree_with_torchio():
    assert learn_landmarks(IMAGES).values == pytest.approx(GOLDEN["landmarks"], abs=1e-4)


@pytest.mark.parametrize("index", range(3))
def test_maps_agree_with_torchio(index):
    nyul = NyulNormalize(learn_landmarks(IMAGES))
    assert nyul(IMAGES[index])[0].numpy() == pytest.approx(np.array(GOLDEN["mapped"][index]), abs=2e-3)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=8, unique=True), st.integers(0, 1000))
def test_extrapolation_agrees_with_scipy(points, seed):
    knots = np.sort(np.array(points))
    if np.diff(knots).min() < 1e-3:
        return
    rng = np.random.default_rng(seed)
    values, x = np.cumsum(rng.uniform(0.1, 2, len(knots))), rng.uniform(-80, 80, 50)
    oracle = make_interp_spline(knots, values, k=1)(x)
    assert piecewise_linear(x, knots, values) == pytest.approx(oracle, rel=1e-6, abs=1e-6)
    assert piecewise_linear(x, knots, values, "clip") == pytest.approx(np.interp(x, knots, values))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 50))
def test_a_scanners_gain_is_not_seen(seed, gain):
    nyul = NyulNormalize(learn_landmarks([noise(1), noise(2)]).unit())
    assert torch.allclose(nyul(noise(seed) * gain), nyul(noise(seed)), atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.3, 3))
def test_the_body_lands_on_the_landmarks_in_its_own_order(seed, power):
    image = noise(seed) ** power
    landmarks = learn_landmarks(IMAGES)
    out = NyulNormalize(landmarks)(image)
    below, above = (  # a landmark may fall between two voxels
        np.percentile(out.double().numpy(), landmarks.percentiles, method=side) for side in ("lower", "higher")
    )
    assert (below <= np.array(landmarks.values) + 1e-3).all()
    assert (above >= np.array(landmarks.values) - 1e-3).all()
    order = image.flatten().argsort()
    assert (out.flatten()[order].diff() >= 0).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_what_is_increasing_can_be_undone(seed):
    image = MetaTensor(noise(seed), affine=torch.diag(torch.tensor([0.5, 0.5, 3.0, 1.0])))
    image[0, :2] = 0
    image[0, 5, 5, 0] = 5000
    nyul = NyulNormalized("image", learn_landmarks(IMAGES).unit(), invertible=True)
    out = nyul({"image": image})
    assert [step["class"] for step in out["image"].applied_operations] == ["NyulNormalized"]
    back = nyul.inverse(out)["image"]
    assert torch.allclose(back.as_tensor(), image.as_tensor(), rtol=1e-4, atol=1e-2)
    assert back.applied_operations == []


@given(st.permutations(range(4)))
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_images_does_not_matter(order):
    images = [noise(i) ** (1 + i / 4) for i in range(4)]
    assert learn_landmarks([images[i] for i in order]) == learn_landmarks(images)


def test_unit_scale_is_of_zero_mean_and_unit_variance():
    unit = Landmarks((0.0, 50.0, 100.0), (0.0, 1.0, 4.0)).unit()
    sample = piecewise_linear(np.linspace(0, 100, 100_001), np.array(unit.percentiles), np.array(unit.values))
    assert sample.mean() == pytest.approx(0, abs=1e-4)
    assert sample.std() == pytest.approx(1, abs=1e-4)


def test_ties_and_a_bare_binary_image_stay_finite_and_increasing():
    landmarks = learn_landmarks(IMAGES)
    for image in (torch.rand(1, 8, 8, 2).round() * 100 + 100, torch.zeros(1, 6, 6, 3)):
        image[:, :2] = 7
        out = NyulNormalize(landmarks)(image)
        assert torch.isfinite(out).all()
        assert out.max() > out.min()
    tied = learn_landmarks([torch.tensor([100.0] * 70 + [200.0] * 30).reshape(1, 10, 10, 1)])
    assert all(a < b for a, b in pairwise(tied.values))


def test_volumes_of_a_batch_are_not_mixed():
    nyul = NyulNormalize(learn_landmarks(IMAGES))
    batch = torch.stack([noise(1), noise(2) * 9])
    assert torch.equal(nyul(batch), torch.stack([nyul(batch[0]), nyul(batch[1])]))


def test_clipping_keeps_to_the_scale_and_cannot_be_undone():
    landmarks = learn_landmarks(IMAGES)
    nyul = NyulNormalize(landmarks, "clip")
    out = nyul(noise(3))
    assert (out.min(), out.max()) == (0, 100)
    with pytest.raises(SettingsError, match="cannot be undone"):
        nyul.undo(out, nyul.fit(noise(3)))
    with pytest.raises(SettingsError, match="cannot be undone"):
        NyulNormalized("image", landmarks, "clip", invertible=True)


def test_a_file_holds_them(tmp_path):
    landmarks, path = learn_landmarks(IMAGES), tmp_path / "landmarks.json"
    save_landmarks(landmarks, path)
    assert load_landmarks(path) == landmarks
    assert [entry.name for entry in tmp_path.iterdir()] == ["landmarks.json"]
    entry = {"image": noise(4)}
    from_file = pickle.loads(pickle.dumps(NyulNormalized("image", path)))
    assert torch.equal(from_file(entry)["image"], NyulNormalize(landmarks)(entry["image"]))


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"percentiles": [1, 99]}', '{"percentiles": [1, 99], "values": [1, "x"]}',
     '{"percentiles": [1, 99], "values": [5, 4]}', '{"percentiles": 3, "values": 4}',
     '{"percentiles": [1, 99], "values": [0, NaN]}'],
)  # fmt: skip
def test_a_file_that_holds_none_is_refused(tmp_path, content):
    path = tmp_path / "landmarks.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="landmarks"):
        load_landmarks(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        load_landmarks(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("percentiles", "values"),
    [((1, 99), (0,)), ((1,), (0,)), ((99, 1), (0, 1)), ((1, 101), (0, 1)), ((1, 99), (0, float("inf"))), ((), ())],
)
def test_what_is_no_scale_is_refused(percentiles, values):
    with pytest.raises(SettingsError, match="landmark"):
        Landmarks(percentiles, values)


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(DataError, match="no image"):
        learn_landmarks([])
    with pytest.raises(DataError, match="one brightness"):
        learn_landmarks([torch.full((1, 5, 5, 2), 3.0)])
    with pytest.raises(DataError, match="every voxel is 3"):
        NyulNormalize(learn_landmarks(IMAGES))(torch.full((1, 5, 5, 2), 3.0))
    with pytest.raises(SettingsError, match="extrapolate"):
        NyulNormalize(learn_landmarks(IMAGES), "linear")
