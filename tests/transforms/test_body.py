import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from prostate_uda.data.volumes import read_image
from prostate_uda.errors import ShapeError
from prostate_uda.transforms.body import body_mask, each_volume, shrink_factor, spacings_mm


def scan(seed: int) -> np.ndarray:
    """Fat at 500 and muscle at 150 with a hot spot, an air-filled balloon and air around: Rayleigh noise."""
    rng = np.random.default_rng(seed)
    image = np.where(np.arange(60)[:, None, None] % 20 < 12, 500.0, 150.0) * np.ones((60, 60, 6))
    image[20:40, 46:52] *= 6
    image[20:40, 30:46], image[:, :5] = 0, 0
    return np.hypot(image + rng.normal(0, 12, image.shape), rng.normal(0, 12, image.shape)).astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_tissue_is_body_and_air_is_not(seed, gain):
    body = body_mask(scan(seed) * np.float32(gain), (1.5, 1.5, 3.0))
    air = np.zeros_like(body)
    air[20:40, 30:46], air[:, :5] = True, True
    assert (body == ~air).mean() > 0.93
    assert not body[23:37, 33:43].any()
    assert body[:, 8:28].all()


@pytest.mark.parametrize("value", [0.0, 3.0, -3.0])
def test_a_constant_volume_is_all_body(value):
    assert body_mask(np.full((8, 8, 2), value, np.float32), (1.0, 1.0, 1.0)).all()


def test_a_balloon_is_not_body_in_real_scans(shared_data):
    for folder in sorted((shared_data / "prostate-mri-philips-3t-erc").glob("MIP*")):
        volume = read_image(folder)
        body = body_mask(volume.array, tuple(np.linalg.norm(volume.grid.affine[:3, :3], axis=0)))
        assert 0.9 < body.mean() < 0.98


def test_spacing_is_each_volumes_own():
    one, two = torch.diag(torch.tensor([-0.5, 0.7, 3.0, 1.0])), torch.diag(torch.tensor([1.0, 1.0, 4.0, 1.0]))
    batch = MetaTensor(torch.zeros(2, 2, 3, 3, 3), affine=torch.stack([one, two]))
    expected = [(0.5, 0.7, 3.0)] * 2 + [(1.0, 1.0, 4.0)] * 2
    assert np.allclose(list(spacings_mm(batch)), expected)
    assert list(spacings_mm(torch.zeros(2, 3, 3, 3))) == [(1.0, 1.0, 1.0)] * 2


def test_shrinking_leaves_enough_pixels():
    assert shrink_factor((320, 320, 24), (0.6, 0.6, 3.0), 6.0) == 10
    assert shrink_factor((96, 96, 12), (1.5, 1.5, 5.5), 6.0) == 4
    assert shrink_factor((20, 96, 12), (0.5, 0.5, 5.5), 6.0) == 2
    assert shrink_factor((4, 4, 4), (9.0, 9.0, 9.0), 6.0) == 1


def test_what_is_no_volume_is_refused():
    with pytest.raises(ShapeError, match=r"\(C, X, Y, Z\)"):
        each_volume(torch.zeros(1, 0, 3, 3), lambda volume, _: volume)
