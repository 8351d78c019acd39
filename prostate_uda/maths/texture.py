"""Floor 1: source images with another texture, their edges where they were: the target's, or one drawn at random."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.maths.fourier import low_frequency_amplitude, swap_amplitude

FLAT = 1e-6
"""Standard deviation below which a channel counts as having no texture, so that it is not blown up."""


def styled_as(images: Tensor, references: Tensor, beta: float) -> Tensor:
    """Each image with the low-frequency amplitudes of a reference, channel by channel; every phase is kept.

    Source: Yang and Soatto, FDA, CVPR 2020; see :mod:`prostate_uda.maths.fourier`.

    Args:
        images: ``(B, k, H, W)``.
        references: ``(R, k, H, W)``; image i gets the look of reference i, beginning again after the last.
        beta: Share of the image's side that is exchanged, to each side of zero.

    Returns:
        ``(B, k, H, W)``.

    Raises:
        SettingsError: beta out of its range.
        ShapeError: another number of channels, or references that are smaller than the images.
    """
    if images.shape[1] != references.shape[1]:
        raise ShapeError(
            f"{images.shape[1]} channels beside {references.shape[1]}; allowed are as many in both domains"
        )
    blocks = low_frequency_amplitude(references, beta)
    styled = [
        torch.stack([swap_amplitude(*pair, beta) for pair in zip(image, blocks[place % len(blocks)], strict=True)])
        for place, image in enumerate(images)
    ]
    return torch.stack(styled)


def random_texture(images: Tensor, sizes: Sequence[int], generator: torch.Generator) -> Tensor:
    """Each image mixed with its own convolution by a random kernel, at the mean and spread that each channel had.

    ``α x + (1 - α) x * K``, α uniform in [0, 1], K normal, of a side drawn from ``sizes``, one kernel a channel. A
    random linear filter makes another texture of the same things: what is an edge stays one, within half a kernel, and
    the image mixed in keeps it sharp.

    Source: Xu et al., Robust and Generalizable Visual Representation Learning via Random Convolutions, ICLR 2021, the
    mixing variant. Theirs mixes the channels as well and keeps no mean and spread.

    Args:
        images: ``(B, k, H, W)``, every side longer than half a kernel.
        sizes: Odd sides of kernels.
        generator: On the CPU; what is drawn does not depend on the images' device.

    Returns:
        ``(B, k, H, W)``.

    Raises:
        SettingsError: there is no size, or one that is not odd.
    """
    check_sizes(sizes)
    return torch.stack([_convolved(image, sizes, generator) for image in images])


def check_sizes(sizes: Sequence[int]) -> None:
    """SettingsError where there is no kernel's side, or one that is no odd whole number."""
    if not sizes or any(size != int(size) or size < 1 or size % 2 == 0 for size in sizes):
        raise SettingsError(f"texture_sizes {tuple(sizes)}; allowed are odd whole numbers, such as [1,3,5,7]")


def _convolved(image: Tensor, sizes: Sequence[int], generator: torch.Generator) -> Tensor:
    side = int(sizes[int(torch.randint(len(sizes), (), generator=generator))])
    kernel = torch.randn(len(image), 1, side, side, generator=generator).to(image)
    share = torch.rand((), generator=generator).to(image)
    reach = side // 2
    padded = functional.pad(image[None], [reach] * 4, mode="reflect")
    filtered = functional.conv2d(padded, kernel, groups=len(image))[0]
    return _like(torch.lerp(_like(filtered, image), image, share), image)


def _like(image: Tensor, model: Tensor) -> Tensor:
    """``(k, H, W)`` with the mean and the spread that each channel of the model has."""
    axes = (-2, -1)
    deviation = image - image.mean(dim=axes, keepdim=True)
    spread, wanted = (values.std(dim=axes, correction=0, keepdim=True) for values in (deviation, model))
    return deviation / spread.clamp_min(FLAT) * wanted + model.mean(dim=axes, keepdim=True)
