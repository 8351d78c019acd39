import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Flipd, Invertd

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.transforms.stacks import SliceStack, SliceStackd

AFFINE = torch.tensor([[-0.5, 0.02, 0, 10], [0.02, -0.49, -0.3, 20], [0, -0.05, 3, 30], [0, 0, 0, 1]]).double()


def volume(shape=(6, 5, 4)) -> torch.Tensor:
    return torch.arange(float(torch.tensor(shape).prod())).reshape(1, *shape)


def test_rows_run_front_to_back_and_neighbours_stop_at_the_ends():
    image = volume()
    stacks = SliceStack(3)(image)
    assert stacks.shape == (4, 3, 5, 6)
    assert stacks.is_contiguous()
    assert torch.equal(stacks[2, 1], image[0, :, :, 2].T)
    assert [int(each[0, 0]) for each in stacks[0]] == [0, 0, 1]
    assert [int(each[0, 0]) for each in stacks[3]] == [2, 3, 3]


@given(shape=st.tuples(*(st.integers(1, 6),) * 3), depth=st.sampled_from([1, 3, 5]))
@settings(deadline=None)
def test_the_middle_of_every_stack_is_the_volume(shape, depth):
    for image in (volume(shape), MetaTensor(volume(shape), affine=AFFINE)):
        stack = SliceStack(depth)
        middle = stack(image)[:, depth // 2 : depth // 2 + 1]
        back = stack.inverse(middle)
        assert torch.equal(back, image)
        assert type(back) is type(image)


def test_a_metatensor_finds_its_way_back():
    stack, image = SliceStack(3), MetaTensor(volume(), affine=AFFINE, meta={"filename_or_obj": "x"})
    stacks = stack(image)
    assert torch.equal(stacks.affine, AFFINE)
    assert [each["class"] for each in stacks.applied_operations] == ["SliceStack"]
    assert image.applied_operations == []
    classes = MetaTensor(torch.rand(4, 3, 5, 6), affine=stacks.affine, applied_operations=stacks.applied_operations)
    back = stack.inverse(classes)
    assert back.shape == (3, 6, 5, 4)
    assert torch.equal(back[2, :, :, 1].as_tensor(), classes[1, 2].as_tensor().T)
    assert torch.equal(back.affine, AFFINE)
    assert back.applied_operations == []
    assert len(classes.applied_operations) == 1


def test_the_dictionary_and_monais_invertd():
    steps = Compose(
        [Flipd("image", spatial_axis=0), SliceStackd(("image", "label"), depth=(3, 1), allow_missing_keys=True)]
    )
    data = steps({"image": MetaTensor(volume(), affine=AFFINE), "label": MetaTensor(volume(), affine=AFFINE)})
    assert data["image"].shape == (4, 3, 5, 6)
    assert data["label"].shape == (4, 1, 5, 6)
    data["pred"] = MetaTensor(data["image"][:, 1:2].as_tensor())
    back = Invertd("pred", steps, orig_keys="image", nearest_interp=False)(data)["pred"]
    assert torch.equal(back.as_tensor(), volume())
    assert torch.equal(back.affine, AFFINE)
    assert steps({"image": volume()})["image"].shape == (4, 3, 5, 6)
    assert set(SliceStackd(("a", "b"), allow_missing_keys=True)({"a": volume()})) == {"a"}


def test_what_is_refused():
    for depth in (0, 2, -1):
        with pytest.raises(SettingsError, match="odd"):
            SliceStack(depth)
    with pytest.raises(SettingsError, match="one each"):
        SliceStackd(("a", "b"), depth=(1,))
    for shape in ((2, 3, 3, 3), (3, 3, 3)):
        with pytest.raises(ShapeError, match="allowed"):
            SliceStack()(torch.ones(shape))
    with pytest.raises(ShapeError, match="allowed"):
        SliceStack().inverse(torch.ones(3, 3, 3))
