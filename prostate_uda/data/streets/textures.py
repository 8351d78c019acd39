"""Floor 2: what surfaces look like close up, computed per pixel from the place on the face."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from prostate_uda.data.streets.faces import Surface

Floats = NDArray[np.float32]

TILE = 256
"""Side of the noise tiles, samples; they repeat without a seam."""

DARK_GLASS = np.array([0.16, 0.20, 0.25], dtype=np.float32)
WHITE_LINE = np.array([0.86, 0.86, 0.84], dtype=np.float32)


@dataclass(frozen=True)
class Samples:
    """Pixels of one kind of surface.

    Attributes:
        u: ``(n,)`` metres along the face.
        v: ``(n,)`` metres up the face, or ahead on the ground.
        pattern: ``(n, 4)`` of each pixel's paint.
        colour: ``(n, 3)`` before texture.
        chance: ``(n,)`` number in [0, 1) of each pixel's face.
        strength: How rough the look is.
    """

    u: Floats
    v: Floats
    pattern: Floats
    colour: Floats
    chance: Floats
    strength: float


class Noise:
    """Smooth random tiles, standard deviation 1.

    Args:
        rng: Draws them.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        fine = rng.standard_normal((TILE, TILE)).astype(np.float32)
        tiles = [gaussian_filter(fine, sigma, mode="wrap") for sigma in (0.7, 2.0, 6.0, 16.0)]
        tiles = [tile / tile.std() for tile in tiles]
        mixed = 0.45 * tiles[0] + 0.45 * tiles[1] + 0.5 * tiles[2] + 0.55 * tiles[3]
        self._tile = np.asarray(mixed / mixed.std(), dtype=np.float32)

    def at(self, u: Floats, v: Floats, scale: float, shift: Floats | float = 0.0) -> Floats:
        """Noise at ``(u, v)`` metres, ``scale`` samples to the metre, moved by ``shift`` tiles."""
        offset = np.asarray(shift, dtype=np.float32) * np.float32(TILE)
        i = np.floor(v * scale + offset * 7).astype(np.int64) % TILE
        j = np.floor(u * scale + offset * 3).astype(np.int64) % TILE
        return np.asarray(self._tile[i, j])


def _fraction(value: Floats) -> Floats:
    return np.asarray(value - np.floor(value))


def _hash(a: Floats, b: Floats, chance: Floats) -> Floats:
    """A number in [0, 1) for whole numbers ``a`` and ``b`` of a face."""
    key = a.astype(np.int64) * 7919 + b.astype(np.int64) * 104729 + (chance * 65536).astype(np.int64) * 31
    key = (key ^ (key >> 7)) * 2654435761 % (1 << 32)
    return np.asarray((key >> 8) % 4096 / np.float32(4096), dtype=np.float32)


def _rough(s: Samples, noise: Noise, scale: float, amount: float) -> Floats:
    factor = 1 + amount * s.strength * noise.at(s.u, s.v, scale, s.chance)
    return np.asarray(s.colour * factor[:, None])


def _plain(s: Samples, noise: Noise) -> Floats:
    return _rough(s, noise, 30, 0.08)


def _road(s: Samples, noise: Noise) -> Floats:
    """Asphalt; ``pattern`` is half the road's width, length of dashes, and where a crossing and a stop line are."""
    half, dash, crossing, ridges = (s.pattern[:, k] for k in range(4))
    colour = _rough(s, noise, 6, 0.07)
    colour = colour * (1 + 0.05 * s.strength * noise.at(s.u * 3, s.v * 0.2, 4))[:, None]
    middle = (np.abs(s.u) < 0.09) & (_fraction(s.v / dash) < 0.5)
    edge = (np.abs(np.abs(s.u) - (half - 0.35)) < 0.08) & (ridges > 0.5)
    zebra = (np.abs(s.v - crossing) < 1.5) & (_fraction(s.u / 1.1) < 0.5)
    worn = noise.at(s.u, s.v, 12) * s.strength < 1.1
    colour[(middle | edge | zebra) & worn] = WHITE_LINE * (1 - 0.15 * s.strength)
    return colour


def _pavement(s: Samples, noise: Noise) -> Floats:
    """Slabs with joints; ``pattern`` starts with their width and length."""
    wide, long = s.pattern[:, 0], s.pattern[:, 1]
    column = np.floor(s.u / wide)
    tone = 1 + (0.03 + 0.09 * s.strength) * (_hash(column, np.floor(s.v / long), s.chance) - 0.5)
    joint = (_fraction(s.u / wide) < 0.06) | (_fraction(s.v / long) < 0.06)
    return np.asarray(_rough(s, noise, 8, 0.08) * np.where(joint, 0.82, tone)[:, None])


