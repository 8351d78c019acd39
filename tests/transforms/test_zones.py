"""Probabilities to zones: the argmax by default, and what each rule promises of any probabilities."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import AsDiscrete, KeepLargestConnectedComponent
from scipy import ndimage
from torch import Tensor

from prostate_uda.errors import ShapeError
from prostate_uda.transforms import LabelZones
from prostate_uda.transforms.zones import ISLAND, LabelZonesd

ANYWHERE = np.ones((3, 3, 3))
SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 7), st.integers(1, 4))


@st.composite
def probabilities(draw: st.DrawFn) -> Tensor:
    """Smooth or rough fields of three classes, of which a corner may not be known."""
    shape, seed = draw(SHAPES), draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    sharpness, smooth = draw(st.sampled_from([0.5, 3.0, 40.0])), draw(st.sampled_from([0.0, 1.0]))
    logits = sharpness * np.stack([ndimage.gaussian_filter(rng.normal(size=shape), smooth) for _ in range(3)])
    given = torch.from_numpy(logits).float().softmax(dim=0)
    given[:, : draw(st.integers(0, 2))] = 0
    return given


def certain(label: Tensor) -> Tensor:
    """``(X, Y, Z)`` labels as probabilities of 0.8."""
    return 0.1 + 0.7 * torch.nn.functional.one_hot(label.long(), 3).permute(3, 0, 1, 2).float()


def pieces(mask: np.ndarray) -> int:
    return int(ndimage.label(mask, structure=ANYWHERE)[1])


@settings(max_examples=50, deadline=None)
@given(probabilities(), st.booleans(), st.booleans())
def test_there_are_three_values_on_the_same_grid(given: Tensor, largest: bool, inside: bool) -> None:
    before = given.clone()
    label = LabelZones(largest, inside)(given)
    assert label.dtype == torch.uint8
    assert label.shape == (1, *given.shape[1:])
    assert {*label.unique().tolist()} <= {0, 1, 2}
    assert torch.equal(given, before)


@settings(max_examples=50, deadline=None)
@given(probabilities())
def test_by_default_it_is_monais_argmax(given: Tensor) -> None:
    assert torch.equal(LabelZones()(given), AsDiscrete(argmax=True)(given).to(torch.uint8))


@settings(max_examples=50, deadline=None)
@given(probabilities())
def test_the_largest_piece_alone_is_kept_as_it_is(given: Tensor) -> None:
    plain, kept = LabelZones()(given), LabelZones(keep_largest=True)(given)
    together = KeepLargestConnectedComponent(applied_labels=[1, 2], is_onehot=False, independent=False)
    assert torch.equal(kept, together(plain).to(torch.uint8))
    assert pieces(kept[0].numpy() > 0) == min(1, pieces(plain[0].numpy() > 0))
    assert torch.equal(kept[kept > 0], plain[kept > 0])
    sizes = np.bincount(ndimage.label(plain[0].numpy() > 0, structure=ANYWHERE)[0].ravel())[1:]
    assert int((kept > 0).sum()) == max(sizes, default=0)


@settings(max_examples=50, deadline=None)
@given(probabilities(), st.booleans())
def test_the_gland_is_found_first_and_filled(given: Tensor, largest: bool) -> None:
    label = LabelZones(largest, tz_inside=True)(given)[0].numpy()
    gland = ndimage.binary_fill_holes((given[1] + given[2] > given[0]).numpy())
    assert not (label[~gland] > 0).any()
    if largest:
        assert pieces(label > 0) == min(1, pieces(gland))
    else:
        assert np.array_equal(label > 0, gland)
    likelier = (given[2] > given[1]).numpy()
    assert not (label == 2)[~likelier].any()
    sizes = np.bincount(ndimage.label(label == 2, structure=ANYWHERE)[0].ravel())[1:]
    assert all(size >= ISLAND * max(sizes) for size in sizes)


def test_where_nothing_is_known_is_background() -> None:
    for largest, inside in ((False, False), (True, False), (False, True), (True, True)):
        assert not LabelZones(largest, inside)(torch.zeros(3, 4, 5, 2)).any()


def test_zones_that_share_a_gland_do_not_lose_it_to_the_background() -> None:
    """0.4 background, 0.3 each zone: likelier gland than not, though the likeliest class is the background."""
    given = torch.tensor([0.4, 0.25, 0.35])[:, None, None, None].expand(3, 2, 2, 1)
    assert LabelZones()(given).unique().tolist() == [0]
    assert LabelZones(tz_inside=True)(given).unique().tolist() == [2]


def test_holes_and_islands_by_hand() -> None:
    label = torch.zeros(12, 12, 5)
    label[1:9, 1:9, 0:5] = 1
    label[2:7, 2:7, 1:4] = 2
    label[4, 4, 2] = 0  # a hole in the TZ: its TZ and PZ are alike, so it becomes the first, PZ
    label[8, 8, 1:4] = 2  # 3 of 75 voxels: an island within the gland
    label[10:12, 10:12, 0] = 2  # 4 more, outside of the gland
    found = LabelZones(tz_inside=True)(certain(label))[0]
    assert found[4, 4, 2] == 1
    assert found[8, 8, 1:4].tolist() == [1, 1, 1]
    assert found[10:, 10:, 0].unique().tolist() == [1]
    assert int((found == 2).sum()) == 5 * 5 * 3 - 1
    both = LabelZones(keep_largest=True, tz_inside=True)(certain(label))[0]
    assert not both[10:, 10:].any()
    assert torch.equal(both[:9, :9], found[:9, :9])


def test_a_second_lobe_is_no_island() -> None:
    label = torch.ones(20, 10, 3)
    label[2:12, 2:7, 1], label[15:17, 2:5, 1] = 2, 2  # 50 voxels, and 6 that are more than a tenth of them
    assert torch.equal(LabelZones(tz_inside=True)(certain(label))[0].float(), label)


def test_a_meta_tensor_keeps_its_place() -> None:
    affine = torch.diag(torch.tensor([0.5, 0.5, 3.0, 1.0], dtype=torch.float64))
    given = MetaTensor(certain(torch.ones(4, 4, 2)), affine=affine, meta={"filename_or_obj": "scan.nii.gz"})
    for inside in (False, True):
        found = LabelZones(keep_largest=True, tz_inside=inside)(given)
        assert isinstance(found, MetaTensor)
        assert torch.equal(found.affine, affine)
        assert found.meta["filename_or_obj"] == "scan.nii.gz"
    assert not isinstance(LabelZones()(given.as_tensor()), MetaTensor)


def test_the_dictionary_version_changes_its_keys_alone() -> None:
    given = torch.rand(3, 4, 4, 2, generator=torch.Generator().manual_seed(0))
    entry = {"pred": given, "image": given}
    found = LabelZonesd("pred", keep_largest=True, tz_inside=True)(entry)
    assert torch.equal(found["pred"], LabelZones(True, True)(given))
    assert found["image"] is given
    assert entry["pred"] is given
    with pytest.raises(KeyError):
        LabelZonesd("other")(entry)
    assert LabelZonesd("other", allow_missing_keys=True)(entry) == entry


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 4, 4, 2), (1, 3, 4, 4, 2), (4, 4, 4, 2)])
def test_other_shapes_are_our_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"allowed is \(3, X, Y, Z\)"):
        LabelZones()(torch.zeros(shape))
