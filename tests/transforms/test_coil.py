from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Orientation

from prostate_uda.data.phantom.acquisition import draw_coil
from prostate_uda.data.phantom.anatomy import draw_anatomy
from prostate_uda.data.phantom.case import generators, make_case
from prostate_uda.data.phantom.protocols import PROTOCOLS
from prostate_uda.data.phantom.scan import draw_scan
from prostate_uda.data.volumes import read_image
from prostate_uda.errors import SettingsError
from prostate_uda.transforms.body import body_mask
from prostate_uda.transforms.coil import (
    CorrectCoilProfile,
    CorrectCoilProfiled,
    find_balloon,
    fit_near_field,
    front_wall,
    near_field,
)

LPS = Orientation("LPS", labels=None)
SPACING = (2.0, 2.0, 3.0)
CASES = range(5)


@cache
def phantom(name: str, index: int) -> tuple[MetaTensor, np.ndarray]:
    """A small phantom image and its gland, LPS."""
    case = make_case(PROTOCOLS[name], seed=3, index=index, size="small")
    image, label = (LPS(MetaTensor(torch.from_numpy(a)[None].float(), affine=torch.from_numpy(case.affine)))
                    for a in (case.image, case.label))  # fmt: skip
    return image, label[0].numpy() > 0


def sensitivity(name: str, index: int) -> np.ndarray:
    """What the phantom's coils really did to :func:`phantom`, ``(X, Y, Z)`` in LPS."""
    protocol, image = PROTOCOLS[name], phantom(name, index)[0]
    for_anatomy, for_scan, *_, for_acquisition = generators(protocol, 3, index)
    anatomy = draw_anatomy(for_anatomy, endorectal_coil=protocol.endorectal_coil)
    scan = draw_scan(for_scan, protocol.matrix("small"))
    to_body = np.linalg.inv(scan.body_to_world) @ image.affine.numpy()
    voxels = np.stack(np.meshgrid(*map(np.arange, image.shape[1:]), indexing="ij"), -1)
    points = (voxels @ to_body[:3, :3].T + to_body[:3, 3]).astype(np.float32)
    return draw_coil(for_acquisition, protocol, anatomy.balloon).sensitivity(np.moveaxis(points, -1, 0))


@pytest.mark.parametrize("index", CASES)
def test_an_image_without_such_a_coil_is_left_alone(index):
    image, _ = phantom("phantom-3t", index)
    assert torch.allclose(CorrectCoilProfile()(image), image, rtol=0.02)


@pytest.mark.parametrize("index", CASES)
def test_the_near_field_comes_down(index):
    """Of the brightness that the coil lays over the gland, less than half is left, and what is taken off is no more."""
    image, gland = phantom("phantom-1.5t", index)
    truth = np.log(sensitivity("phantom-1.5t", index))
    field = np.log(CorrectCoilProfile().field(image)[0].numpy())
    assert (truth - field)[gland].std() < 0.4 * truth[gland].std()
    body = body_mask(image[0].numpy(), tuple(image.pixdim.tolist()))
    near = body & (truth > np.quantile(truth[body], 0.97))
    far = body & (truth < np.quantile(truth[body], 0.5))
    before, after = (x[near].mean() - x[far].mean() for x in (truth, truth - field))
    assert -0.15 * before < after < 0.5 * before


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(CASES), st.floats(0.05, 50))
def test_the_field_does_not_depend_on_the_gain(index, gain):
    image, _ = phantom("phantom-1.5t", index)
    coil = CorrectCoilProfile()
    assert torch.allclose(coil.field(image * gain), coil.field(image), rtol=0.15)


def test_the_field_is_one_far_away_capped_and_decays_from_the_balloon():
    image, _ = phantom("phantom-1.5t", 0)
    field = CorrectCoilProfile(max_gain=2.0).field(image)[0]
    assert field.min() >= 1
    assert field.max() <= 2
    assert float(field[:, :10].max()) < 1.1
    assert torch.equal(CorrectCoilProfile().field(image), CorrectCoilProfile().field(image))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([10.0, 14.0, 18.0, 24.0]), st.sampled_from([1.5, 2.5, 4.0, 6.0]), st.floats(-5, 5))
