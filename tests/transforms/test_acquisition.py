"""An image measured again: by hand, by law, against MONAI, and what was drawn done again."""

import pickle
from dataclasses import asdict, replace
from math import inf

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import AdjustContrast

from prostate_uda.errors import ProstateUDAError, SettingsError, ShapeError
from prostate_uda.transforms.acquisition import (
    RandSimulateAcquisition,
    RandSimulateAcquisitiond,
    SimulateAcquisition,
    SimulateAcquisitiond,
    remapped,
)
from prostate_uda.transforms.scanner import Acquisition, AcquisitionRanges, EndorectalCoil

AFFINE = torch.tensor([[-0.5, 0.02, 0, 10], [0.02, -0.49, -0.3, 20], [0, -0.05, 3, 30], [0, 0, 0, 1]]).double()
FULL = Acquisition(
    gamma=1.2,
    contrast=(0.3, 0.5, 0.8, 1.0),
    bias=0.1,
    waves=((0.5, 0.2, 1.0),),
    coil=EndorectalCoil(),
    ghost=0.3,
    snr=12.0,
    corrected=0.5,
    acquired=(0.9, 0.7),
    seed=5,
)


def stack(k=3, size=(40, 32), seed=0) -> torch.Tensor:
    """Magnitudes of tissue with a dark hole."""
    image = torch.rand((k, *size), generator=torch.Generator().manual_seed(seed)) + 1
    image[:, 5:9, 5:9] = 0
    return image


def volume(seed=0) -> MetaTensor:
    return MetaTensor(stack(5, (28, 36), seed).permute(2, 1, 0)[None], affine=AFFINE, meta={"filename_or_obj": "x"})


@given(low=st.floats(-50, 50), gain=st.floats(0.01, 100))
@settings(max_examples=20, deadline=None)
def test_the_neutral_acquisition_changes_nothing(low, gain):
    image = stack() * gain + low
    for retain in (False, True):
        out = SimulateAcquisition(retain_stats=retain)(image)
        assert torch.allclose(out, image, rtol=1e-4, atol=1e-5 * (abs(low) + gain))


@pytest.mark.parametrize("name", ["gamma", "contrast", "coil", "ghost", "snr", "acquired"])
def test_every_part_does_something(name):
    waves = {"bias": FULL.bias, "waves": FULL.waves} if name == "coil" else {}
    part = replace(Acquisition(), **{name: getattr(FULL, name)}, **waves)
    assert not torch.allclose(SimulateAcquisition(part)(stack()), stack(), atol=1e-3)


def test_no_signal_stays_no_signal_without_noise_and_ghosts():
    """Normalized or not: contrast and coils multiply what is above the darkest value."""
    silent = replace(FULL, ghost=0.0, snr=inf, acquired=(1.0, 1.0))
    for low in (0.0, -2.0):
        out = SimulateAcquisition(silent)(stack() + low)
        assert torch.allclose(out[:, 5:9, 5:9], torch.full((3, 4, 4), low), atol=1e-6)


def test_normalized_images_and_magnitudes_get_the_same_physics():
    raw, shifted = SimulateAcquisition(FULL)(stack()), SimulateAcquisition(FULL)(stack() - 1.5)
    assert torch.allclose(raw - 1.5, shifted, atol=1e-5)
    assert raw.min() >= 0


@given(gain=st.floats(0.1, 1000))
@settings(max_examples=10, deadline=None)
def test_the_unit_of_the_signal_does_not_matter(gain):
    out = SimulateAcquisition(FULL)(stack() * gain)
    assert torch.allclose(out, SimulateAcquisition(FULL)(stack()) * gain, rtol=1e-3, atol=1e-4 * gain)


def test_statistics_are_retained_where_asked():
    image = (stack() - 1.2) * 3
    out = SimulateAcquisition(FULL, retain_stats=True)(image)
    assert float(out.mean()) == pytest.approx(float(image.mean()), abs=1e-5)
    assert float(out.std()) == pytest.approx(float(image.std()), rel=1e-4)


def test_the_near_field_by_hand():
    """A coil of gain 2 at the middle: there sqrt(0.75² + 2²); a radius in front, 2 · 2^-1.5 for 2."""
    coil = EndorectalCoil(gain=2.0, row=0.505, column=0.505, radius=0.2, half_width=0.0)
    seen = SimulateAcquisition(Acquisition(coil=coil))(torch.ones(1, 100, 100))[0]
    assert float(seen[50, 50]) == pytest.approx((0.75**2 + 4) ** 0.5, rel=1e-5)
    assert float(seen[30, 50]) == pytest.approx((0.75**2 + 4 / 8) ** 0.5, rel=1e-5)
    assert torch.allclose(seen[50, 30], seen[30, 50])
    taken_out = SimulateAcquisition(Acquisition(coil=replace(coil, exponent=-1.0)))(seen[None])
    assert torch.allclose(taken_out, torch.ones(1, 100, 100), atol=1e-5)


