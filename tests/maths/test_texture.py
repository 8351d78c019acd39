"""Other textures, the same edges."""

import pytest
import torch
from torch import Tensor

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.maths.fourier import low_frequency_amplitude
from prostate_uda.maths.texture import random_texture, styled_as


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def moments(images: Tensor) -> Tensor:
    return torch.stack([images.mean(dim=(-2, -1)), images.std(dim=(-2, -1))])


def test_each_image_gets_the_amplitudes_of_its_reference_and_keeps_its_phases() -> None:
    images, references = noise(3, 2, 32, 32), 3 * noise(2, 2, 32, 32, seed=1) + 1
    styled = styled_as(images, references, 0.1)
    found, wanted = (low_frequency_amplitude(values, 0.1) for values in (styled, references))
    torch.testing.assert_close(found, wanted[[0, 1, 0]])
    before, after = torch.fft.rfft2(images), torch.fft.rfft2(styled)
    turned = (after * before.conj()).angle().abs()
    turned[..., 0, 0] = 0  # the mean has a sign and no phase
    assert float(turned[..., :12].max()) < 1e-6
    torch.testing.assert_close(after[..., 8:-8, 8:], before[..., 8:-8, 8:])


def test_an_image_in_its_own_style_is_itself() -> None:
    images = noise(2, 3, 32, 40)
    torch.testing.assert_close(styled_as(images, images, 0.05), images)


def test_other_channels_are_refused() -> None:
    with pytest.raises(ShapeError, match="3 channels beside 1"):
        styled_as(noise(1, 3, 32, 32), noise(1, 1, 32, 32), 0.05)


def convolved_by_hand(image: Tensor, sizes: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Pixel by pixel, with the same draws."""
    side = sizes[int(torch.randint(len(sizes), (), generator=generator))]
    kernels = torch.randn(len(image), 1, side, side, generator=generator).double()
    share = float(torch.rand((), generator=generator))
    reach = side // 2
    made = torch.zeros_like(image)
    for channel, rows in enumerate(image):
        for r in range(rows.shape[0]):
            for c in range(rows.shape[1]):
                for dr in range(-reach, reach + 1):
                    for dc in range(-reach, reach + 1):
                        i, j = (_mirrored(at, n) for at, n in ((r + dr, rows.shape[0]), (c + dc, rows.shape[1])))
                        made[channel, r, c] += kernels[channel, 0, dr + reach, dc + reach] * rows[i, j]
    return _like(share * image + (1 - share) * _like(made, image), image)


def _mirrored(at: int, length: int) -> int:
    at = abs(at)
    return at if at < length else 2 * (length - 1) - at


def _like(image: Tensor, model: Tensor) -> Tensor:
    rows = [
        (one - one.mean()) / one.std(correction=0) * other.std(correction=0) + other.mean()
        for one, other in zip(image, model, strict=True)
    ]
    return torch.stack(rows)


def test_a_random_texture_by_hand() -> None:
    images = noise(2, 2, 9, 8)
    generator = seeded(3)
    expected = torch.stack([convolved_by_hand(image, (1, 3, 5), generator) for image in images])
    torch.testing.assert_close(random_texture(images, (1, 3, 5), seeded(3)), expected)


def test_mean_and_spread_stay_and_draws_differ() -> None:
    images = 2 * noise(4, 3, 32, 32) + 5
    made = random_texture(images, (1, 3, 5, 7), seeded(0))
    torch.testing.assert_close(moments(made), moments(images))
    assert torch.equal(made, random_texture(images, (1, 3, 5, 7), seeded(0)))
    alike = random_texture(images[:1].expand(4, -1, -1, -1), (3, 5, 7), seeded(0))
    assert all(not torch.allclose(alike[0], other) for other in alike[1:])


def test_an_edge_stays_where_it_was() -> None:
    """The steepest place of a step is within half a kernel of the step, for every draw."""
    step = torch.where(torch.arange(32) < 16, -1.0, 1.0).expand(1, 1, 32, 32)
    for seed in range(50):
        made = random_texture(step, (1, 3, 5, 7), seeded(seed))[0, 0]
        steepest = int(made.diff(dim=1).abs().mean(dim=0).argmax())  # between this column and the next
        assert abs(steepest - 15) <= 3
        flat = made[:, [0, 1, 5, 10]].std(dim=0)  # no edge where there was none
        assert float(flat.max()) < 1e-4


def test_a_flat_channel_stays_flat() -> None:
    made = random_texture(torch.full((2, 1, 16, 16), 4.0), (1, 3, 5, 7), seeded(0))
    torch.testing.assert_close(made, torch.full((2, 1, 16, 16), 4.0), atol=1e-4, rtol=0)


@pytest.mark.parametrize("sizes", [(), (2,), (0,), (3, 4), (1.5,)])
def test_kernels_have_odd_sides(sizes: tuple[int, ...]) -> None:
    with pytest.raises(SettingsError, match="allowed are odd whole numbers"):
        random_texture(noise(1, 1, 16, 16), sizes, seeded(0))
