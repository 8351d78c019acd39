"""Floor 2: what the scanner does to the signal: coil, k-space, ghosts, noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from prostate_uda.data.phantom.protocols import Protocol
from prostate_uda.data.phantom.shapes import Ellipsoid, Points, rotate
from prostate_uda.maths.acquisition import array_profile, line_modulation, line_window, loop_profile, with_near_field

COIL_RADIUS_MM = 18.0
COIL_PLATE_MM = (10.0, 26.0)


@dataclass(frozen=True)
class Coil:
    """Receive sensitivity in the body.

    Attributes:
        balloon: The balloon whose front wall carries the endorectal coil; ``None`` for the array alone.
        gain: Endorectal sensitivity at the coil over the array's.
        bias: Amplitude of the array's smooth variation.
        waves: ``(m, 4)`` wave vectors (rad/mm) and phases of that variation.
    """

    balloon: Ellipsoid | None
    gain: float
    bias: float
    waves: NDArray[np.float32]

    def distance(self, points: Points) -> Points:
        """Distance in mm from the endorectal coil's plate on the front wall, ``(...)`` for points ``(3, ...)``."""
        if self.balloon is None:
            return np.full(points.shape[1:], np.inf, dtype=np.float32)
        x, y, z = rotate(self.balloon.turn.T, points, self.balloon.centre)
        half_x, half_z = (np.float32(half) for half in COIL_PLATE_MM)
        dx, dz = np.maximum(np.abs(x) - half_x, 0), np.maximum(np.abs(z) - half_z, 0)
        dy = y - np.float32(self.balloon.radii[1])
        return np.asarray(np.sqrt(dx * dx + dy * dy + dz * dz), dtype=np.float32)

    def sensitivity(self, points: Points) -> NDArray[np.float32]:
        """Sensitivity ``(...)`` for body points ``(3, ...)``: root sum of squares of array and endorectal coil."""
        smooth = array_profile(points, self.waves, self.bias)
        if self.balloon is None:
            return smooth
        return with_near_field(smooth, np.float32(self.gain) * loop_profile(self.distance(points), COIL_RADIUS_MM))


def draw_coil(rng: np.random.Generator, protocol: Protocol, balloon: Ellipsoid | None) -> Coil:
    """Draw a coil: the strength of the near field and the smooth variation differ between men."""
    directions = rng.uniform(-0.016, 0.016, (3, 4))
    directions[:, 3] = rng.uniform(0, 2 * np.pi, 3)
    gain, strength = float(rng.uniform(1.7, 3.2)), float(rng.uniform(0.4, 1.0))
    return Coil(balloon, gain, protocol.bias * strength, directions.astype(np.float32))


@dataclass(frozen=True)
class Ghosts:
    """Motion between phase-encoding lines: ``(lines,)`` relative modulation of the moving signal."""

    modulation: NDArray[np.float32]


def draw_ghosts(rng: np.random.Generator, protocol: Protocol, lines: int) -> Ghosts:
    """A breathing-like periodic part, which makes displaced copies, and an irregular part, which makes streaks."""
    strength = protocol.ghost * float(rng.uniform(0.5, 1.3))
    period = float(rng.uniform(2.3, 5.0))
    phase = rng.uniform(0, 2 * np.pi)
    irregular = rng.standard_normal(lines)
    return Ghosts(line_modulation(irregular, strength=strength, period=period, phase=phase))


def acquire(
    still: NDArray[np.float32],
    moving: NDArray[np.float32],
    *,
    pixels: int,
    protocol: Protocol,
    ghosts: Ghosts,
    sigma: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Measure one slice: truncate k-space, modulate its lines, add noise to each line, take the magnitude.

    Args:
        still: ``(m, m)`` signal times sensitivity on a finer grid, ``m`` a multiple of ``pixels``.
        moving: ``(m, m)`` the part of it that moves.
        pixels: Size of the image.
        protocol: Fractions of k-space acquired; phase encoding runs along the first axis (left-right).
        ghosts: Modulation of the phase-encoding lines, ``(pixels,)``.
        sigma: Standard deviation of the noise per quadrature channel in a fully sampled image.
        rng: Noise.

    Returns:
        ``(pixels, pixels)`` magnitude.
    """
    k = _truncated(still, pixels) + _truncated(moving, pixels) * ghosts.modulation[:, None]
    noise = rng.standard_normal((2, pixels, pixels)).astype(np.float32) * np.float32(sigma * pixels)
    k += noise[0] + np.complex64(1j) * noise[1]
    k *= line_window(pixels, protocol.acquired[1])[:, None] * line_window(pixels, protocol.acquired[0])[None, :]
    return np.abs(fft.ifft2(fft.ifftshift(k))).astype(np.float32)


def _truncated(fine: NDArray[np.float32], pixels: int) -> NDArray[np.complex64]:
    """Centre of the centred spectrum ``(pixels, pixels)`` of a finer image, scaled and shifted to pixel centres."""
    factor = fine.shape[0] // pixels
    first = (fine.shape[0] - pixels) // 2
    spectrum = fft.fftshift(fft.fft2(fine))[first : first + pixels, first : first + pixels]
    frequency = (np.arange(pixels) - pixels // 2) / fine.shape[0]
    shift = np.exp(2j * np.pi * frequency * (factor - 1) / 2) / factor
    return np.asarray(spectrum * shift[:, None] * shift[None, :], dtype=np.complex64)
