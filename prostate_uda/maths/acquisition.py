"""Floor 1: what a scanner does to the signal: coil profiles, ghosts, acquired k-space, magnitude.

Profiles are NumPy arrays, small and made once; what is done to a stack of slices is done with tensors. The phantom and
the acquisition augmentation are made of the same pieces.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ARRAY_SHARE = 0.75
"""Sensitivity of the phased array beside an endorectal coil, relative to the array alone."""
IRREGULAR_SHARE = 0.7


def loop_profile(distance: NDArray[np.floating], radius: float) -> NDArray[np.float32]:
    """Field of a current loop on its axis, ``(a² / (a² + d²))^{3/2}`` (Biot-Savart), 1 at the coil.

    Args:
        distance: Any shape, from the coil's plane.
        radius: Radius ``a`` of the loop, in the same unit.
    """
    ratio = np.asarray(distance, dtype=np.float32) / np.float32(radius)
    return np.asarray((1 + ratio * ratio) ** np.float32(-1.5), dtype=np.float32)


def array_profile(
    points: Sequence[NDArray[np.float32]] | NDArray[np.float32], waves: NDArray[np.float32], bias: float
) -> NDArray[np.float32]:
    """Smooth sensitivity of a phased array, ``1 + bias Σ sin(p·k + phase)``.

    Args:
        points: d coordinates, each of a shape that broadcasts to ``S``.
        waves: ``(m, d + 1)`` wave vectors (radians per unit of ``points``) and phases.
        bias: Amplitude of each wave.

    Returns:
        ``S``.
    """
    smooth = np.ones(np.broadcast_shapes(*(axis.shape for axis in points)), dtype=np.float32)
    for *vector, phase in waves:
        angle = points[0] * vector[0]
        for axis, along in zip(points[1:], vector[1:], strict=True):
            angle = angle + axis * along
        smooth += np.float32(bias) * np.sin(angle + phase)
    return smooth


def with_near_field(array: NDArray[np.float32], near: NDArray[np.float32]) -> NDArray[np.float32]:
    """Root sum of squares of the array, at its share beside an endorectal coil, and of that coil's own field."""
    return np.asarray(np.sqrt((np.float32(ARRAY_SHARE) * array) ** 2 + near * near), dtype=np.float32)


def line_modulation(
    irregular: NDArray[np.float64], *, strength: float, period: float, phase: float | NDArray[np.float64]
) -> NDArray[np.float32]:
    """Relative modulation of a moving part's signal from one phase-encoding line to the next.

    Args:
        irregular: ``(..., lines)`` standard normal numbers: motion without a period, which makes streaks.
        strength: Amplitude of the periodic part, which makes displaced copies.
        period: Lines per breath.
        phase: Where in the breath the first line falls, radians; a number or ``(..., 1)``.

    Returns:
        ``(..., lines)``.
    """
    regular = np.sin(2 * np.pi * np.arange(irregular.shape[-1]) / period + phase)
    return np.asarray(strength * (regular + IRREGULAR_SHARE * irregular), dtype=np.float32)


def line_window(pixels: int, acquired: float) -> NDArray[np.float32]:
    """Weights of the centred k-space lines, zero where none was acquired.

    A mild roll-off at the edge of what was acquired tames the ringing.

    Args:
        pixels: Lines of a fully sampled image.
        acquired: Share of them that was measured, the middle ones; the rest is zero-filled.

    Returns:
        ``(pixels,)``.
    """
    frequency = np.abs(np.arange(pixels) - pixels // 2) / (pixels / 2)
    inside = frequency <= acquired
    return np.where(inside, 0.75 + 0.25 * np.cos(np.pi * frequency / acquired), 0.0).astype(np.float32)


def ghosts(moving: Tensor, modulation: Tensor) -> Tensor:
    """What motion adds to an image: the moving part, its phase-encoding lines (last axis) modulated.

    Args:
        moving: ``(..., lines)`` real.
        modulation: ``(lines,)`` or broadcastable, of the lines in the order of the centred spectrum.

    Returns:
        ``(..., lines)`` complex.
    """
    spectrum = torch.fft.fft(moving) * torch.fft.ifftshift(modulation, dim=-1)
    ghost: Tensor = torch.fft.ifft(spectrum)
    return ghost


def filtered(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """An image of the weighted k-space alone.

    Args:
        image: ``(..., H, W)`` real or complex.
        rows: ``(H,)`` weights along the first in-plane axis, centred, from :func:`line_window`.
        columns: ``(W,)`` along the second.

    Returns:
        ``(..., H, W)`` complex.
    """
    weights = torch.fft.ifftshift(rows)[:, None] * torch.fft.ifftshift(columns)
    kept: Tensor = torch.fft.ifft2(torch.fft.fft2(image) * weights)
    return kept


def complex_noise(shape: Sequence[int], sigma: float, generator: torch.Generator) -> Tensor:
    """Noise of the two quadrature channels, ``sigma`` the standard deviation of each.

    The magnitude of an image with it added is Rician (Gudbjartsson & Patz, Magn Reson Med 34:910-914, 1995).
    """
    parts = torch.randn((*shape, 2), generator=generator) * sigma
    return torch.view_as_complex(parts)
