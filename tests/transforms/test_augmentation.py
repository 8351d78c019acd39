import pickle
from math import pi

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandAdjustContrastd, RandAffined, RandFlipd, RandShiftIntensityd
from monai.transforms.transform import Randomizable

from prostate_uda.maths.losses import IGNORE
from prostate_uda.transforms.acquisition import RandSimulateAcquisitiond
from prostate_uda.transforms.augmentation import AUGMENTATIONS, LEFT_RIGHT, SliceAugmentation


@pytest.fixture
def sample() -> dict[str, torch.Tensor]:
    """Three slices of noise with a square of PZ around a square of TZ and a band of IGNORE."""
    label = torch.zeros(1, 48, 48)
    label[:, 14:36, 14:36], label[:, 18:28, 18:28], label[:, 40:] = 1, 2, IGNORE
    return {"image": torch.randn(3, 48, 48, generator=torch.Generator().manual_seed(0)), "label": label}


def draw(name: str, sample: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    augment = AUGMENTATIONS[name]()
    augment.set_random_state(seed=seed)
    return {key: torch.as_tensor(value) for key, value in augment(sample).items()}


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("seed", range(12))
def test_no_class_is_invented(name, sample, seed):
    out = draw(name, sample, seed)
    assert out["image"].shape == (3, 48, 48)
    assert out["label"].shape == (1, 48, 48)
    assert set(out["label"].unique().tolist()) == {0, 1, 2, IGNORE}
    assert torch.isfinite(out["image"]).all()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_seed_draws_again(name, sample):
    one, two = draw(name, sample, 7), draw(name, sample, 7)
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_generator_seeded_again_draws_what_a_new_one_draws(name, sample):
    used = AUGMENTATIONS[name]()
    for seed in (3, 1, 2):
        used.set_random_state(seed=seed)
        assert torch.equal(torch.as_tensor(used(sample)["image"]), draw(name, sample, seed)["image"])


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_global_random_state_is_neither_read_nor_moved(name, sample):
    def state() -> tuple[np.ndarray, ...]:
        shared = Randomizable.R.get_state()[1].copy()
        return torch.get_rng_state().numpy(), np.random.get_state()[1].copy(), shared  # noqa: NPY002  under test

    before, augment = state(), AUGMENTATIONS[name]()
    for seed in range(4):
        augment.set_random_state(seed=seed)
        augment({key: value.clone() for key, value in sample.items()})
    assert all(map(np.array_equal, before, state()))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_input_is_not_changed(name, sample):
    before = {key: value.clone() for key, value in sample.items()}
    for seed in range(8):
        draw(name, sample, seed)
    assert all(torch.equal(before[key], sample[key]) for key in sample)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_copy_in_another_process_draws_the_same(name, sample):
    augment = AUGMENTATIONS[name]()
    augment.set_random_state(seed=1)
    copy = pickle.loads(pickle.dumps(augment))
    copy.set_random_state(seed=5)
    assert torch.equal(torch.as_tensor(copy(sample)["image"]), draw(name, sample, 5)["image"])


def monais_plain() -> Compose:
    both = ("image", "label")
    return Compose(
        [
            RandFlipd(both, prob=0.5, spatial_axis=LEFT_RIGHT),
            RandAffined(
                both,
                prob=0.8,
                rotate_range=(pi / 18,),
                scale_range=(0.1, 0.1),
                translate_range=(5, 5),
                mode=("bilinear", "nearest"),
                padding_mode="border",
            ),
            RandAdjustContrastd("image", prob=0.3, gamma=(0.8, 1.25), retain_stats=True),
            RandShiftIntensityd("image", prob=0.3, offsets=0.2),
        ]
    )


@pytest.mark.parametrize("shape", [(48, 48), (40, 56)])
def test_plain_is_monais_bit_for_bit(shape):
    """Oracle: what plain leaves out of MONAI's transforms is their history, and what it seeds again is as new."""
    generator = torch.Generator().manual_seed(1)
    sample = {"image": torch.randn(3, *shape, generator=generator), "label": torch.zeros(1, *shape)}
    sample["label"][:, 10:30, 15:30] = 2
    theirs, ours = monais_plain(), AUGMENTATIONS["plain"]()
    for seed in range(25):
        expected, out = (augment.set_random_state(seed=seed)(sample) for augment in (theirs, ours))
        assert all(torch.equal(torch.as_tensor(out[key]), expected[key].as_tensor()) for key in sample)


def test_a_metatensor_has_monais_affine_and_history(sample):
    tracked = {key: MetaTensor(value) for key, value in sample.items()}
    expected, out = (
        augment.set_random_state(seed=5)(tracked) for augment in (monais_plain(), AUGMENTATIONS["plain"]())
    )
    for key in sample:
        assert torch.equal(out[key], expected[key])
        assert torch.equal(out[key].affine, expected[key].affine)
        assert len(out[key].applied_operations) == len(expected[key].applied_operations)


def test_strong_moves_as_plain_does_and_changes_intensities_more(sample):
    """The first two transforms are the same, so the same seed moves the label alike."""
    moved = []
    for seed in range(20):
        mild, hard = draw("plain", sample, seed), draw("strong", sample, seed)
        assert torch.equal(mild["label"], hard["label"])
        moved.append(float((mild["image"] - hard["image"]).abs().mean()))
    assert np.mean(moved) > 0.2


def test_strong_keeps_mean_and_deviation_about_where_they_were(sample):
    drawn = torch.stack([draw("strong", sample, seed)["image"] for seed in range(40)])
    assert drawn.mean((1, 2, 3)).abs().max() < 0.6
    assert 0.3 < drawn.std((1, 2, 3)).min() < drawn.std((1, 2, 3)).max() < 1.6


def test_strong_simulates_acquisitions():
    steps = AUGMENTATIONS["strong"]().transforms
    assert sum(isinstance(step, RandSimulateAcquisitiond) for step in steps) == 1


def test_generators_can_be_handed_over(sample):
    """A state, as MONAI takes one, is drawn from; after it seeds count again."""
    augment = SliceAugmentation([RandShiftIntensityd("image", prob=1.0, offsets=1.0)])
    first = augment.set_random_state(seed=1)(sample)["image"]
    augment.set_random_state(state=np.random.RandomState(4))
    assert not torch.equal(augment(sample)["image"], first)
    assert torch.equal(augment.set_random_state(seed=1)(sample)["image"], first)


@pytest.mark.parametrize("name", ["plain", "strong"])
def test_nothing_known_stays_nothing_known(sample, name):
    unknown = {**sample, "label": torch.full((1, 48, 48), float(IGNORE))}
    assert all((draw(name, unknown, seed)["label"] == IGNORE).all() for seed in range(8))


def test_none_changes_nothing(sample):
    assert all(torch.equal(value, sample[key]) for key, value in draw("none", sample, 3).items())


def test_image_and_label_move_together(sample):
    shape = {"image": sample["label"].clamp(max=2).repeat(3, 1, 1), "label": sample["label"].clamp(max=2)}
    agreed = []
    for seed in range(20):
        out = draw("plain", shape, seed)
        gland, bright = out["label"][0] > 0, out["image"][1] > out["image"].min() + 0.5 * 0.5
        agreed.append(float((gland == bright).float().mean()))
    assert min(agreed) > 0.9


def test_plain_draws_different_things(sample):
    drawn = [draw("plain", sample, seed)["image"] for seed in range(10)]
    assert sum(not torch.allclose(one, sample["image"]) for one in drawn) >= 8


def test_the_flip_is_from_left_to_right(sample):
    """Columns run right to left, so the mirror turns the last axis of (k, H, W)."""
    flip = next(step for step in AUGMENTATIONS["plain"]().transforms if isinstance(step, RandFlipd))
    flip.prob = 1.0
    out = flip({key: value.clone() for key, value in sample.items()})
    assert sample["image"].ndim - 2 == LEFT_RIGHT
    assert torch.equal(torch.as_tensor(out["image"]), sample["image"].flip(-1))
    assert torch.equal(torch.as_tensor(out["label"]), sample["label"].flip(-1))
