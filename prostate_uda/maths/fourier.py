"""Floor 1: low-frequency amplitudes of images and their exchange (FDA; Yang & Soatto, CVPR 2020).

A block holds what an image of any size looks like from afar, and no anatomy: the ``2r + 1`` lowest row frequencies,
the middle one zero, times the ``c + 1`` lowest column frequencies from zero on; the other half is their mirror image,
because images are real. Amplitudes are divided by the number of pixels, so blocks of images of different sizes
compare. The amplitude at zero is the mean with its sign, so that normalized images with a mean below zero have one too.
"""

import torch
from torch import Tensor

from prostate_uda.errors import SettingsError, ShapeError

TINY = 1e-12


def block_reach(rows: int, columns: int, beta: float) -> tuple[int, int]:
    """Frequencies ``⌊beta·rows⌋`` and ``⌊beta·columns⌋`` up to which amplitudes are exchanged.

    Args:
        rows: Image height.
        columns: Image width.
        beta: Share of the image's side, 0 (the mean alone) to under 0.5.

    Raises:
        SettingsError: beta out of its range.
    """
    if not 0 <= beta < 0.5:
        raise SettingsError(f"beta {beta}; allowed is 0 to under 0.5, usual are 0.01 to 0.1")
    return int(beta * rows), int(beta * columns)


def low_frequency_amplitude(images: Tensor, beta: float) -> Tensor:
    """The block of each image.

    Args:
        images: ``(..., H, W)`` real.
        beta: Share of the image's side; the block reaches that far to each side of zero.

    Returns:
        ``(..., 2r + 1, c + 1)``.

    Raises:
        SettingsError: beta out of its range.
    """
    reach = block_reach(images.shape[-2], images.shape[-1], beta)
    return _signed(_block(torch.fft.rfft2(images, norm="forward"), reach))


def swap_amplitude(images: Tensor, amplitude: Tensor, beta: float, strength: float = 1.0) -> Tensor:
    """The images with other low-frequency amplitudes; every phase is kept, and the result is real.

    Args:
        images: ``(..., H, W)`` real.
        amplitude: A block ``(2r + 1, c + 1)``, or one that reaches further, whose middle is taken.
        beta: Share of the image's side.
        strength: λ: the new amplitude is ``(1 - λ)`` of the own and λ of the given one.

    Returns:
        ``(..., H, W)``.

    Raises:
        SettingsError: beta or strength out of its range.
        ShapeError: the block does not reach as far as beta asks.
    """
    if not 0 <= strength <= 1:
        raise SettingsError(f"strength {strength}; allowed is 0 to 1")
    reach = block_reach(images.shape[-2], images.shape[-1], beta)
    spectrum = torch.fft.rfft2(images, norm="forward")
    own = _block(spectrum, reach)
    size = own.abs()
    mixed = torch.lerp(_signed(own), _middle(amplitude, reach).to(size), strength)
    direction = torch.where(size > TINY, own / size.clamp_min(TINY), 1.0)
    direction[..., reach[0], 0] = 1.0
    rows = torch.arange(-reach[0], reach[0] + 1, device=images.device) % spectrum.shape[-2]
    spectrum[..., rows, : reach[1] + 1] = mixed * direction
    swapped: Tensor = torch.fft.irfft2(spectrum, s=images.shape[-2:], norm="forward")
    return swapped


def _block(spectrum: Tensor, reach: tuple[int, int]) -> Tensor:
    rows = torch.arange(-reach[0], reach[0] + 1, device=spectrum.device) % spectrum.shape[-2]
    return spectrum[..., rows, : reach[1] + 1]


def _signed(block: Tensor) -> Tensor:
    """Amplitudes of a complex block, that of zero frequency with its sign."""
    size = block.abs()
    middle = block.shape[-2] // 2
    size[..., middle, 0] = block[..., middle, 0].real
    return size


def _middle(amplitude: Tensor, reach: tuple[int, int]) -> Tensor:
    surplus = amplitude.shape[-2] // 2 - reach[0], amplitude.shape[-1] - 1 - reach[1]
    if amplitude.ndim != 2 or amplitude.shape[-2] % 2 == 0 or min(surplus) < 0:
        raise ShapeError(
            f"amplitude block of shape {tuple(amplitude.shape)}; allowed is (2r + 1, c + 1) with r ≥ {reach[0]} and "
            f"c ≥ {reach[1]}; take a smaller beta or blocks made with a larger one"
        )
    return amplitude[surplus[0] : amplitude.shape[0] - surplus[0], : reach[1] + 1]
