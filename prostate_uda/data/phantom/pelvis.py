"""Floor 2: the walls of the pelvis: trunk, muscles, bones, pelvic floor, vessels, as solids in painting order.

Body coordinates as in :mod:`prostate_uda.data.phantom.anatomy`; paired structures are given for the right side.
"""

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from prostate_uda.data.phantom.gland import Gland
from prostate_uda.data.phantom.shapes import Capsule, Ellipsoid, Sling, Structure, Vector
from prostate_uda.data.phantom.tissues import Tissue

Paired: TypeAlias = Ellipsoid | Capsule

CORTEX_MM = 1.7
SHEATHED = ((0.0, Tissue.PELVIC_FAT), (1.0, Tissue.MUSCLE))
JITTER_MM = 1.5
JITTER_SIZE = 0.06


def trunk(rng: np.random.Generator, gland: Gland, scale: float) -> list[Structure]:
    """Skin, subcutaneous fat, the fat that fills the pelvis, and the fascia and plexus around the gland."""
    w, h, length = gland.shape.radii
    front = h + float(rng.uniform(62, 85))
    outline = Ellipsoid((0.0, front - 125 * scale, 0.0), (190 * scale, 125 * scale, 600.0))
    inner = Ellipsoid((0.0, -12.0, 0.0), (120 * scale, 12 + h + 46, 300.0))
    fascia = Ellipsoid((0.0, 2.0, 2.0), (w + 5, h + 8, length + 9))
    return [
        Structure(outline, ((0.0, Tissue.SKIN), (2.2, Tissue.FAT))),
        Structure(inner, ((0.0, Tissue.PELVIC_FAT),)),
        Structure(fascia, ((0.0, Tissue.FASCIA),)),
    ]


def muscles(rng: np.random.Generator, gland: Gland, scale: float) -> list[Structure]:
    """Gluteus, hip rotators, adductors, obturators, hip flexors, abdominal wall; bones are painted over them."""
    w, h = max(gland.shape.radii[0] + 10, 36.0), gland.shape.radii[1] + 9
    solids: list[Paired] = [
        Ellipsoid((70, -84, -8), (62, 20, 80), 26),
        Ellipsoid((86, -50, 24), (22, 8, 14), 20),
        Ellipsoid((98, h + 30, 20), (20, 22, 60), 20),
        Ellipsoid((72, h + 30, 8), (30, 15, 40), -30),
        Ellipsoid((80, h + 40, -44), (34, 13, 34), -38),
        Ellipsoid((54, h + 36, -40), (38, 11, 36), -38),
        Ellipsoid((44, h + 20, -40), (40, 9, 30), -38),
        Ellipsoid((48, h + 4, -34), (36, 10, 28), -38),
        Ellipsoid((46, 6, -38), (14, 40, 28), 36),
        Ellipsoid((w + 21, -4, 0), (21, 44, 46), 7),
        Ellipsoid((20, h + 40, 44), (24, 8, 42), -8),
    ]
    return [Structure(solid, SHEATHED) for solid in _pairs(rng, scale, solids)]


def bones(rng: np.random.Generator, gland: Gland, scale: float) -> list[Structure]:
    """Hip bone, pubis, femur, sacrum and coccyx: all cortex first, then all marrow, so that they join up."""
    w, h = max(gland.shape.radii[0] + 10, 36.0), gland.shape.radii[1] + 9
    head = (95.0 * scale, 2.0, 12.0)
    hips: list[Paired] = [
        Ellipsoid((w + 34, -4, 8), (22, 34, 48), 8),
        Ellipsoid((62, -22, -38), (15, 19, 30), 20),
        Capsule((17, h + 13, -14), (46, h + 9, 4), 12),
        Capsule((46, h + 9, 4), (82, 12, 18), 13),
        Ellipsoid((15, h + 12, -16), (14, 14, 21), -26),
        Capsule((12, h + 4, -26), (52, -14, -50), 8),
    ]
    solids: list[Paired] = [
        *_pairs(rng, scale, hips),
        Ellipsoid((0, -88 * scale, 42), (34, 11, 32), 0.0, -25),
        Capsule((0, -74 * scale, -2), (0, -84 * scale, 16), 5.5),
    ]
    femur: list[Structure] = []
    for side in (1.0, -1.0):
        ball = Ellipsoid((side * head[0], head[1], head[2]), (26.5, 26.5, 26.5))
        femur.append(Structure(ball, ((0.0, Tissue.CARTILAGE), (1.5, Tissue.CORTEX), (3.0, Tissue.MARROW))))
    disc = Ellipsoid((0, h + 14, -16), (3.2, 15, 20))
    return [
        *(Structure(solid, ((0.0, Tissue.CORTEX),)) for solid in solids),
        *(Structure(solid, ((CORTEX_MM, Tissue.MARROW),)) for solid in solids),
        *femur,
        Structure(disc, ((0.0, Tissue.CORTEX), (1.2, Tissue.FIBROUS))),
    ]


