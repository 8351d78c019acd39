from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import CenterSpatialCrop, CropForeground

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.transforms.crop import CropGlandRegion, CropGlandRegiond

COS, SIN = 0.96, 0.28
OBLIQUE = torch.tensor(
    [[-0.5, 0, 0, 10], [0, -0.5 * COS, 3 * SIN, 20], [0, 0.5 * SIN, 3 * COS, 30], [0, 0, 0, 1]], dtype=torch.float64
)
"""0.5, 0.5 and 3 mm, turned about the left-right axis."""
SIZE = (40, 36, 12)


def image() -> MetaTensor:
    return MetaTensor(torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(0)) + 1, affine=OBLIQUE)


def gland(low=(15, 12, 4), high=(25, 20, 8)) -> MetaTensor:
    label = torch.zeros(1, *SIZE)
    label[:, low[0] : high[0], low[1] : high[1], low[2] : high[2]] = 1
    label[:, low[0] + 1 : high[0] - 1, low[1] + 1 : high[1] - 1, low[2] : high[2]] = 2
    return MetaTensor(label, affine=OBLIQUE)


def world(affine: torch.Tensor, index: tuple[int, int, int]) -> torch.Tensor:
    return affine @ torch.tensor([*index, 1], dtype=torch.float64)


def test_a_margin_in_millimetres_by_hand():
    """2 mm are 4 voxels of 0.5 mm, and one slice of 3 mm."""
    out = CropGlandRegion(2.0, 10.0)(image(), gland())
    assert torch.equal(out.as_tensor(), image().as_tensor()[:, 11:29, 8:24, 3:9])
    assert torch.allclose(world(out.affine, (0, 0, 0)), world(OBLIQUE, (11, 8, 3)))


def test_a_region_around_the_middle_by_hand():
    """10 mm are 20 voxels of 0.5 mm and 4 of 3 mm; too large a region is the whole axis."""
    for label in (None, torch.zeros(1, *SIZE), torch.full((1, *SIZE), float(IGNORE))):
        out = CropGlandRegion(2.0, 10.0)(image(), label)
        assert torch.equal(out.as_tensor(), image().as_tensor()[:, 10:30, 8:28, 4:8])
    assert CropGlandRegion(0.0, (10.0, 100.0, inf))(image()).shape == (1, 20, 36, 12)


def test_unknown_voxels_are_no_gland():
    label = gland()
    label[:, :, :, 10:] = IGNORE
    assert CropGlandRegion(0.0, 10.0)(image(), label).shape == (1, 10, 8, 4)


BOUNDS = st.tuples(*(st.integers(0, side - 3) for side in SIZE))


@given(low=BOUNDS, extent=st.tuples(*(st.integers(3, 12),) * 3), margin=st.floats(0, 30))
@settings(max_examples=40, deadline=None)
def test_no_voxel_of_the_gland_is_cut_and_the_way_back_is_exact(low, extent, margin):
    label = gland(low, tuple(min(a + b, side) for a, b, side in zip(low, extent, SIZE, strict=True)))
    crop = CropGlandRegiond(("image", "label"), margin, 20.0)
    out = crop({"image": image(), "label": label})
    assert (out["label"] > 0).sum() == (label > 0).sum()
    assert out["image"].shape == out["label"].shape
    back = crop.inverse(out)
    for key, original in (("image", image()), ("label", label)):
        assert back[key].shape == original.shape
        assert torch.allclose(back[key].affine, OBLIQUE, atol=1e-9)
        assert back[key].applied_operations == []
    assert torch.equal(back["label"].as_tensor(), label.as_tensor())
    kept = back["image"].as_tensor() > 0
    assert torch.equal(back["image"].as_tensor()[kept], image().as_tensor()[kept])
    assert kept.sum() == out["image"].numel()


def test_monai_agrees():
    """Oracle: CropForeground on the label and CenterSpatialCrop, given the voxels."""
    boxes = CropForeground(select_fn=torch.Tensor.bool, margin=0).compute_bounding_box(gland().as_tensor())
    ours = CropGlandRegion(0.0, 10.0).box(image(), gland())
    assert [(one.start, one.stop) for one in ours] == list(zip(*(side.tolist() for side in boxes), strict=True))
    centred = CenterSpatialCrop((20, 20, 4))(image())
    assert torch.equal(CropGlandRegion(0.0, 10.0)(image()), centred)


def test_the_dictionary_without_a_label():
    crop = CropGlandRegiond(("image", "label"), 2.0, 10.0, allow_missing_keys=True)
    out = crop({"image": image(), "name": "a"})
    assert set(out) == {"image", "name"}
    assert out["image"].shape == (1, 20, 20, 4)
    with pytest.raises(KeyError):
        CropGlandRegiond(("image", "label"), 2.0, 10.0)({"image": image()})


def test_many_channels_go_back():
    crop = CropGlandRegion(2.0, 10.0)
    cropped = crop(image(), gland())
    classes = MetaTensor(
        torch.rand(3, *cropped.shape[1:]), affine=cropped.affine, applied_operations=cropped.applied_operations
    )
    back = crop.inverse(classes)
    assert back.shape == (3, *SIZE)
    assert torch.equal(back.as_tensor()[:, 11:29, 8:24, 3:9], classes.as_tensor())


def test_the_input_is_not_changed():
    one = image()
    CropGlandRegion(0.0, 5.0)(one)
    assert torch.equal(one, image())
    assert one.applied_operations == []


def test_what_is_refused():
    with pytest.raises(SettingsError, match="margins ≥ 0"):
        CropGlandRegion(-1.0, 10.0)
    with pytest.raises(SettingsError, match="regions > 0"):
        CropGlandRegion(1.0, 0.0)
    with pytest.raises(SettingsError, match="one number or three"):
        CropGlandRegion((1.0, 2.0), 10.0)
    with pytest.raises(ShapeError, match="with an affine"):
        CropGlandRegion(1.0, 10.0)(torch.ones(1, *SIZE))
    with pytest.raises(ShapeError, match="grid"):
        CropGlandRegion(1.0, 10.0)(image(), torch.ones(1, 3, 3, 3))
