"""Floor 2: one man: a gland and everything around it, drawn as solids in painting order (later covers earlier).

Body coordinates: origin at the gland's centre, x towards the right, y towards anterior, z towards superior, mm.
"""

from dataclasses import dataclass

import numpy as np

from prostate_uda.data.phantom import organs, pelvis
from prostate_uda.data.phantom.gland import Gland, draw_gland
from prostate_uda.data.phantom.shapes import Ellipsoid, Structure

RIPPLES = 6
TAU = 2 * np.pi


@dataclass(frozen=True)
class Anatomy:
    """One man.

    Attributes:
        gland: The prostate.
        surroundings: Structures in painting order; the gland is painted last.
        balloon: The inflated endorectal balloon, in body coordinates, or ``None``.
        filling: What the rectum holds: ``collapsed``, ``gas``, ``stool`` or ``balloon``.
        ripple: Waves that warp the coordinates, ``(amplitude in mm, kx, ky, kz in rad/mm, phase)`` each; wave
            ``i`` displaces along axis ``i mod 3``.
    """

    gland: Gland
    surroundings: tuple[Structure, ...]
    balloon: Ellipsoid | None
    filling: str
    ripple: tuple[tuple[float, ...], ...]


def draw_anatomy(rng: np.random.Generator, *, endorectal_coil: bool) -> Anatomy:
    """Draw a man, with or without a balloon coil in his rectum."""
    gland = draw_gland(rng, compressed=endorectal_coil)
    scale = float(np.clip(rng.normal(1.0, 0.04), 0.92, 1.10))
    surroundings = [
        *pelvis.trunk(rng, gland, scale),
        *pelvis.muscles(rng, gland, scale),
        *pelvis.bones(rng, gland, scale),
        *pelvis.pelvic_floor(rng, gland),
        *pelvis.vessels(rng, gland, scale),
        *organs.bulb(gland),
        *organs.bladder(rng, gland),
        *organs.vesicles(rng, gland),
    ]
    bowel, filling = organs.rectum(rng, gland.shape)
    balloon = organs.draw_balloon(rng, gland.shape) if endorectal_coil else None
    surroundings += bowel if balloon is None else [*bowel, *organs.balloon_layers(rng, balloon)]
    ripple = tuple(
        (float(rng.uniform(0.5, 1.4)), *(float(k) for k in rng.uniform(-0.14, 0.14, 3)), float(rng.uniform(0, TAU)))
        for _ in range(RIPPLES)
    )
    return Anatomy(gland, tuple(surroundings), balloon, filling if balloon is None else "balloon", ripple)
