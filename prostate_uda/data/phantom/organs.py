"""Floor 2: the organs beside the prostate: bladder, seminal vesicles, rectum with or without a balloon coil, bulb."""

import numpy as np

from prostate_uda.data.phantom.gland import Gland, GlandShape, posterior_edge, to_body
from prostate_uda.data.phantom.shapes import Bowel, Capsule, Ellipsoid, Structure, Tubules, Vector
from prostate_uda.data.phantom.tissues import Tissue

FILLINGS = ("collapsed", "gas", "stool")
FILLING_WEIGHTS = (0.5, 0.15, 0.35)


def bulb(gland: Gland) -> list[Structure]:
    """Membranous urethra with its sphincter, the bulb of the penis and the crura."""
    _, h, length = gland.shape.radii
    urethra = Capsule((0.0, 2.0, -length), (0.0, 4.0, -length - 16), 6.5)
    body = Ellipsoid((0.0, h * 0.3, -length - 28), (13, 16, 12))
    erectile = ((0.0, Tissue.FIBROUS), (0.9, Tissue.ERECTILE))
    sides = (1.0, -1.0)
    crura = [Capsule((side * 30, -8, -length - 34), (side * 8, h + 12, -length - 22), 6.5) for side in sides]
    return [
        *(Structure(crus, erectile) for crus in crura),
        Structure(body, erectile),
        Structure(urethra, ((0.0, Tissue.SMOOTH_MUSCLE), (3.5, Tissue.MUCOSA))),
    ]


def bladder(rng: np.random.Generator, gland: Gland) -> list[Structure]:
    """Bladder resting on the base of the gland and sinking in front of it, emptier in some men."""
    _, h, length = gland.shape.radii
    radii = (float(rng.uniform(24, 40)), float(rng.uniform(18, 27)), float(rng.uniform(22, 36)))
    centre = (float(rng.normal(0, 2)), 0.4 * h + 4, 0.85 * length + 0.55 * radii[2])
    wall = float(rng.uniform(2.8, 5.0))
    return [Structure(Ellipsoid(centre, radii), ((0.0, Tissue.SMOOTH_MUSCLE), (wall, Tissue.URINE)))]


def vesicles(rng: np.random.Generator, gland: Gland) -> list[Structure]:
    """Seminal vesicles behind the base: convoluted bright tubules in dark walls."""
    w, h, length = gland.shape.radii
    out = []
    for side in (-1.0, 1.0):
        centre = to_body(gland.shape, (side * 0.58 * w, -0.52 * h, length * 0.92 + 3))
        size = (float(rng.uniform(0.55, 0.7)) * w, float(rng.uniform(5.5, 9.0)), float(rng.uniform(8, 12)))
        hull = Ellipsoid(centre, size, side * float(rng.uniform(-18, -4)), 12)
        waves = []
        for _ in range(5):
            direction = rng.normal(size=3)
            kx, ky, kz = direction / np.linalg.norm(direction) * rng.uniform(0.55, 0.85)
            waves.append((float(kx), float(ky), float(kz), float(rng.uniform(0, 6.28))))
        out.append(Structure(hull, ((0.0, Tissue.FIBROUS),)))
        out.append(Structure(Tubules(hull, tuple(waves), 0.35), ((0.0, Tissue.SEMINAL_FLUID),)))
    return out


def rectum(rng: np.random.Generator, shape: GlandShape) -> tuple[list[Structure], str]:
    """The rectum without a coil: wall, mucosa and contents."""
    filling = FILLINGS[int(rng.choice(3, p=FILLING_WEIGHTS))]
    front = float(rng.uniform(9.0, 13.0) if filling == "collapsed" else rng.uniform(10.0, 16.0))
    side = front * float(rng.uniform(1.1, 1.5))
    tube = Bowel(
        x=float(rng.normal(0, 2)),
        y=posterior_edge(shape) - front - float(rng.uniform(1.5, 3.0)),
        bend=float(rng.uniform(0.004, 0.010)),
        radius=(side, front),
        anus=-shape.radii[2] - 6,
        narrow=min(1.0, 11.0 / side),
        wave=float(rng.uniform(0.03, 0.10)),
        phase=float(rng.uniform(0, 6.28)),
    )
    wall: list[tuple[float, Tissue]] = [(0.0, Tissue.RECTAL_WALL), (2.6, Tissue.MUCOSA)]
    content = {"collapsed": Tissue.RECTAL_WALL, "gas": Tissue.AIR, "stool": Tissue.STOOL}[filling]
    wall.append((5.0 if filling == "collapsed" else 3.8, content))
    low = -shape.radii[2]
    canal = Capsule((tube.x, tube.y, low - 12), (0.0, tube.y + 6, low - 60), 11.0)
    rings = ((0.0, Tissue.MUSCLE), (3.0, Tissue.RECTAL_WALL), (5.5, Tissue.MUCOSA), (8.0, Tissue.RECTAL_WALL))
    return [Structure(tube, tuple(wall)), Structure(canal, rings)], filling


def draw_balloon(rng: np.random.Generator, shape: GlandShape) -> Ellipsoid:
    """The inflated balloon, pressed against the back of the gland and parallel to it."""
    radii = (float(rng.uniform(19, 24)), float(rng.uniform(15, 19)), float(rng.uniform(36, 46)))
    edge = posterior_edge(shape)
    centre = to_body(shape, (float(rng.normal(0, 2)), edge - radii[1] - 2.6, float(rng.uniform(-3, 6))))
    return Ellipsoid(centre, radii, float(rng.normal(0, 4)), shape.tilt)


def balloon_layers(rng: np.random.Generator, balloon: Ellipsoid) -> list[Structure]:
    """Stretched rectal wall, the balloon's air with its lobes, and the shaft that leaves through the anal canal."""
    x, y, z = balloon.centre
    low = z - balloon.radii[2]
    air = [balloon]
    for _ in range(3):
        dx, dy, dz = rng.uniform((-9, -8, -14), (9, -2, 14))
        size = _scaled(balloon.radii, float(rng.uniform(0.62, 0.8)))
        air.append(Ellipsoid((x + float(dx), y + float(dy), z + float(dz)), size, balloon.degrees, balloon.pitch))
    stretched = [Ellipsoid(part.centre, _grown(part.radii, 2.6), part.degrees, part.pitch) for part in air]
    shaft = Capsule((x, y, z - 0.5 * balloon.radii[2]), (x * 0.5, y + 4, low - 40), float(rng.uniform(5.0, 7.0)))
    wire = Capsule((x + 4, y + 2, z - 10), (x * 0.5 + 3, y + 5, low - 40), 1.6)
    return [
        *(Structure(part, ((0.0, Tissue.RECTAL_WALL), (1.4, Tissue.MUCOSA))) for part in stretched),
        *(Structure(part, ((0.0, Tissue.AIR),)) for part in air),
        Structure(shaft, ((0.0, Tissue.AIR),)),
        Structure(wire, ((0.0, Tissue.VEIN),)),
    ]


def _grown(radii: Vector, by: float) -> Vector:
    """Radii enlarged by a thickness."""
    return radii[0] + by, radii[1] + by, radii[2] + by


def _scaled(radii: Vector, by: float) -> Vector:
    """Radii times a factor."""
    return radii[0] * by, radii[1] * by, radii[2] * by
