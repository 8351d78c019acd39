"""Floor 2: the prostate itself: its outline, its two zones, and what grows inside them.

Gland coordinates: origin at the centre, x towards the right, y towards anterior, z towards the base, mm. The gland is
tilted in the body, so these are the body's axes turned about x.
"""

from dataclasses import dataclass, replace

import numpy as np

from prostate_uda.data.phantom.shapes import CENTRAL, Ellipsoid, Points, Structure, Vector, ellipsoid_distance
from prostate_uda.data.phantom.tissues import Tissue

LATTICE_MM = 2.0
VOLUME_ML = (24.0, 98.0)
LESION_PROBABILITY = 0.5


@dataclass(frozen=True)
class GlandShape:
    """Outline and zones of one gland; lengths in mm, see :meth:`distances` for the meaning of each.

    Attributes:
        radii: Half widths (left-right, front-back, base-apex) before tapering.
        taper: How much wider the base is than the apex.
        flat: Flatness of the back, 0 (round) to 1 (boxed).
        bend: Backward sag per squared mm of the sides, as they wrap around the rectum.
        groove: Depth of the posterior midline groove.
        enlargement: Size of the transition zone, 0 (young) to 1 (advanced hyperplasia).
        asymmetry: Relative difference between the lobes of the transition zone.
        tilt: Degrees by which the base leans backwards.
    """

    radii: Vector
    taper: float
    flat: float
    bend: float
    groove: float
    enlargement: float
    asymmetry: float
    tilt: float

    def distances(self, points: Points) -> tuple[Points, Points]:
        """Approximate signed distances in mm to the gland and to its inner part (the transition zone), both ``(...)``.

        Args:
            points: ``(3, ...)`` gland coordinates. The peripheral zone is inside the first and outside the second.
        """
        width, depth, length = (np.float32(radius) for radius in self.radii)
        u = points[2] / length
        x = points[0] / (1 + np.float32(self.taper) * np.clip(u, -1.2, 1.2))
        ridge = np.float32(self.groove) * np.exp(-((points[0] / np.float32(0.3 * self.radii[0])) ** 2))
        y = points[1] + np.float32(self.bend) * points[0] ** 2 - ridge * (points[1] < 0)
        t = (y / depth) ** 2
        t = np.where(y < 0, t + np.float32(self.flat) * (t * t - t), t)
        squared = np.maximum((x / width) ** 2 + t + u * u, CENTRAL)
        slope = np.sqrt((x / width**2) ** 2 + (y / depth**2) ** 2 + (u / length) ** 2)
        outline = (squared - np.sqrt(squared)) / np.maximum(slope, np.float32(1e-3))
        return outline.astype(np.float32), self._inner(x, y, points[2])

    def _inner(self, x: Points, y: Points, z: Points) -> Points:
        """Signed distance to two overlapping lobes and the anterior stroma."""
        w, h, length = self.radii
        grow = self.enlargement
        lobe = (w * (0.36 + 0.10 * grow), h * (0.62 + 0.15 * grow), length * (0.66 + 0.18 * grow))
        offset = w * (0.30 + 0.08 * grow)
        y0, z0 = h * (0.26 - 0.06 * grow), length * (0.20 - 0.06 * grow)
        y = y - np.float32(y0) + np.float32(0.18 * h) * np.clip(z / np.float32(length), -1, 1)
        lobes = []
        for side in (-1.0, 1.0):
            scale = 1 + side * self.asymmetry
            radii = (lobe[0] * scale, lobe[1] * scale, lobe[2] * scale)
            lobes.append(ellipsoid_distance(x - np.float32(side * offset), y, z - np.float32(z0), radii))
        middle = ellipsoid_distance(x, y, z - np.float32(z0), (offset, 0.8 * lobe[1], lobe[2]))
        front = np.float32(0.30 * h) - y + np.float32(0.45) * np.abs(x)  # anterior fibromuscular stroma
        return np.asarray(np.minimum(np.minimum(lobes[0], lobes[1]), np.minimum(middle, front)), dtype=np.float32)


