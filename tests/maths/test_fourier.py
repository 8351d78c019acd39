"""The exchange of low-frequency amplitudes by hand, by law and against NumPy's full transform."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.maths.fourier import block_reach, low_frequency_amplitude, swap_amplitude

SIZES = st.tuples(st.integers(4, 21), st.integers(4, 21))


def image(size, seed=0, mean=0.0) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) + mean


def test_the_block_by_hand():
    """3 + 2 cos along the rows, once around: mean 3, amplitude 1 at row frequencies -1 and 1."""
    rows = 3 + 2 * (2 * np.pi * torch.arange(8) / 8).cos()
    block = low_frequency_amplitude(rows[:, None].expand(8, 8), beta=0.125)
    assert torch.allclose(block, torch.tensor([[1.0, 0.0], [3.0, 0.0], [1.0, 0.0]]), atol=1e-6)


def test_the_mean_keeps_its_sign():
    assert float(low_frequency_amplitude(torch.full((8, 8), -2.0), 0.0)) == -2


@pytest.mark.parametrize(("beta", "reach"), [(0.0, (0, 0)), (0.05, (4, 9)), (0.49, (47, 94))])
def test_reach_is_a_share_of_each_side(beta, reach):
    assert block_reach(96, 192, beta) == reach


@given(size=SIZES, beta=st.floats(0, 0.49), strength=st.floats(0, 1), mean=st.floats(-3, 3))
@settings(deadline=None)
def test_the_own_amplitude_is_the_identity(size, beta, strength, mean):
    one = image(size, mean=mean)
    same = swap_amplitude(one, low_frequency_amplitude(one, beta), beta, strength)
    assert torch.allclose(same, one, atol=1e-5)


@given(size=SIZES, beta=st.floats(0, 0.49))
@settings(deadline=None)
def test_phases_are_kept_and_amplitudes_taken(size, beta):
    one, other = image(size, 1, mean=5), image(size, 2, mean=4)
    swapped = swap_amplitude(one, low_frequency_amplitude(other, beta), beta)
    assert swapped.dtype == torch.float32
    assert torch.allclose(low_frequency_amplitude(swapped, beta), low_frequency_amplitude(other, beta), atol=1e-5)
    before, after = torch.fft.fft2(one.double()), torch.fft.fft2(swapped.double())
    turned = after * before.conj()
    assert torch.allclose(turned.imag, torch.zeros(()).double(), atol=1e-3 * float(turned.abs().max()))
    assert (turned.real > -1e-3 * turned.abs().max()).all()


@given(size=SIZES, beta=st.floats(0, 0.45), strength=st.floats(0, 1))
@settings(deadline=None)
def test_numpys_full_transform_agrees(size, beta, strength):
    """Oracle: the paper's recipe on the shifted full spectrum, in double precision."""
    one, other = image(size, 3, mean=4), image(size, 4, mean=6)
    rows, columns = (int(beta * side) for side in size)
    middle = tuple(
        slice(side // 2 - reach, side // 2 + reach + 1) for side, reach in zip(size, (rows, columns), strict=True)
    )
    spectrum, reference = (np.fft.fftshift(np.fft.fft2(each.double().numpy())) for each in (one, other))
    amplitude, phase = np.abs(spectrum), np.angle(spectrum)
    amplitude[middle] = (1 - strength) * amplitude[middle] + strength * np.abs(reference)[middle]
    expected = np.fft.ifft2(np.fft.ifftshift(amplitude * np.exp(1j * phase)))
    assert np.abs(expected.imag).max() < 1e-9
    swapped = swap_amplitude(one, low_frequency_amplitude(other, beta), beta, strength)
    assert swapped.numpy() == pytest.approx(expected.real, abs=1e-4)


def test_a_block_of_another_size_of_image_serves():
    """A block made at 96 pixels and beta 0.1 holds the one of 64 pixels and beta 0.05; a flat image stays flat."""
    wide = low_frequency_amplitude(image((96, 96), 5, mean=3), 0.1)
    swapped = swap_amplitude(torch.full((64, 64), 7.0), wide, 0.0)
    assert torch.allclose(swapped, wide[wide.shape[0] // 2, 0].expand(64, 64), atol=1e-5)
    assert swap_amplitude(image((64, 64)), wide, 0.05).shape == (64, 64)


def test_items_do_not_mix():
    many, block = image((3, 16, 16), 6), low_frequency_amplitude(image((16, 16), 7), 0.1)
    together = swap_amplitude(many, block, 0.1, 0.7)
    for one, each in zip(many, together, strict=True):  # the FFT of many rounds otherwise than that of one
        assert torch.allclose(swap_amplitude(one, block, 0.1, 0.7), each, atol=1e-5)


def test_what_is_refused():
    one, block = image((16, 16)), low_frequency_amplitude(image((16, 16)), 0.1)
    with pytest.raises(SettingsError, match=r"beta 0.5; allowed"):
        swap_amplitude(one, block, 0.5)
    with pytest.raises(SettingsError, match=r"strength 1.5; allowed"):
        swap_amplitude(one, block, 0.1, 1.5)
    with pytest.raises(ShapeError, match=r"smaller beta"):
        swap_amplitude(one, block, 0.3)