def test_an_exact_profile_is_recovered(radius, gain, level):
    mm = np.arange(8.0, 70.0, 4.0)
    found = fit_near_field(mm, level + np.log(near_field(mm, radius, gain)))
    if near_field(mm[:2], radius, gain).min() > 1.6:
        assert near_field(mm, *found) == pytest.approx(near_field(mm, radius, gain), rel=0.02)


def test_a_bright_bladder_is_no_coil():
    mm = np.arange(8.0, 70.0, 4.0)
    assert fit_near_field(mm, np.where((mm > 20) & (mm < 40), 0.5, 0.0))[1] == 0
    assert fit_near_field(mm, 0.01 * mm)[1] == 0
    assert fit_near_field(mm[:1], mm[:1])[1] == 0


def test_balloon_and_front_wall_by_hand():
    x, y, z = np.ogrid[:60, :60, :8]
    void = (((x - 31) * 2) ** 2 + ((y - 42) * 2) ** 2 < 16**2) & (z >= 2) | ((x < 12) & (y < 50) & (z > 0))
    balloon = find_balloon(void, SPACING)
    assert (balloon == (void & (x > 20))).mean() > 0.995
    wall = front_wall(balloon, SPACING)
    assert not wall[..., :2].any()
    assert np.argwhere(wall[..., 5]).tolist()[5] == [31, 35]
    assert set(np.argwhere(wall[..., 5])[:, 0]) == set(range(26, 37))


@pytest.mark.parametrize(
    "hole",
    [(31, 42, 7.0), (31, 10, 18.0), (8, 42, 14.0)],
    ids=["gas: too narrow", "in front", "at the side"],
)
def test_other_holes_are_no_balloon(hole):
    x, y, radius = hole
    i, j, _ = np.ogrid[:60, :60, :8]
    void = np.broadcast_to(((i - x) * 2) ** 2 + ((j - y) * 2) ** 2 < radius**2, (60, 60, 8)).copy()
    assert not find_balloon(void, SPACING).any()
    assert not find_balloon(np.ones_like(void), SPACING).any()
    behind = np.zeros_like(void)
    behind[:, 45:] = True
    assert not find_balloon(behind, SPACING).any()


def test_inverse_meta_data_and_batches():
    image, _ = phantom("phantom-1.5t", 1)
    transform = CorrectCoilProfiled(["image", "missing"], invertible=True, allow_missing_keys=True)
    out = transform({"image": image})
    assert isinstance(out["image"], MetaTensor)
    assert torch.equal(out["image"].affine, image.affine)
    assert len(out["image"].applied_operations) == len(image.applied_operations) + 1
    back = transform.inverse(out)["image"]
    assert torch.allclose(back.as_tensor(), image.as_tensor(), rtol=1e-5)
    assert len(back.applied_operations) == len(image.applied_operations)
    assert CorrectCoilProfiled("image")({"image": image})["image"].applied_operations == image.applied_operations
    other, coil = phantom("phantom-1.5t", 2)[0].as_tensor(), CorrectCoilProfile()
    pair = torch.stack([image.as_tensor(), other])
    assert torch.equal(coil(pair), torch.stack([coil(pair[0]), coil(pair[1])]))


def test_real_scans(shared_data):
    """Siemens without such a coil: untouched. Philips with it: never more than a coil can do."""
    siemens = sorted((shared_data / "prostatex-siemens-3t" / "dicom").iterdir())
    philips = sorted((shared_data / "prostate-mri-philips-3t-erc").glob("MIP*"))
    for folder in siemens + philips:
        volume = read_image(folder)
        image = LPS(
            MetaTensor(torch.from_numpy(volume.array)[None], affine=torch.from_numpy(volume.grid.affine.copy()))
        )
        highest = float(CorrectCoilProfile().field(image).max())
        assert highest == 1 if folder in siemens else highest < 3


@pytest.mark.parametrize("cap", [1.0, 0.5, float("nan")])
def test_a_cap_that_is_none_is_refused(cap):
    with pytest.raises(SettingsError, match="above 1"):
        CorrectCoilProfile(cap)