def _facade(s: Samples, noise: Noise) -> Floats:
    """Windows between piers; ``pattern`` is their pitch, a floor's height, the share of glass, and variety."""
    pitch, floor, share, dressed = (s.pattern[:, k] for k in range(4))
    level = np.floor(s.v / floor)
    shop = level < 1
    pitch = np.where(shop, pitch * 1.6, pitch)
    column = np.floor(s.u / pitch)
    across, up = np.abs(_fraction(s.u / pitch) - 0.5), _fraction(s.v / floor)
    wide = np.where(shop, 0.42, 0.5 * share)
    window = (across < wide) & (up > np.where(shop, 0.08, 0.28)) & (up < np.where(shop, 0.72, 0.82))
    frame = window & ((across > wide - 0.035) | (across < 0.02))
    colour = _rough(s, noise, 3, 0.06)
    colour = colour * (1 - 0.35 * dressed * shop * (_hash(column * 0, level, s.chance) > 0.3))[:, None]
    colour[up < 0.045] *= np.float32(0.78)
    shine = 0.75 + 0.9 * _hash(column, level, s.chance)
    shine = shine + 0.25 * s.strength * noise.at(s.u, s.v, 1.5)
    blind = _hash(level, column, s.chance) > 1 - 0.25 * dressed
    glass = DARK_GLASS * np.where(blind & (up > 0.5), 3.0, shine)[:, None]
    colour[window] = glass[window]
    colour[frame] = (0.55 * s.colour + 0.35)[frame]
    return np.asarray(colour)


def _masonry(s: Samples, noise: Noise) -> Floats:
    """Blocks in bond; ``pattern`` starts with a block's width and height."""
    wide, tall = s.pattern[:, 0], s.pattern[:, 1]
    course = np.floor(s.v / tall)
    along = s.u / wide + 0.5 * (course % 2)
    tone = 0.9 + 0.2 * _hash(np.floor(along), course, s.chance)
    joint = (_fraction(along) < 0.07) | (_fraction(s.v / tall) < 0.12)
    return np.asarray(_rough(s, noise, 10, 0.12) * np.where(joint, 0.72, tone)[:, None])


def _bars(s: Samples, noise: Noise) -> Floats:
    """Pales and rails with what lies behind; ``pattern`` is their pitch, share, height, and how dark the gaps are."""
    pitch, share, height, dark = (s.pattern[:, k] for k in range(4))
    pale = _fraction(s.u / pitch) < share
    rail = (np.abs(s.v / height - 0.85) < 0.05) | (np.abs(s.v / height - 0.2) < 0.05)
    behind = np.array([0.20, 0.27, 0.16], dtype=np.float32) * dark[:, None]
    tone = 0.94 + 0.12 * _hash(np.floor(s.u / pitch), np.floor(s.u * 0), s.chance)
    return np.asarray(np.where((pale | rail)[:, None], _rough(s, noise, 20, 0.10) * tone[:, None], behind))


def _leaves(s: Samples, noise: Noise) -> Floats:
    clumps = noise.at(s.u, s.v, 5, s.chance) + 0.7 * noise.at(s.u, s.v, 14, s.chance)
    factor = 1 + (0.10 + 0.22 * s.strength) * clumps
    return np.asarray(s.colour * np.clip(factor, 0.35, 1.7)[:, None])


def _grass(s: Samples, noise: Noise) -> Floats:
    factor = 1 + (0.06 + 0.13 * s.strength) * noise.at(s.u, s.v * 0.6, 9)
    dry = np.clip(0.35 * s.strength * noise.at(s.u, s.v, 0.8), 0, 0.5)[:, None]
    straw = np.array([0.52, 0.47, 0.28], dtype=np.float32)
    return np.asarray(((1 - dry) * s.colour + dry * straw) * np.clip(factor, 0.4, 1.6)[:, None])


def _gloss(s: Samples, noise: Noise) -> Floats:
    """Sheet metal and panes: brighter upwards, with blurred reflections."""
    lift = 0.92 + 0.10 * np.clip(s.v, 0, 2)
    mirrored = 0.07 * s.strength * noise.at(s.u, s.v * 2, 4, s.chance)
    return np.asarray(s.colour * lift[:, None] + mirrored[:, None])


def _lamp(s: Samples, noise: Noise) -> Floats:  # noqa: ARG001  all surfaces are called alike
    return s.colour


TEXTURES: dict[Surface, Callable[[Samples, Noise], Floats]] = {
    Surface.PLAIN: _plain,
    Surface.ROAD: _road,
    Surface.PAVEMENT: _pavement,
    Surface.FACADE: _facade,
    Surface.MASONRY: _masonry,
    Surface.BARS: _bars,
    Surface.LEAVES: _leaves,
    Surface.GRASS: _grass,
    Surface.GLOSS: _gloss,
    Surface.LAMP: _lamp,
}
"""Every surface: ``(n, 3)`` colours of samples."""
