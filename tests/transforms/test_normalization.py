import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor

from prostate_uda.transforms.normalization import body_percentiles, minmax, no_normalization, zscore

BUILDERS = {"none": no_normalization, "zscore": zscore, "minmax": minmax}


@pytest.fixture
def image() -> MetaTensor:
    """Tissue around 200 with a hot spot, in air that the scanner filled with zeros."""
    rng = np.random.default_rng(0)
    array = np.zeros((1, 30, 30, 6), np.float32)
    array[:, 5:25, 5:25] = rng.normal(200, 30, (1, 20, 20, 6)).clip(1)
    array[:, 6, 6, 0] = 50_000
    return MetaTensor(torch.from_numpy(array), affine=torch.diag(torch.tensor([0.5, 0.5, 3.0, 1.0])))


def apply(name: str, image: torch.Tensor) -> torch.Tensor:
    return BUILDERS[name]()({"image": image})["image"]


def test_none_leaves_intensities(image):
    assert torch.equal(apply("none", image), image)


def test_zscore_is_of_the_body_and_air_stays_dark(image):
    out, body = apply("zscore", image), image > 0
    assert float(out[body].mean()) == pytest.approx(0, abs=1e-4)
    assert float(out[body].std(correction=0)) == pytest.approx(1, abs=1e-4)
    assert float(out[~body].max()) < -2
    assert out.max() < 4  # the hot spot was clipped


def test_minmax_is_between_0_and_1(image):
    out = apply("minmax", image)
    assert (float(out.min()), float(out.max())) == (0.0, 1.0)
    low, high = body_percentiles(image)
    assert np.allclose((low, high), np.percentile(image[image > 0].numpy(), (0.5, 99.5)))


@pytest.mark.parametrize("name", ["zscore", "minmax"])
@given(gain=st.floats(0.01, 1000))
def test_a_scanners_gain_is_not_seen(name, gain):
    image = torch.rand(1, 8, 8, 4, generator=torch.Generator().manual_seed(1)) + 0.5
    assert torch.allclose(apply(name, image * gain), apply(name, image), atol=1e-3)


@pytest.mark.parametrize("name", ["zscore", "minmax"])
def test_negative_intensities_and_binary_images_are_finite(name):
    for image in (torch.randn(1, 6, 6, 3), torch.zeros(1, 6, 6, 3).index_fill(1, torch.tensor([2]), 7.0)):
        out = apply(name, image)
        assert torch.isfinite(out).all()
        assert out.min() < out.max()


@pytest.mark.parametrize("name", BUILDERS)
def test_affine_type_and_history_are_kept(image, name):
    out = apply(name, image)
    assert isinstance(out, MetaTensor)
    assert out.dtype == torch.float32
    assert torch.equal(out.affine, image.affine)
    assert out.shape == image.shape


@pytest.mark.parametrize("name", BUILDERS)
def test_the_input_is_not_changed(image, name):
    before = image.clone()
    apply(name, image)
    assert torch.equal(image, before)
