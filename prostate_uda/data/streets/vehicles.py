"""Floor 2: cars, trucks, buses and trams, metres, z forward."""

from collections.abc import Sequence

import numpy as np

from prostate_uda.data.streets.faces import CLASS, Colour, Mesh, Paint, Spot, Surface, disc, pick

GLASS: Colour = (0.16, 0.20, 0.25)
TYRE: Colour = (0.05, 0.05, 0.06)
RED_LAMP: Colour = (0.85, 0.08, 0.06)
WHITE_LAMP: Colour = (0.95, 0.95, 0.85)


def car(mesh: Mesh, spot: Spot, rng: np.random.Generator, colours: Sequence[Colour]) -> None:
    """Add a saloon, a hatchback or a van."""
    paint = Paint(CLASS["car"], pick(rng, colours), Surface.GLOSS)
    end, tall = float(rng.uniform(1.95, 2.3)), float(rng.uniform(1.40, 1.62))
    tail, front = float(rng.choice([-1.0, -0.92, -0.72])) * end, float(rng.uniform(0.42, 0.55)) * end
    body = [
        (-end, 0.32),
        (-end, 0.85),
        (-0.9 * end, 0.95),
        (0.5 * end, 0.97),
        (0.95 * end, 0.8),
        (end, 0.6),
        (end, 0.3),
    ]
    mesh.prism(spot, body, 0.88, paint)
    roof = (tail + 0.45, front - 0.7)
    cabin = [(tail, 0.93), (roof[0], tall), (roof[1], tall + 0.02), (front, 0.95)]
    mesh.prism(spot, cabin, 0.78, paint)
    mesh.prism(spot, [(-0.97 * end, 0.2), (-0.97 * end, 0.45), (0.97 * end, 0.45), (0.97 * end, 0.2)], 0.86,
               paint.coloured(TYRE))  # fmt: skip
    glass = paint.coloured(GLASS)
    window = [(tail + 0.2, 1.0), (roof[0] + 0.05, tall - 0.1), (roof[1] - 0.02, tall - 0.1), (front - 0.2, 1.0)]
    for side in (-0.79, 0.79):
        mesh.add(spot.place([(side, y, z) for z, y in window]), glass)
    _pane(mesh, spot, [(tail, 0.98), (roof[0], tall - 0.08)], 0.68, -1, glass)
    _pane(mesh, spot, [(front, 0.99), (roof[1], tall - 0.08)], 0.68, 1, glass)
    _wheels(mesh, spot, [-0.62 * end, 0.62 * end], 0.89, 0.33, paint)
    _lamps(mesh, spot, paint, (-end, end), 0.72, 0.68)


def truck(mesh: Mesh, spot: Spot, rng: np.random.Generator, colours: Sequence[Colour]) -> None:
    """Add a lorry with a plain box behind a cab."""
    box = Paint(CLASS["truck"], pick(rng, colours), Surface.GLOSS)
    cab = box.coloured(pick(rng, colours))
    long, tall = float(rng.uniform(5.0, 7.0)), float(rng.uniform(3.2, 3.7))
    rear, split, front = -long / 2 - 1, long / 2 - 1, long / 2 + 1
    mesh.prism(spot, [(rear, 0.95), (rear, tall), (split, tall), (split, 0.95)], 1.25, box)
    mesh.prism(spot, [(rear + 0.1, 0.45), (rear + 0.1, 0.95), (front, 0.95), (front, 0.45)], 1.1, box.coloured(TYRE))
    high = tall - 0.6
    mesh.prism(
        spot, [(split + 0.2, 0.5), (split + 0.2, high), (front - 0.3, high), (front, 1.5), (front, 0.5)], 1.2, cab
    )
    _pane(mesh, spot, [(front, 1.55), (front - 0.26, high - 0.15)], 1.08, 1, cab.coloured(GLASS))
    for side in (-1.21, 1.21):
        corners = [(split + 0.7, 1.5), (split + 0.7, high - 0.25), (front - 0.4, high - 0.25), (front - 0.2, 1.5)]
        mesh.add(spot.place([(side, y, z) for z, y in corners]), cab.coloured(GLASS))
    frame = box.tinted(0.6)
    for x in (-1.2, 0.0, 1.2):  # the edges of the doors at the back
        _panel(mesh, spot, (x - 0.04, x + 0.04), (1.0, tall), rear - 0.02, frame)
    _wheels(mesh, spot, [rear + 1.0, rear + 2.0, front - 0.9], 1.26, 0.48, box)
    _lamps(mesh, spot, box, (rear + 0.1, front), 0.7, 0.9)


def bus(mesh: Mesh, spot: Spot, rng: np.random.Generator, colours: Sequence[Colour]) -> None:
    """Add a city bus: a band of windows between two bands of colour, and a lit sign above the windscreen."""
    paint = Paint(CLASS["bus"], pick(rng, colours), Surface.GLOSS)
    end, tall = float(rng.uniform(4.8, 6.0)), float(rng.uniform(3.0, 3.3))
    mesh.prism(spot, [(-end, 0.35), (-end, tall), (end - 0.1, tall), (end, 1.2), (end, 0.35)], 1.27, paint)
    glass = paint.coloured(GLASS)
    _window_band(mesh, spot, (-end + 0.3, end - 0.4), (1.25, tall - 0.55), 1.28, glass)
    _pane(mesh, spot, [(end, 1.15), (end - 0.08, tall - 0.5)], 1.15, 1, glass)
    _pane(mesh, spot, [(-end, 1.5), (-end, tall - 0.5)], 1.05, -1, glass)
    sign = paint.coloured((0.95, 0.6, 0.1), Surface.LAMP)
    for z, way in ((end - 0.08, 1), (-end, -1)):
        _pane(mesh, spot, [(z, tall - 0.4), (z, tall - 0.14)], 0.8, way, sign)
    _wheels(mesh, spot, [-0.55 * end, 0.62 * end], 1.28, 0.48, paint)
    _lamps(mesh, spot, paint, (-end, end), 0.75, 1.0)


