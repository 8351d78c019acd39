import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Flipd, Invertd

from prostate_uda.errors import DataError, SettingsError, ShapeError
from prostate_uda.transforms.body import body_mask, shrink, stretch
from prostate_uda.transforms.n4 import N4BiasFieldCorrection, N4BiasFieldCorrectiond

SPACING = (2.0, 2.0, 4.0)
AFFINE = torch.diag(torch.tensor([-2.0, -2.0, 4.0, 1.0], dtype=torch.float64))


def bias(shape=(48, 40, 8)) -> torch.Tensor:
    """Smooth, from about 0.6 to 1.7."""
    x, y, z = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    return torch.exp(0.35 * x - 0.15 * y * y + 0.1 * z)[None]


def tissue(shape=(48, 40, 8)) -> torch.Tensor:
    """Two tissues in a chessboard, a hole of air in the middle, noise."""
    generator = torch.Generator().manual_seed(0)
    x, y, _ = torch.meshgrid(*[torch.arange(n) for n in shape], indexing="ij")
    clean = torch.where((x // 6 + y // 5) % 2 == 0, 300.0, 700.0)
    clean[18:30, 14:26] = 5.0
    return (clean + 10 * torch.randn(shape, generator=generator)).clamp(min=1)[None]


def scan(image=None) -> MetaTensor:
    return MetaTensor((tissue() * bias()) if image is None else image, affine=AFFINE)


def test_the_field_is_simpleitks_own_up_to_its_scale():
    image = scan()
    array = image[0].numpy()
    itk = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    itk.SetSpacing(SPACING)
    mask = sitk.GetImageFromArray(np.ascontiguousarray(body_mask(array, SPACING).T.astype(np.uint8)))
    mask.SetSpacing(SPACING)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations((20, 10))
    ratio = (
        N4BiasFieldCorrection((20, 10), shrink=1)(image)[0].numpy() / sitk.GetArrayFromImage(n4.Execute(itk, mask)).T
    )
    assert ratio == pytest.approx(np.median(ratio), rel=5e-3)  # on more than one thread, so not to the last digit


def test_the_field_has_a_scale():
    body = body_mask(scan()[0].numpy(), SPACING)
    assert float(N4BiasFieldCorrection(shrink=1).field(scan())[0][body].log().mean()) == pytest.approx(0, abs=1e-5)


def test_a_known_field_is_taken_away():
    wrong, right = scan()[0].numpy(), tissue()[0].numpy()
    ratio = N4BiasFieldCorrection()(scan())[0].numpy() / right
    body = body_mask(right, SPACING)
    before, after = (np.log(x[body]).std() for x in (wrong / right, ratio))
    assert after < before / 3


def test_an_even_image_is_left_alone():
    field = N4BiasFieldCorrection().field(scan(tissue()))
    assert float(field.log().std()) < 0.05


def test_air_in_the_middle_has_no_say():
    """The level of the air is not seen: the field is of the body."""
    filled = scan()
    filled[0, 18:30, 14:26] *= 0.2
    assert torch.allclose(N4BiasFieldCorrection().field(filled), N4BiasFieldCorrection().field(scan()), rtol=0.05)


def test_the_same_image_gives_the_same_bits_on_any_number_of_threads():
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    try:
        fields = []
        for count in (1, 2, 5):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count)
            fields.append(N4BiasFieldCorrection().field(scan()))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    assert all(torch.equal(field, fields[0]) for field in fields)


def test_shrinking_changes_the_field_little():
    fine, coarse = (N4BiasFieldCorrection(shrink=factor).field(scan()) for factor in (1, 3))
    assert float((fine / coarse).log().abs().median()) < 0.03


def test_the_voxel_size_is_the_affines():
    pixel = torch.diag(torch.tensor([0.25, 0.25, 3.0, 1.0]))
    fine = MetaTensor(scan().as_tensor(), affine=pixel)
    whole = N4BiasFieldCorrection()
    assert torch.equal(whole.field(fine), N4BiasFieldCorrection(shrink=5).field(fine))  # 8 pixels are left of 40
    assert torch.equal(whole.field(scan()), N4BiasFieldCorrection(shrink=3).field(scan()))


def test_volumes_of_a_batch_are_not_mixed():
    n4 = N4BiasFieldCorrection((10,))
    pair = torch.stack([scan().as_tensor(), tissue()])
    assert torch.equal(n4(pair), torch.stack([n4(pair[0]), n4(pair[1])]))
    channels = torch.cat([scan().as_tensor(), tissue()])
    assert torch.equal(n4(channels), n4(pair)[:, 0])


def test_a_meta_tensor_stays_one():
    image = scan()
    image.meta["name"] = "a"
    image.push_applied_operation({"class": "Before"})
    out = N4BiasFieldCorrectiond(["image", "missing"], allow_missing_keys=True)({"image": image})["image"]
    assert isinstance(out, MetaTensor)
    assert torch.equal(out.affine, image.affine)
    assert out.meta["name"] == "a"
    assert out.applied_operations == [{"class": "Before"}]
    assert not isinstance(N4BiasFieldCorrection()(tissue()), MetaTensor)


def test_inverse_multiplies_the_field_back_where_it_was_asked_for():
    image = scan()
    pipeline = Compose([N4BiasFieldCorrectiond("image", (10,), invertible=True), Flipd("image", spatial_axis=0)])
    out = pipeline({"image": image})
    assert len(out["image"].applied_operations) == 2
    back = pipeline.inverse(out)["image"]
    assert torch.allclose(back.as_tensor(), image.as_tensor(), rtol=1e-5, atol=1e-3)
    assert back.applied_operations == []


def test_without_it_the_inverse_is_spatial_only():
    image = scan()
    pipeline = Compose([N4BiasFieldCorrectiond("image", (10,)), Flipd("image", spatial_axis=0)])
    out = pipeline({"image": image})
    assert [step["class"] for step in out["image"].applied_operations] == ["Flip"]
    out["pred"] = MetaTensor(torch.rand(image.shape), affine=AFFINE)
    invert = Invertd("pred", pipeline, orig_keys="image")
    assert torch.equal(invert(dict(out))["pred"].as_tensor(), out["pred"].as_tensor().flip(1))


def test_a_field_of_another_shape_is_refused():
    n4 = N4BiasFieldCorrection((5,))
    with pytest.raises(ShapeError, match="undo what changed the shape"):
        n4.undo(tissue()[:, :-1], n4.fit(tissue()))


@pytest.mark.parametrize("shape", [(1, 5, 5, 1), (1, 3, 3, 2), (2, 8, 9, 3)])
def test_tiny_and_constant_images_are_finite(shape):
    for image in (torch.rand(shape), torch.ones(shape), torch.zeros(shape), torch.randn(shape)):
        field = N4BiasFieldCorrection().field(image)
        assert torch.isfinite(field).all()
        assert (field > 0).all()


@pytest.mark.parametrize(
    "settings",
    [{"iterations": ()}, {"iterations": (5, 0)}, {"shrink": 0}, {"convergence": 0.0}, {"control_points": (3, 4, 4)},
     {"control_points": (4, 4)}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(SettingsError, match="N4"):
        N4BiasFieldCorrection(**settings)


def test_what_is_no_volume_is_refused():
    with pytest.raises(ShapeError, match="C, X, Y, Z"):
        N4BiasFieldCorrection()(torch.ones(8, 8, 8))
    with pytest.raises(DataError, match="NaN"):
        N4BiasFieldCorrection()(torch.full((1, 8, 8, 8), float("nan")))


def test_shrink_and_stretch_by_hand():
    volume = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    assert shrink(volume, 2)[..., 0].tolist() == [[2.5, 4.5], [8.5, 10.5]]  # the last row is repeated
    line = np.linspace(0, 1, 40, dtype=np.float32)[:, None, None].repeat(20, 1)
    assert stretch(shrink(line, 4), 4, line.shape)[2:-2] == pytest.approx(line[2:-2], abs=1e-6)