@dataclass(frozen=True)
class Gland:
    """A gland with its contents and what is known about it.

    Attributes:
        shape: Outline and zones.
        nodules: Hyperplastic nodules, clipped to the transition zone when painted.
        lesions: Dark lesions, clipped to the peripheral zone when painted.
        volume_ml: Volume of the whole gland.
        zone_ml: Volume of (peripheral, transition) zone.
        mottle: ``(kx, ky, kz, phase)`` waves in rad/mm whose crests are inflamed patches of the peripheral zone.
        clear: How high a crest must be; 4 leaves the zone clear.
    """

    shape: GlandShape
    nodules: tuple[Structure, ...]
    lesions: tuple[Structure, ...]
    volume_ml: float
    zone_ml: tuple[float, float]
    mottle: tuple[tuple[float, float, float, float], ...]
    clear: float


def draw_gland(rng: np.random.Generator, *, compressed: bool) -> Gland:
    """Draw a gland.

    Args:
        rng: Source of all randomness.
        compressed: Whether a balloon presses on the back of the gland: flatter, wider, wrapped around it.
    """
    target_ml = float(VOLUME_ML[0] + (VOLUME_ML[1] - VOLUME_ML[0]) * rng.beta(1.5, 2.6))
    share = (target_ml - VOLUME_ML[0]) / (VOLUME_ML[1] - VOLUME_ML[0])
    shape = GlandShape(
        radii=(1.0, float(rng.uniform(0.70, 0.78) + 0.08 * share), float(rng.uniform(0.80, 0.90))),
        taper=float(rng.uniform(0.08, 0.20)),
        flat=float(rng.uniform(0.0, 0.35)),
        bend=float(rng.uniform(0.002, 0.006)),
        groove=float(rng.uniform(0.5, 2.5)),
        enlargement=float(np.clip(share * 1.2 + rng.normal(0.15, 0.12), 0.0, 1.0)),
        asymmetry=float(rng.normal(0.0, 0.04)),
        tilt=float(rng.uniform(0.0, 14.0)),
    )
    squeeze, flatter, sag = (
        float(rng.uniform(0.80, 0.90)),
        float(rng.uniform(0.3, 0.6)),
        float(rng.uniform(0.004, 0.008)),
    )
    if compressed:
        radii = (shape.radii[0] * 1.04, shape.radii[1] * squeeze, shape.radii[2])
        shape = replace(shape, radii=radii, flat=flatter, bend=sag, groove=0.0)
    shape = _scaled_to(shape, target_ml)
    points, outline, inner = _lattice(shape)
    cell = LATTICE_MM**3 / 1000
    zone_ml = (float(np.sum((outline < 0) & (inner >= 0))) * cell, float(np.sum((outline < 0) & (inner < 0))) * cell)
    nodules = _draw_nodules(rng, shape, points[:, (outline < -3) & (inner < -2)])
    lesions = _draw_lesions(rng, points[:, (outline < -2) & (outline > -9) & (inner > 1) & (points[1] < 4)])
    mottle = tuple(_wave(rng, 0.25, 0.6) for _ in range(4))
    return Gland(shape, nodules, lesions, sum(zone_ml), zone_ml, mottle, 3.2 - 3.0 * float(rng.beta(1.0, 2.2)))


def _wave(rng: np.random.Generator, low: float, high: float) -> tuple[float, float, float, float]:
    """A plane wave in a random direction: wave vector of length ``low`` to ``high`` rad/mm, and phase."""
    direction = rng.normal(size=3)
    kx, ky, kz = direction / np.linalg.norm(direction) * rng.uniform(low, high)
    return float(kx), float(ky), float(kz), float(rng.uniform(0, 2 * np.pi))


def _lattice(shape: GlandShape) -> tuple[Points, Points, Points]:
    """A regular lattice around the gland: points ``(3, n)`` and both distances ``(n,)``."""
    axes = [np.arange(-1.35 * radius - 4, 1.35 * radius + 4, LATTICE_MM, dtype=np.float32) for radius in shape.radii]
    axes[1] = np.arange(axes[1][0] - np.float32(12), axes[1][-1], LATTICE_MM, dtype=np.float32)
    points = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)
    outline, inner = shape.distances(points)
    return points, outline, inner