def pelvic_floor(rng: np.random.Generator, gland: Gland) -> list[Structure]:
    """The levator ani, a funnel around gland and rectum, and the sphincters that fill it below the gland."""
    w, h, length = gland.shape.radii
    low = (float(rng.uniform(14, 17)), float(rng.uniform(23, 27)))
    high = (min(w + float(rng.uniform(4.5, 7.5)), 44.0), h + 27)
    sling = Sling(-20.0, -length - 40, length * 0.6, 0.7 * h, low, high, float(rng.uniform(3.0, 4.5)))
    floor = Ellipsoid((0.0, -19.0, -length - 34), (low[0] + 1, low[1], 38.0))
    return [Structure(floor, ((0.0, Tissue.SMOOTH_MUSCLE),)), Structure(sling, ((0.0, Tissue.MUSCLE),))]


def vessels(rng: np.random.Generator, gland: Gland, scale: float) -> list[Structure]:
    """Venous plexus in front, neurovascular bundles behind at 5 and 7 o'clock, femoral and obturator vessels."""
    w, h, length = gland.shape.radii
    out: list[Structure] = []
    trunks: tuple[tuple[Vector, Vector, Tissue], ...] = (
        ((74, h + 50, -40), (62, h + 48, 60), Tissue.ARTERY),
        ((62, h + 46, -40), (52, h + 44, 60), Tissue.VEIN),
        ((47, h - 2, 30), (42, h - 14, 6), Tissue.ARTERY),
    )
    for start, end, tissue in trunks:
        pair = _pairs(rng, scale, [Capsule(start, end, 6.0 if start[0] > 50 else 2.2)])
        out += [Structure(solid, ((0.0, Tissue.FIBROUS), (1.0, tissue))) for solid in pair]
    for _ in range(int(rng.integers(26, 40))):  # dorsal venous complex and lateral plexus
        angle, gap = float(rng.uniform(-0.35, np.pi + 0.35)), float(rng.uniform(2.5, 7.0))
        z = float(rng.uniform(-0.9, 0.9)) * length
        start = (float((w + gap) * np.cos(angle)), float((h + gap) * np.sin(angle)), z)
        end = (start[0] * 0.93, start[1] + float(rng.uniform(-3, 3)), z + float(rng.uniform(4, 12)))
        out.append(_vessel(rng, start, end, 2.0))
    for side in (-1.0, 1.0):
        for _ in range(4):  # neurovascular bundle
            low = (side * (w * 0.72 + float(rng.uniform(0, 5))), -h * 0.85 - float(rng.uniform(1, 5)), -length)
            out.append(_vessel(rng, low, (low[0] * 1.06, low[1] - float(rng.uniform(-2, 2)), length), 1.3))
    return out


def _vessel(rng: np.random.Generator, start: Vector, end: Vector, largest: float) -> Structure:
    """A small vessel, mostly a vein with slow and therefore bright blood."""
    wet = Tissue.VEIN if rng.random() < 0.7 else Tissue.ARTERY
    return Structure(Capsule(start, end, float(rng.uniform(0.7, largest))), ((0.0, wet),))


def _pairs(rng: np.random.Generator, scale: float, solids: Iterable[Paired]) -> list[Paired]:
    """Both sides of paired solids, scaled, each side a little displaced and resized on its own."""
    out: list[Paired] = []
    for solid in solids:
        for side in (1.0, -1.0):
            shift = rng.normal(0, JITTER_MM, 3)
            size = scale * float(np.exp(rng.normal(0, JITTER_SIZE)))
            if isinstance(solid, Ellipsoid):
                radii = (solid.radii[0] * size, solid.radii[1] * size, solid.radii[2] * size)
                centre = _placed(solid.centre, side, scale, shift)
                out.append(Ellipsoid(centre, radii, side * solid.degrees, solid.pitch))
            else:
                start, end = (_placed(point, side, scale, shift) for point in (solid.start, solid.end))
                out.append(Capsule(start, end, solid.radius * size))
    return out


def _placed(point: Vector, side: float, scale: float, shift: NDArray[np.float64]) -> Vector:
    """A point of the right side (side 1) or its mirror image (side -1), scaled and displaced."""
    return (
        side * scale * point[0] + float(shift[0]),
        scale * point[1] + float(shift[1]),
        scale * point[2] + float(shift[2]),
    )
