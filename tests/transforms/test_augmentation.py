import pytest
import torch

from prostate_uda.maths.losses import IGNORE
from prostate_uda.transforms.augmentation import AUGMENTATIONS, LEFT_RIGHT


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


def test_nothing_known_stays_nothing_known(sample):
    unknown = {**sample, "label": torch.full((1, 48, 48), float(IGNORE))}
    assert all((draw("plain", unknown, seed)["label"] == IGNORE).all() for seed in range(8))


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
    flip = next(step for step in AUGMENTATIONS["plain"]().transforms if type(step).__name__ == "RandFlipd")
    flip.prob = 1.0
    out = flip({key: value.clone() for key, value in sample.items()})
    assert sample["image"].ndim - 2 == LEFT_RIGHT
    assert torch.equal(torch.as_tensor(out["image"]), sample["image"].flip(-1))
    assert torch.equal(torch.as_tensor(out["label"]), sample["label"].flip(-1))
