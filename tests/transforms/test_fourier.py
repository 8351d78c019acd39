"""FDA as a transform; the mathematics is in tests/maths/test_fourier.py."""

import pickle

import pytest
import torch
from monai.data import MetaTensor

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.maths.fourier import swap_amplitude
from prostate_uda.transforms.fourier import (
    FourierAmplitudeSwap,
    FourierAmplitudeSwapd,
    RandFourierAmplitudeSwap,
    RandFourierAmplitudeSwapd,
    amplitude_bank,
)

AFFINE = torch.tensor([[-0.5, 0.02, 0, 10], [0.02, -0.49, -0.3, 20], [0, -0.05, 3, 30], [0, 0, 0, 1]]).double()


def stack(k=3, size=(48, 40), seed=0) -> torch.Tensor:
    return torch.randn((k, *size), generator=torch.Generator().manual_seed(seed))


def volume(seed=0) -> MetaTensor:
    return MetaTensor(stack(5, seed=seed).permute(2, 1, 0)[None], affine=AFFINE, meta={"filename_or_obj": "x"})


BANK = amplitude_bank(stack(4, seed=9) * 2 + 1, beta=0.1)


def test_a_bank_holds_the_low_frequencies_of_every_slice():
    assert BANK.shape == (4, 2 * 4 + 1, 4 + 1)
    assert torch.allclose(BANK[:, 4, 0], (stack(4, seed=9) * 2 + 1).mean((1, 2)), atol=1e-5)
    assert torch.equal(amplitude_bank(volume(), 0.1), amplitude_bank(stack(5), 0.1))


def test_every_slice_gets_the_references_look():
    out = FourierAmplitudeSwap(BANK[0], beta=0.1)(stack())
    assert out.shape == (3, 48, 40)
    assert all(torch.allclose(block, BANK[0], atol=1e-5) for block in amplitude_bank(out, 0.1))


def test_a_volume_is_its_slices_and_other_axes_can_be_asked_for():
    whole = FourierAmplitudeSwap(BANK[0], beta=0.05)(volume())
    slices = FourierAmplitudeSwap(BANK[0], beta=0.05)(stack(5))
    assert torch.equal(whole.as_tensor()[0].permute(2, 1, 0), slices)
    turned = FourierAmplitudeSwap(BANK[0], beta=0.05, in_plane=(1, 2))(volume().as_tensor().transpose(1, 2))
    assert torch.allclose(turned.transpose(1, 2), whole.as_tensor(), atol=1e-6)


def test_the_own_amplitude_is_the_identity():
    one = stack(1)
    assert torch.allclose(FourierAmplitudeSwap(amplitude_bank(one, 0.1)[0], 0.1)(one), one, atol=1e-5)


@pytest.mark.parametrize("swap", [FourierAmplitudeSwap(BANK[0]), RandFourierAmplitudeSwap(BANK, 1.0)])
def test_a_metatensor_keeps_its_grid_and_a_tensor_stays_plain(swap):
    image = volume()
    before = image.clone()
    out = swap(image)
    assert isinstance(out, MetaTensor)
    assert torch.equal(out.affine, AFFINE)
    assert out.meta["filename_or_obj"] == "x"
    assert (out.shape, out.dtype) == (image.shape, torch.float32)
    assert torch.equal(image, before)
    assert type(swap(stack())) is torch.Tensor


@pytest.mark.parametrize("seed", range(6))
def test_what_was_drawn_is_recorded_and_can_be_done_again(seed):
    rand = RandFourierAmplitudeSwap(BANK, 0.7, beta=(0.01, 0.1), strength=(0.2, 0.9)).set_random_state(seed=seed)
    out = rand(stack())
    assert torch.equal(rand(stack(), randomize=False), out)
    if rand.swap is None:
        assert torch.equal(out, stack())
        return
    assert 0.01 <= rand.swap.beta <= 0.1
    assert 0.2 <= rand.swap.strength <= 0.9
    assert any(torch.equal(rand.swap.amplitude, block) for block in BANK)
    assert torch.equal(rand.swap(stack()), out)
    assert torch.equal(out[1], swap_amplitude(stack()[1], rand.swap.amplitude, rand.swap.beta, rand.swap.strength))


def test_all_references_are_drawn():
    rand = RandFourierAmplitudeSwap(BANK, 1.0).set_random_state(seed=0)
    seen = set()
    for _ in range(60):
        rand.randomize()
        seen |= {index for index, block in enumerate(BANK) if torch.equal(rand.swap.amplitude, block)}
    assert seen == {0, 1, 2, 3}


def test_the_dictionary_draws_once_for_all_images_and_leaves_labels():
    data = {"image": stack(), "other": stack(), "label": torch.ones(1, 48, 40)}
    rand = RandFourierAmplitudeSwapd(("image", "other"), BANK, prob=1.0).set_random_state(seed=1)
    out = rand(data)
    assert torch.equal(out["image"], out["other"])
    assert out["label"] is data["label"]
    drawn = rand.transform.swap
    one = FourierAmplitudeSwapd("image", drawn.amplitude, drawn.beta, drawn.strength)(data)
    assert torch.equal(one["image"], out["image"])
    assert one["other"] is data["other"]


def test_missing_keys_and_banks_from_json():
    block = BANK[0].tolist()
    assert "b" not in FourierAmplitudeSwapd(("a", "b"), block, allow_missing_keys=True)({"a": stack()})
    assert "b" not in RandFourierAmplitudeSwapd(("a", "b"), [block], allow_missing_keys=True)({"a": stack()})
    with pytest.raises(KeyError):
        FourierAmplitudeSwapd(("a", "b"), block)({"a": stack()})


def test_it_can_be_pickled():
    rand = RandFourierAmplitudeSwapd("image", BANK, 1.0).set_random_state(seed=2)
    assert torch.equal(pickle.loads(pickle.dumps(rand))({"image": stack()})["image"], rand({"image": stack()})["image"])


def test_what_is_refused():
    with pytest.raises(ShapeError, match="n ≥ 1"):
        RandFourierAmplitudeSwap(BANK[:0])
    with pytest.raises(ShapeError, match="n ≥ 1"):
        RandFourierAmplitudeSwap(BANK[0])
    with pytest.raises(SettingsError, match="allowed are ranges"):
        RandFourierAmplitudeSwap(BANK, beta=(0.1, 0.6))
    with pytest.raises(ShapeError, match="smaller beta"):
        FourierAmplitudeSwap(BANK[0], beta=0.2)(stack())
    with pytest.raises(ShapeError, match="allowed"):
        FourierAmplitudeSwap(BANK[0])(stack()[0])