def test_a_corrected_coil_is_even_and_noisy_far_away():
    """The scanner divides its profile out again, noise and all; far from the coil three quarters of it were left."""
    image, coil = torch.full((1, 96, 96), 10.0), EndorectalCoil(row=0.9, gain=4.0)
    even = SimulateAcquisition(Acquisition(coil=coil, corrected=1.0))(image)
    assert torch.allclose(even, image, rtol=1e-4)
    noisy = SimulateAcquisition(Acquisition(coil=coil, corrected=1.0, snr=20.0))(image)[0]
    assert float(noisy[:20].std()) == pytest.approx(0.5 / 0.75, rel=0.1)
    assert float(noisy[82:90, 40:56].std()) < 0.25


@given(snr=st.floats(5, 50), seed=st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_the_snr_is_the_one_asked_for(snr, seed):
    flat = torch.full((1, 96, 96), 30.0)
    out = SimulateAcquisition(Acquisition(snr=snr, seed=seed))(flat)
    assert 30 / float(out.std()) == pytest.approx(snr, rel=0.06)


def test_ghosts_run_along_the_columns_at_the_coil():
    coil = EndorectalCoil(row=0.5, gain=1e-3)
    image = torch.ones(1, 64, 64)
    still, moved = (SimulateAcquisition(Acquisition(coil=coil, ghost=ghost, seed=3))(image) for ghost in (0.0, 0.4))
    energy = (moved - still)[0].square().sum(dim=1)
    assert int(energy.argmax()) in (31, 32)
    assert energy[:16].max() < 1e-3 * energy.max()
    far = (moved - still)[0, 31, :8].abs()
    assert far.max() > 0.01  # far from the coil, along its rows


def test_resolution_is_lost_along_the_axis_asked_for():
    fine = torch.zeros(1, 64, 64)
    fine[0, ::2] = 1  # the finest stripes along the rows
    rows = SimulateAcquisition(Acquisition(acquired=(0.5, 1.0)))(fine)
    columns = SimulateAcquisition(Acquisition(acquired=(1.0, 0.5)))(fine)
    assert torch.allclose(rows, torch.full_like(fine, 0.5), atol=1e-5)
    assert torch.allclose(columns, fine, atol=1e-5)


@given(gamma=st.floats(0.4, 2.5))
@settings(max_examples=20, deadline=None)
def test_monais_gamma_agrees(gamma):
    """Oracle: AdjustContrast, whose unit is the range; ours is the bright end, so they agree up to a factor."""
    image = stack()
    theirs = torch.as_tensor(AdjustContrast(gamma)(image)).as_subclass(torch.Tensor)
    ours = remapped(image, gamma, ())
    assert torch.allclose(ours / ours.max(), theirs / theirs.max(), atol=1e-4)


def test_numpys_interpolation_agrees():
    """Oracle: numpy.interp over the evenly spaced levels."""
    image, levels = stack(), (0.1, 0.6, 0.7, 1.0)
    bright = float(image.mean() + 3 * image.std())
    expected = np.interp(image.numpy() / bright, np.linspace(0, 1, 5), (0, *levels)) * bright
    inside = image.numpy() <= bright
    assert remapped(image, 1.0, levels).numpy()[inside] == pytest.approx(expected[inside], abs=1e-5)
    assert torch.allclose(remapped(image, 1.0, (0.25, 0.5, 0.75, 1.0)), image, atol=1e-5)


def test_a_volume_is_its_slices():
    """Without what is drawn per plane, the planes of a volume are measured as a stack of them."""
    silent = replace(FULL, snr=inf, ghost=0.0)
    whole = SimulateAcquisition(silent)(volume())
    slices = SimulateAcquisition(silent)(volume().as_tensor()[0].permute(2, 1, 0))
    assert torch.allclose(whole.as_tensor()[0].permute(2, 1, 0), slices, atol=1e-6)
    turned = SimulateAcquisition(silent, in_plane=(1, 2))(volume().as_tensor().transpose(1, 2))
    assert torch.allclose(turned.transpose(1, 2), whole.as_tensor(), atol=1e-6)


def test_planes_have_noise_and_ghosts_of_their_own():
    out = SimulateAcquisition(replace(Acquisition(), snr=10.0, ghost=0.3, coil=EndorectalCoil()))(torch.ones(2, 32, 32))
    assert not torch.allclose(out[0], out[1], atol=0.01)


@pytest.mark.parametrize("simulate", [SimulateAcquisition(FULL), RandSimulateAcquisition(1.0)])
def test_a_metatensor_keeps_its_grid_and_a_tensor_stays_plain(simulate):
    image = volume()
    before = image.clone()
    out = simulate(image)
    assert isinstance(out, MetaTensor)
    assert torch.equal(out.affine, AFFINE)
    assert out.meta["filename_or_obj"] == "x"
    assert (out.shape, out.dtype) == (image.shape, torch.float32)
    assert out.applied_operations == image.applied_operations
    assert torch.equal(image, before)
    assert type(simulate(stack())) is torch.Tensor


@pytest.mark.parametrize("seed", range(8))
def test_what_was_drawn_is_recorded_and_can_be_done_again(seed):
    image = stack() - 1.3
    rand = RandSimulateAcquisition(0.8, retain_stats=True).set_random_state(seed=seed)
    out = rand(image)
    assert torch.equal(rand(image, randomize=False), out)
    record = asdict(rand.acquisition)
    coil = record.pop("coil")
    again = Acquisition(**record, coil=None if coil is None else EndorectalCoil(**coil))
    assert again == rand.acquisition
    if rand._do_transform:
        assert torch.equal(SimulateAcquisition(again, retain_stats=True)(image), out)
    else:
        assert torch.equal(out, image)
    assert torch.equal(RandSimulateAcquisition(0.8, retain_stats=True).set_random_state(seed=seed)(image), out)


def test_drawn_scanners_are_within_their_ranges_and_differ():
    rng, ranges = np.random.RandomState(0), AcquisitionRanges()
    drawn = [ranges.draw(rng) for _ in range(400)]
    assert len(set(drawn)) == 400
    for name in ("gamma", "bias", "corrected", "ghost", "period", "snr"):
        low, high = getattr(ranges, name)
        values = [getattr(one, name) for one in drawn]
        assert low <= min(values) < max(values) <= high
    coils = [one.coil for one in drawn if one.coil is not None]
    assert len(coils) / 400 == pytest.approx(ranges.coil + ranges.uncoil, abs=0.08)
    assert sum(coil.exponent < 0 for coil in coils) / 400 == pytest.approx(ranges.uncoil, abs=0.05)
    assert all(ranges.row[0] <= coil.row <= ranges.row[1] for coil in coils)


def test_the_dictionary_draws_once_for_all_images_and_leaves_labels():
    data = {"image": stack(), "other": stack(), "label": torch.ones(1, 40, 32), "name": "a"}
    rand = RandSimulateAcquisitiond(("image", "other"), prob=1.0).set_random_state(seed=1)
    out = rand(data)
    assert torch.equal(out["image"], out["other"])
    assert not torch.equal(out["image"], data["image"])
    assert out["label"] is data["label"]
    assert out["name"] == "a"
    one = SimulateAcquisitiond("image", rand.transform.acquisition)(data)
    assert torch.equal(one["image"], out["image"])
    assert one["other"] is data["other"]


@pytest.mark.parametrize("kind", [SimulateAcquisitiond, RandSimulateAcquisitiond])
def test_missing_keys(kind):
    assert "b" not in kind(("a", "b"), allow_missing_keys=True)({"a": stack()})
    with pytest.raises(KeyError):
        kind(("a", "b"))({"a": stack()})


def test_global_random_state_is_neither_read_nor_moved():
    before = torch.get_rng_state()
    RandSimulateAcquisition(1.0).set_random_state(seed=0)(stack())
    assert torch.equal(before, torch.get_rng_state())


def test_it_can_be_pickled():
    rand = RandSimulateAcquisitiond("image", 1.0).set_random_state(seed=2)
    assert torch.equal(pickle.loads(pickle.dumps(rand))({"image": stack()})["image"], rand({"image": stack()})["image"])


def test_a_constant_image_is_finite():
    for retain in (False, True):
        out = SimulateAcquisition(FULL, retain_stats=retain)(torch.zeros(1, 16, 16))
        assert torch.isfinite(out).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"gamma": 0.0},
        {"snr": 0.0},
        {"ghost": -1.0},
        {"acquired": (0.0, 1.0)},
        {"contrast": (-1.0,)},
        {"period": 0.0},
        {"corrected": 1.1},
    ],
)
def test_numbers_out_of_range(wrong):
    with pytest.raises(SettingsError, match="allowed"):
        Acquisition(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"gamma": (2.0, 1.0)}, {"snr": (0.0, 1.0)}, {"contrast": 0.3}, {"coil": 0.8, "uncoil": 0.3}]
)
def test_ranges_out_of_range(wrong):
    with pytest.raises(SettingsError, match="allowed"):
        AcquisitionRanges(**wrong)


@pytest.mark.parametrize("wrong", [{"gain": 0.0}, {"radius": 0.0}, {"exponent": 2.0}, {"half_width": -0.1}])
def test_coils_out_of_range(wrong):
    with pytest.raises(ProstateUDAError, match="allowed"):
        EndorectalCoil(**wrong)


def test_shapes_that_are_no_image():
    with pytest.raises(ShapeError, match="allowed"):
        SimulateAcquisition()(torch.ones(4, 4))
    with pytest.raises(ShapeError, match="allowed"):
        SimulateAcquisition(in_plane=(1, 1))(torch.ones(1, 4, 4))
