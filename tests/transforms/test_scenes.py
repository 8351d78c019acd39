import pickle
from math import ceil

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import CenterSpatialCrop, Flip
from monai.transforms.transform import Randomizable
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from torch.nn.functional import interpolate

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.maths import imagenet
from prostate_uda.maths.losses import IGNORE
from prostate_uda.transforms import SCENE_AUGMENTATIONS
from prostate_uda.transforms.scenes import (
    RandSceneBlur,
    RandSceneColour,
    RandSceneCropd,
    RandSceneNoise,
)

CROP = (32, 64)
SIZES = [(48, 96), (32, 64), (20, 90), (60, 40), (20, 40)]
MEAN, SD = (torch.tensor(values)[:, None, None] for values in (imagenet.MEAN, imagenet.SD))


def photograph(height: int, width: int) -> Tensor:
    """Smooth colours in [0, 1], no two pixels alike."""
    down, right = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack((0.1 + 0.8 * down, 0.1 + 0.8 * right, 0.3 + 0.2 * down * right + 0.2 * (1 - down)))


def sample(height: int = 48, width: int = 96) -> dict[str, Tensor]:
    """A scene of four classes with a band of IGNORE."""
    label = torch.zeros(1, height, width)
    label[:, height // 3 :], label[:, height // 2 :, : width // 2], label[:, :, -width // 8 :] = 10, 18, 3
    label[:, -height // 8 :] = IGNORE
    return {"image": (photograph(height, width) - MEAN) / SD, "label": label}


def draw(name: str, entry: dict[str, Tensor], seed: int, crop: tuple[int, int] = CROP) -> dict[str, Tensor]:
    return SCENE_AUGMENTATIONS[name](crop).set_random_state(seed=seed)(entry)


def places(height: int, width: int) -> dict[str, Tensor]:
    """The image's first two channels say each pixel's row and column, the label a number of its own below 2²⁴."""
    down, right = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    label = (down * width + right)[None].float() + 1000
    return {"image": torch.stack((down, right, right)).float(), "label": label}


@pytest.mark.parametrize("name", SCENE_AUGMENTATIONS)
@pytest.mark.parametrize("size", SIZES)
def test_what_comes_out_is_the_crop(name, size):
    entry = sample(*size)
    for seed in range(8):
        out = draw(name, entry, seed)
        assert out["image"].shape == (3, *CROP)
        assert out["label"].shape == (1, *CROP)
        assert out["image"].dtype == torch.float32
        assert type(out["image"]) is type(out["label"]) is Tensor
        assert torch.isfinite(out["image"]).all()
        assert set(out["label"].unique().tolist()) <= {0, 3, 10, 18, IGNORE}


@pytest.mark.parametrize("name", SCENE_AUGMENTATIONS)
@pytest.mark.parametrize("kind", [torch.uint8, torch.int64, torch.float32])
def test_a_label_keeps_its_type_and_its_classes(name, kind):
    entry = sample()
    for seed in range(4):
        out = draw(name, {**entry, "label": entry["label"].to(kind)}, seed)["label"]
        assert out.dtype == kind
        assert torch.equal(out.float(), draw(name, entry, seed)["label"])


@pytest.mark.parametrize("name", SCENE_AUGMENTATIONS)
def test_a_generator_seeded_again_draws_what_a_new_one_draws(name):
    used = SCENE_AUGMENTATIONS[name](CROP)
    for seed in range(12):
        fresh, copy = draw(name, sample(), seed), pickle.loads(pickle.dumps(used))  # as for another process
        for augment in (used, copy):
            out = augment.set_random_state(seed=seed)(sample())
            assert all(torch.equal(out[key], fresh[key]) for key in fresh)


@pytest.mark.parametrize("name", SCENE_AUGMENTATIONS)
def test_global_random_state_is_neither_read_nor_moved(name):
    def state() -> tuple[np.ndarray, ...]:
        shared = Randomizable.R.get_state()[1].copy()
        return torch.get_rng_state().numpy(), np.random.get_state()[1].copy(), shared  # noqa: NPY002  under test

    before, augment = state(), SCENE_AUGMENTATIONS[name](CROP)
    for seed in range(12):
        augment.set_random_state(seed=seed)(sample())
    assert all(map(np.array_equal, before, state()))


@pytest.mark.parametrize("name", SCENE_AUGMENTATIONS)
@pytest.mark.parametrize("size", SIZES)
def test_the_input_is_not_changed(name, size):
    entry = sample(*size)
    before = {key: value.clone() for key, value in entry.items()}
    for seed in range(12):
        draw(name, entry, seed)
    assert all(torch.equal(before[key], entry[key]) for key in entry)


@pytest.mark.parametrize("name", SCENE_AUGMENTATIONS)
def test_nothing_known_stays_nothing_known(name):
    unknown = {**sample(), "label": torch.full((1, 48, 96), float(IGNORE))}
    assert all((draw(name, unknown, seed)["label"] == IGNORE).all() for seed in range(8))


def test_none_is_monais_centre_crop():
    entry = sample()
    out = draw("none", entry, 3)
    assert all(torch.equal(out[key], CenterSpatialCrop(CROP)(entry[key])) for key in entry)


def test_plain_draws_every_place_and_both_sides():
    """A crop of 3 × 4 from 5 × 7 has 3 · 4 places; each comes about as often, mirrored as often as not."""
    entry, seen = places(5, 7), {}
    augment = SCENE_AUGMENTATIONS["plain"]((3, 4))
    for seed in range(2400):
        out = augment.set_random_state(seed=seed)(entry)
        row, left, right = (int(out["image"][at]) for at in ((0, 0, 0), (1, 0, 0), (1, 0, 3)))
        expected = entry["label"][:, row : row + 3, min(left, right) : min(left, right) + 4]
        assert torch.equal(out["label"], expected if left < right else Flip(1)(expected))
        seen[row, min(left, right), left < right] = seen.get((row, min(left, right), left < right), 0) + 1
    assert set(seen) == {(row, column, side) for row in range(3) for column in range(4) for side in (True, False)}
    assert 60 < min(seen.values()) <= max(seen.values()) < 145


@pytest.mark.parametrize("name", SCENE_AUGMENTATIONS)
def test_a_smaller_scene_is_whole_between_its_border_and_ignore(name):
    entry = places(5, 40)
    for seed in range(8):
        augment = SCENE_AUGMENTATIONS[name](CROP)
        augment.transforms = augment.transforms[:1]  # the crop
        out = augment.set_random_state(seed=seed)(entry)
        known = out["label"][0] != IGNORE
        rows, columns = known.any(dim=1).nonzero().flatten(), known.any(dim=0).nonzero().flatten()
        inside = out["image"][:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert known[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert out["image"][0, 0].max() <= 0.5
        assert out["image"][0, -1].min() >= 3.5
        if name != "strong":
            assert torch.equal(inside, entry["image"])
            assert torch.equal(out["label"][:, known], entry["label"].flatten(1))
            assert (out["image"][0, : rows[0]] == 0).all()
            assert (out["image"][0, rows[-1] :] == 4).all()


def test_a_smaller_scene_lies_anywhere_in_the_crop():
    starts = set()
    for seed in range(200):
        known = draw("plain", {"image": torch.zeros(3, 3, 64), "label": torch.ones(1, 3, 64)}, seed, (6, 64))["label"]
        starts.add(int((known[0] != IGNORE).any(dim=1).nonzero()[0]))
    assert starts == {0, 1, 2, 3}


@pytest.mark.parametrize("scale", [0.75, 0.9, 1.1, 1.5])
def test_image_and_label_scale_alike(scale):
    """At every pixel the image's row and column are those of the label's pixel, within half of one."""
    entry = places(90, 150)
    crop = RandSceneCropd(CROP, scale=(scale, scale))
    for seed in range(5):
        out = crop.set_random_state(seed=seed)(entry)
        at = out["label"][0] - 1000
        row, column = at.div(150, rounding_mode="floor"), at % 150
        assert (out["image"][0] - row).abs().max() <= 0.5 + 1e-4
        assert (out["image"][1] - column).abs().max() <= 0.5 + 1e-4
        assert out["image"][1].diff(dim=1)[:, 2:-2].mean().item() == pytest.approx(1 / scale, rel=0.02)
        assert out["image"][0].diff(dim=0)[2:-2].mean().item() == pytest.approx(1 / scale, rel=0.04)


def test_scaling_is_torchs_bilinear():
    entry = sample()
    out = RandSceneCropd((48, 96), scale=(1.5, 1.5)).set_random_state(seed=2)(entry)["image"]
    parts = [entry["image"][:, top : top + 32, left : left + 64] for top in range(17) for left in range(33)]
    nearest = min((interpolate(part[None], (48, 96), mode="bilinear")[0] - out).abs().max() for part in parts)
    assert nearest < 1e-5


def test_strong_scales_over_its_range():
    """Columns of the scene per column of the crop."""
    entry, steps = places(200, 400), []
    augment = SCENE_AUGMENTATIONS["strong"](CROP)
    augment.transforms = augment.transforms[:1]
    for seed in range(200):
        out = augment.set_random_state(seed=seed)(entry)["image"]
        steps.append((out[1, 5, 50] - out[1, 5, 10]).item() / 40)
    assert 1 / 1.55 < min(steps) < 0.72
    assert 1.25 < max(steps) < 1 / 0.74
    assert np.mean(np.log(steps)) == pytest.approx(np.log([1 / 1.5, 1 / 0.75]).mean(), abs=0.06)


def test_strong_changes_colours_of_most_and_labels_of_none():
    entry = sample()
    changed = 0
    for seed in range(40):
        augment, bare = SCENE_AUGMENTATIONS["strong"](CROP), SCENE_AUGMENTATIONS["strong"](CROP)
        bare.transforms = bare.transforms[:2]
        out, moved = augment.set_random_state(seed=seed)(entry), bare.set_random_state(seed=seed)(entry)
        assert torch.equal(out["label"], moved["label"])
        changed += int((out["image"] - moved["image"]).abs().mean() > 0.05)
    assert 28 <= changed <= 40


def saturated(image: Tensor, factor: float) -> Tensor:
    """Pillow's, on 8 bits."""
    picture = Image.fromarray((image * 255).round().byte().movedim(0, -1).numpy())
    return torch.from_numpy(np.asarray(ImageEnhance.Color(picture).enhance(factor)).copy()).movedim(-1, 0) / 255


@pytest.mark.parametrize("factor", [0.4, 1.0, 1.5])
def test_saturation_is_pillows(factor):
    image = photograph(24, 32)
    colour = RandSceneColour(1.0, gamma=(1, 1), gain=(1, 1), saturation=(factor, factor)).set_random_state(seed=0)
    seen = colour((image - MEAN) / SD) * SD + MEAN
    assert (seen - saturated(image, factor)).abs().max() < 2.5 / 255


def test_gamma_and_gain_by_hand_are_clipped_at_white():
    image = photograph(24, 32)
    colour = RandSceneColour(1.0, gamma=(1.4, 1.4), gain=(1.2, 1.2), saturation=(1, 1)).set_random_state(seed=0)
    seen = colour((image - MEAN) / SD) * SD + MEAN
    assert (1.2 * image**1.4).max() > 1
    assert torch.allclose(seen, (1.2 * image**1.4).clamp(0, 1), atol=1e-5)


def test_each_channel_has_a_gain_of_its_own():
    grey = torch.full((3, 8, 8), 0.5)
    colour = RandSceneColour(1.0, gamma=(1, 1), saturation=(1, 1))
    seen = torch.stack([colour.set_random_state(seed=seed)((grey - MEAN) / SD) * SD + MEAN for seed in range(60)])
    gains = seen[:, :, 0, 0] / 0.5
    assert 0.79 < gains.min() < 0.85
    assert 1.18 < gains.max() < 1.26
    assert gains.std(dim=1).mean() > 0.05
    assert (seen - seen[:, :, :1, :1]).abs().max() < 1e-6


@pytest.mark.parametrize("sigma", [0.4, 0.8, 1.3])
def test_blur_is_scipys(sigma):
    image = torch.randn(3, 24, 30, generator=torch.Generator().manual_seed(0))
    blurred = RandSceneBlur(1.0, (sigma, sigma)).set_random_state(seed=0)(image)
    expected = image.numpy()
    for axis in (1, 2):
        expected = gaussian_filter1d(expected, sigma, axis=axis, mode="nearest", radius=ceil(3 * sigma))
    assert np.abs(blurred.numpy() - expected).max() < 1e-5


def test_noise_has_the_deviation_that_was_drawn():
    noise = RandSceneNoise(1.0, (0.02, 0.25))
    found = torch.stack([noise.set_random_state(seed=seed)(torch.zeros(3, 64, 64)).std() for seed in range(60)])
    assert 0.019 < found.min() < 0.05
    assert 0.22 < found.max() < 0.256
    channels = torch.cat([noise.set_random_state(seed=seed)(torch.zeros(3, 64, 64)).flatten(1) for seed in (1, 2)])
    assert (torch.corrcoef(channels) - torch.eye(6)).abs().max() < 0.08


@pytest.mark.parametrize("make", [RandSceneColour, RandSceneBlur, RandSceneNoise])
def test_probability_is_a_share(make):
    image = (photograph(8, 8) - MEAN) / SD
    changed = sum(not torch.equal(make(0.5).set_random_state(seed=seed)(image), image) for seed in range(100))
    assert 30 < changed < 70
    assert torch.equal(make(0.0).set_random_state(seed=1)(image), image)


def test_a_metatensor_comes_out_plain_and_other_entries_stay():
    tracked = {key: MetaTensor(value) for key, value in sample().items()}
    out, expected = draw("plain", {**tracked, "case": "aachen_0"}, 4), draw("plain", sample(), 4)
    assert out["case"] == "aachen_0"
    assert all(type(out[key]) is Tensor and torch.equal(out[key], expected[key]) for key in expected)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RandSceneCropd((0, 8), None), r"crop of \(0, 8\) pixels"),
        (lambda: RandSceneCropd((8, 8), (1.5, 0.75)), "scale from 1.5 to 0.75"),
        (lambda: RandSceneCropd((8, 8), (0.0, 1.0)), "scale from 0.0"),
        (lambda: RandSceneColour(0.5, gamma=(-1, 1)), "gamma from -1"),
        (lambda: RandSceneBlur(0.5, (2, 1)), "sigma from 2 to 1"),
        (lambda: RandSceneNoise(0.5, (0, 1)), "sd from 0 to 1"),
    ],
)
def test_settings_that_are_refused(make, words):
    with pytest.raises(SettingsError, match=words):
        make()


def test_image_and_label_of_two_sizes():
    with pytest.raises(ShapeError, match=r"image \(3, 48, 96\), label \(1, 48, 95\)"):
        RandSceneCropd(CROP, None)({**sample(), "label": sample()["label"][..., :-1]})