def _scaled_to(shape: GlandShape, target_ml: float) -> GlandShape:
    """Scale the radii (given as proportions) until the gland holds ``target_ml``."""
    guess = (target_ml * 1000 / (4 / 3 * np.pi * np.prod(shape.radii))) ** (1 / 3)
    w, h, length = (float(radius * guess) for radius in shape.radii)
    for _ in range(2):
        shape = replace(shape, radii=(w, h, length))
        volume = float(np.sum(_lattice(shape)[1] < 0)) * LATTICE_MM**3 / 1000
        scale = (target_ml / volume) ** (1 / 3)
        w, h, length = w * scale, h * scale, length * scale
    return replace(shape, radii=(w, h, length))


def _pick(rng: np.random.Generator, candidates: Points) -> Vector:
    """One of the candidate points ``(3, n)``."""
    x, y, z = candidates[:, int(rng.integers(candidates.shape[1]))]
    return float(x), float(y), float(z)


def _blob(rng: np.random.Generator, centre: Vector, radius: float) -> Ellipsoid:
    """A roundish ellipsoid in a random direction."""
    a, b, c = rng.uniform(0.75, 1.25, size=3) * radius
    return Ellipsoid(centre, (float(a), float(b), float(c)), float(rng.uniform(0, 180)), float(rng.uniform(-60, 60)))


def _draw_nodules(rng: np.random.Generator, shape: GlandShape, candidates: Points) -> tuple[Structure, ...]:
    """Glandular (bright) and stromal (dark) nodules with a dark capsule; more and larger ones in larger glands."""
    nodules = []
    if candidates.shape[1] == 0:
        return ()
    for _ in range(int(rng.integers(4, 8)) + round(14 * shape.enlargement)):
        radius = float(rng.uniform(2.5, 4.5) + shape.enlargement * rng.exponential(3.0))
        tissue = Tissue.NODULE_GLANDULAR if rng.random() < 0.55 else Tissue.NODULE_STROMAL
        solid = _blob(rng, _pick(rng, candidates), min(radius, 0.45 * shape.radii[0]))
        layers = ((0.0, Tissue.FIBROUS), (0.6, tissue)) if rng.random() < 0.55 else ((0.0, tissue),)
        nodules.append(Structure(solid, layers))
    return tuple(nodules)


def _draw_lesions(rng: np.random.Generator, candidates: Points) -> tuple[Structure, ...]:
    """One or two dark lesions in the peripheral zone in half of the glands, none in the others."""
    has_lesion, count = rng.random() < LESION_PROBABILITY, 1 + int(rng.random() < 0.3)
    if not has_lesion or candidates.shape[1] == 0:
        return ()
    return tuple(
        Structure(_blob(rng, _pick(rng, candidates), float(rng.uniform(3.5, 7.0))), ((0.0, Tissue.LESION),))
        for _ in range(count)
    )


def to_gland(shape: GlandShape, points: Points) -> Points:
    """Body coordinates ``(3, ...)`` to gland coordinates, a turn about x by the tilt."""
    angle = np.radians(shape.tilt)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return np.stack([points[0], c * points[1] + s * points[2], -s * points[1] + c * points[2]])


def to_body(shape: GlandShape, point: Vector) -> Vector:
    """One point in gland coordinates to body coordinates."""
    angle = np.radians(shape.tilt)
    c, s = float(np.cos(angle)), float(np.sin(angle))
    return point[0], c * point[1] - s * point[2], s * point[1] + c * point[2]


def posterior_edge(shape: GlandShape) -> float:
    """Height-0 midline back of the gland in gland coordinates (negative), mm."""
    line: Points = np.zeros((3, 400), dtype=np.float32)
    line[1] = np.linspace(-60, 0, 400, dtype=np.float32)
    inside = shape.distances(line)[0] < 0
    return float(line[1, int(np.argmax(inside))])