def tram(mesh: Mesh, spot: Spot, rng: np.random.Generator, colours: Sequence[Colour]) -> None:
    """Add a train that runs in the street: two long cars with a raked nose and a bow on the roof."""
    first = int(rng.integers(len(colours)))
    paint = Paint(CLASS["train"], colours[first], Surface.GLOSS)
    stripe = paint.coloured(colours[(first + 1) % len(colours)])
    end, tall = float(rng.uniform(9.0, 12.0)), 3.5
    glass = paint.coloured(GLASS)
    for start, stop in ((-end, -0.4), (0.4, end)):
        low, high = (start + 0.7 if start < -1 else start), (stop - 0.7 if stop > 1 else stop)
        profile = [(start, 0.2), (start, 1.3), (low, tall), (high, tall), (stop, 1.3), (stop, 0.2)]
        mesh.prism(spot, profile, 1.3, paint)
        _window_band(mesh, spot, (low + 0.3, high - 0.3), (1.6, 2.7), 1.31, glass)
        for side in (-1.315, 1.315):
            mesh.add(spot.place([(side, 0.3, start), (side, 0.3, stop), (side, 0.9, stop), (side, 0.9, start)]), stripe)
    mesh.box(spot, (2.2, 2.6, 1.0), 0.4, paint.coloured(TYRE))
    for way in (-1, 1):
        _pane(mesh, spot, [(way * end, 1.4), (way * (end - 0.55), 3.0)], 1.1, way, glass)
        _pane(mesh, spot, [(way * end, 0.35), (way * end, 0.95)], 1.25, way, stripe)
    mesh.prism(spot, [(-1.5, tall), (0, tall + 1.1), (1.5, tall)], 0.06, paint.coloured(TYRE))
    _lamps(mesh, spot, paint, (-end, end), 1.1, 1.0)


def _pane(mesh: Mesh, spot: Spot, line: list[tuple[float, float]], half: float, way: float, paint: Paint) -> None:
    """A pane across a front (``way`` 1) or back (-1): ``line`` is its lower and upper ``(z, y)``."""
    (z0, y0), (z1, y1) = line
    z0, z1 = z0 + 0.03 * way, z1 + 0.03 * way
    mesh.add(spot.place([(-half, y0, z0), (half, y0, z0), (half * 0.95, y1, z1), (-half * 0.95, y1, z1)]), paint)


def _window_band(
    mesh: Mesh, spot: Spot, z: tuple[float, float], y: tuple[float, float], side: float, paint: Paint
) -> None:
    """Windows with posts between them along both sides."""
    edges = np.linspace(*z, max(2, round((z[1] - z[0]) / 1.5)) + 1)
    for a, b in zip(edges[:-1], edges[1:] - 0.12, strict=True):
        for x in (-side, side):
            mesh.add(spot.place([(x, y[0], a), (x, y[0], b), (x, y[1], b), (x, y[1], a)]), paint)


def _wheels(mesh: Mesh, spot: Spot, axles: list[float], side: float, radius: float, paint: Paint) -> None:
    """A wheel with a hub on either end of each axle."""
    for z in axles:
        for x in (-side, side):
            inner = x - np.sign(x) * 0.24
            for back in (z - 0.9 * radius, z + 0.9 * radius):
                mesh.add(spot.place([(x, 0.0, back), (inner, 0.0, back), (inner, radius, back), (x, radius, back)]),
                         paint.coloured(TYRE, Surface.PLAIN))  # fmt: skip
            for scale, colour in ((1.0, TYRE), (0.55, (0.45, 0.46, 0.48))):
                flat = disc((z, radius), radius * scale)
                out = x + np.sign(x) * (1 - scale) * 0.04
                mesh.add(spot.place(np.column_stack([np.full(len(flat), out), flat[:, 1], flat[:, 0]])),
                         paint.coloured(colour, Surface.PLAIN))  # fmt: skip


def _lamps(mesh: Mesh, spot: Spot, paint: Paint, ends: tuple[float, float], y: float, x: float) -> None:
    """Red lamps at the back, white ones in front, and a number plate at either end."""
    plate = paint.coloured((0.9, 0.9, 0.86), Surface.PLAIN)
    for z, way, colour in ((ends[0], -1, RED_LAMP), (ends[1], 1, WHITE_LAMP)):
        out = z + 0.04 * way
        for side in (-x, x):
            lamp = paint.coloured(colour, Surface.LAMP)
            _panel(mesh, spot, (side - 0.17, side + 0.17), (y - 0.1, y + 0.1), out, lamp)
        _panel(mesh, spot, (-0.26, 0.26), (y - 0.22, y - 0.1), out, plate)


def _panel(mesh: Mesh, spot: Spot, x: tuple[float, float], y: tuple[float, float], z: float, paint: Paint) -> None:
    """An upright rectangle across the vehicle."""
    mesh.add(spot.place([(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)]), paint)
