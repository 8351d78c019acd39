"""Floor 2: from relaxation times to signal, and the texture of tissue."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from prostate_uda.data.phantom.protocols import Protocol
from prostate_uda.data.phantom.tissues import TISSUES, Tissue, textures

TILE = 64
TILE_PITCH_MM = 0.75


def spin_echo(
    density: ArrayLike, t1_ms: ArrayLike, t2_ms: ArrayLike, *, tr_ms: float, te_ms: float
) -> NDArray[np.float64]:
    """The spin-echo equation ``S = PD (1 - exp(-TR/T1)) exp(-TE/T2)``, any shapes that broadcast, times in ms."""
    recovery = 1.0 - np.exp(-tr_ms / np.asarray(t1_ms, dtype=np.float64))
    decay = np.exp(-te_ms / np.asarray(t2_ms, dtype=np.float64))
    return np.asarray(np.asarray(density, dtype=np.float64) * recovery * decay)


def tissue_signals(protocol: Protocol, rng: np.random.Generator | None = None) -> NDArray[np.float32]:
    """Signal of every tissue under a protocol, ``(number of tissues,)``, indexed by :class:`Tissue`.

    Args:
        protocol: Field strength, TR and TE.
        rng: Draws each tissue's T2 around its published mean; ``None`` gives the means.
    """
    signals = np.empty(len(Tissue), dtype=np.float32)
    for tissue in Tissue:
        relaxation = TISSUES[tissue]
        t1, t2 = relaxation.times(protocol.field_tesla)
        if rng is not None:
            t2 *= float(np.exp(relaxation.spread * rng.standard_normal()))
        signals[tissue] = spin_echo(relaxation.density, t1, t2, tr_ms=protocol.tr_ms, te_ms=protocol.te_ms)
    return signals


@dataclass(frozen=True)
class Texture:
    """Tissue heterogeneity: two periodic noise blocks of unit variance, fixed in the body, not in the image.

    Attributes:
        fine: ``(64, 64, 64)`` float32, correlated over about 0.8 mm.
        coarse: ``(64, 64, 64)`` float32, correlated over about 4 mm.
    """

    fine: NDArray[np.float32]
    coarse: NDArray[np.float32]

    def modulate(
        self, signal: NDArray[np.float32], tissue: NDArray[np.uint8], points: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return ``signal`` with texture.

        Args:
            signal: Any shape ``S``.
            tissue: ``S``, values of :class:`Tissue`.
            points: ``(3, *S)`` body coordinates in mm.
        """
        index = np.rint(points * np.float32(1 / TILE_PITCH_MM)).astype(np.int32) & (TILE - 1)
        flat = (index[0] * TILE + index[1]) * TILE + index[2]
        fine, coarse = self.fine.ravel()[flat], self.coarse.ravel()[flat]
        fine_amplitude, coarse_amplitude = textures()
        factor = 1 + fine_amplitude[tissue] * fine + coarse_amplitude[tissue] * coarse
        fat = (tissue == Tissue.PELVIC_FAT) | (tissue == Tissue.FAT)
        septa = np.exp(-((coarse * np.float32(12)) ** 2)) + np.float32(3) * (coarse > np.float32(2.3))  # and vessels
        factor -= np.where(fat, np.float32(0.2) * septa, np.float32(0))
        np.clip(factor, 0.05, 3.0, out=factor)
        bundle = coarse + np.float32(0.3) * fine
        factor[(tissue == Tissue.MUSCLE) & (bundle > np.float32(2.0))] = 4  # fat between muscle bundles
        return np.asarray(signal * factor, dtype=np.float32)


def draw_texture(rng: np.random.Generator) -> Texture:
    """Draw the two noise blocks."""
    white = rng.standard_normal((2, TILE, TILE, TILE)).astype(np.float32)
    return Texture(_smooth(white[0], 0.8), _smooth(white[1], 3.6))


def _smooth(white: NDArray[np.float32], sigma_mm: float) -> NDArray[np.float32]:
    """Periodic Gaussian smoothing of a cube ``(n, n, n)``, rescaled to zero mean and unit variance."""
    frequency = np.fft.fftfreq(TILE, d=TILE_PITCH_MM)
    half = np.fft.rfftfreq(TILE, d=TILE_PITCH_MM)
    squared = frequency[:, None, None] ** 2 + frequency[None, :, None] ** 2 + half[None, None, :] ** 2
    kernel = np.exp(-2 * (np.pi * sigma_mm) ** 2 * squared).astype(np.float32)
    smooth = fft.irfftn(fft.rfftn(white) * kernel, s=white.shape)
    smooth -= smooth.mean()
    return np.asarray(smooth / smooth.std(), dtype=np.float32)
