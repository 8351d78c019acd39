"""Floor 2: what stands along a street: lamps, traffic lights, signs, bins, trees; metres."""

from collections.abc import Sequence

import numpy as np

from prostate_uda.data.streets.faces import (
    CLASS,
    NOTHING,
    Colour,
    Mesh,
    Paint,
    Points,
    Spot,
    Surface,
    bar,
    disc,
    pick,
    rectangle,
)

BLACK: Colour = (0.07, 0.07, 0.08)
LAMPS: tuple[Colour, ...] = ((0.95, 0.12, 0.08), (0.98, 0.70, 0.10), (0.15, 0.90, 0.45))
RED: Colour = (0.82, 0.10, 0.10)
BLUE: Colour = (0.10, 0.28, 0.70)
WHITE: Colour = (0.92, 0.92, 0.90)
YELLOW: Colour = (0.95, 0.78, 0.12)


def pole(mesh: Mesh, spot: Spot, height: float, width: float, colour: Colour) -> None:
    """Add an eight-sided post."""
    paint = Paint(CLASS["pole"], colour)
    angle = np.arange(9) * (np.pi / 4)
    x, z = spot.x + width / 2 * np.cos(angle), spot.z + width / 2 * np.sin(angle)
    for i in range(8):
        mesh.upright((x[i], z[i]), (x[i + 1], z[i + 1]), (spot.y, spot.y + height), paint)


def street_lamp(mesh: Mesh, spot: Spot, rng: np.random.Generator, colour: Colour, reach: float) -> None:
    """Add a tall lamp whose arm reaches over the road by ``reach``, negative to the left."""
    height = float(rng.uniform(6.0, 8.0))
    pole(mesh, spot, height, float(rng.uniform(0.32, 0.42)), colour)
    paint = Paint(CLASS["pole"], colour)
    shapes: list[tuple[Points, Paint]] = [
        (bar((0, height - 0.1), (reach, height + 0.3), 0.22), paint),
        (rectangle((reach - 0.4, reach + 0.4), (height + 0.18, height + 0.42)), paint.tinted(0.8)),
    ]
    mesh.cutout(spot, shapes)


def traffic_light(mesh: Mesh, spot: Spot, rng: np.random.Generator, colour: Colour, reach: float) -> None:
    """Add a post with a signal on it, and with another at the end of an arm where ``reach`` is not 0."""
    height = float(rng.uniform(2.5, 2.9))
    pole(mesh, spot, height + 0.6 if reach == 0 else 5.6, 0.30, colour)
    on = int(rng.integers(3))
    mesh.cutout(Spot(spot.x, spot.z - 0.25, spot.y), _signal(0.0, height, on))
    if reach != 0:
        arm = (bar((0, 5.4), (reach, 5.4), 0.24), Paint(CLASS["pole"], colour))
        mesh.cutout(spot, [arm])
        mesh.cutout(Spot(spot.x, spot.z - 0.25, spot.y), _signal(reach, 4.9, on))


def _signal(x: float, y: float, on: int) -> list[tuple[Points, Paint]]:
    """Three lamps in a box, one of them on."""
    box = Paint(CLASS["traffic light"], BLACK)
    shapes: list[tuple[Points, Paint]] = [(rectangle((x - 0.34, x + 0.34), (y - 0.85, y + 0.85)), box)]
    for place, colour in enumerate(LAMPS):
        lamp = box.coloured(colour, Surface.LAMP) if place == on else box.coloured(colour).tinted(0.25)
        shapes.append((disc((x, y + 0.53 - 0.53 * place), 0.24), lamp))
    return shapes


def sign(mesh: Mesh, spot: Spot, rng: np.random.Generator, colour: Colour) -> None:
    """Add a post with one or two signs."""
    height = float(rng.uniform(2.2, 2.7))
    pole(mesh, spot, height + 0.3, 0.22, colour)
    board = Paint(CLASS["traffic sign"], WHITE)
    shapes = _sign_face(int(rng.integers(5)), (0.0, height), board)
    if rng.random() < 0.35:
        shapes += _sign_face(3, (0.0, height - 0.95), board)
    mesh.cutout(Spot(spot.x, spot.z - 0.15, spot.y), shapes)


def gantry(mesh: Mesh, spot: Spot, rng: np.random.Generator, colour: Colour) -> None:
    """Add a large direction sign on two posts."""
    wide, low = float(rng.uniform(1.0, 1.4)), float(rng.uniform(1.5, 2.0))
    for side in (-0.7 * wide, 0.7 * wide):
        pole(mesh, Spot(spot.x + side, spot.z, spot.y), low + 1.5, 0.18, colour)
    board = Paint(CLASS["traffic sign"], WHITE)
    shapes: list[tuple[Points, Paint]] = [
        (rectangle((-wide, wide), (low, low + 1.5)), board),
        (
            rectangle((-wide + 0.07, wide - 0.07), (low + 0.07, low + 1.43)),
            board.coloured(pick(rng, (BLUE, YELLOW))),
        ),
    ]
    shapes += [(rectangle((-0.6 * wide, 0.4 * wide), (low + y, low + y + 0.18)), board) for y in (0.3, 0.7, 1.1)]
    mesh.cutout(Spot(spot.x, spot.z - 0.2, spot.y), shapes)


def _sign_face(kind: int, at: tuple[float, float], board: Paint) -> list[tuple[Points, Paint]]:
    """Prohibition, warning, order, information or priority."""
    x, y = at
    turned = disc(at, 0.64, corners=4)
    inner = disc(at, 0.52, corners=4)
    triangle = np.array([(x - 0.62, y - 0.45), (x + 0.62, y - 0.45), (x, y + 0.6)])
    faces: tuple[list[tuple[Points, Paint]], ...] = (
        [(disc(at, 0.55), board.coloured(RED)), (disc(at, 0.38), board)],
        [(triangle, board.coloured(RED)), (triangle * 0.62 + (0.38 * x, 0.38 * y - 0.03), board)],
        [(disc(at, 0.55), board.coloured(BLUE)), (bar((x, y - 0.26), (x, y + 0.26), 0.13), board)],
        [(rectangle((x - 0.5, x + 0.5), (y - 0.45, y + 0.45)), board.coloured(BLUE)),
         (rectangle((x - 0.18, x + 0.18), (y - 0.22, y + 0.22)), board)],
        [(turned, board), (inner, board.coloured(YELLOW))],
    )  # fmt: skip
    return faces[kind]


def railing(mesh: Mesh, x: float, z: tuple[float, float], rng: np.random.Generator, colours: Sequence[Colour]) -> None:
    """Add a low fence along a kerb at ``x``."""
    height = float(rng.uniform(1.05, 1.25))
    pattern = (float(rng.uniform(0.2, 0.3)), 0.5, height, 1.6)
    paint = Paint(CLASS["fence"], pick(rng, colours), Surface.BARS, pattern)
    mesh.upright((x, z[0]), (x, z[1]), (0.12, 0.12 + height), paint)


def bin_for_litter(mesh: Mesh, spot: Spot, colour: Colour) -> None:
    """Add a litter bin, which is none of the classes."""
    mesh.box(spot, (0.55, 1.0, 0.55), 0.0, Paint(NOTHING, colour))


def tree(mesh: Mesh, spot: Spot, rng: np.random.Generator, leaves: Sequence[Colour]) -> None:
    """Add a tree: a trunk and a crown of clumps of leaves, which are one class."""
    height, spread = float(rng.uniform(4.8, 8.0)), float(rng.uniform(1.3, 2.3))
    green = Paint(CLASS["vegetation"], pick(rng, leaves), Surface.LEAVES)
    bark = green.coloured((0.30, 0.22, 0.15))
    mesh.cutout(spot, [(np.array([(-0.17, 0), (0.17, 0), (0.12, 0.6 * height), (-0.12, 0.6 * height)]), bark)])
    for _ in range(9):
        x, y = rng.uniform(-0.75, 0.75) * spread, height * rng.uniform(0.52, 0.95)
        clump = Spot(spot.x, spot.z + float(rng.uniform(-0.8, 0.8)), spot.y)
        tone = green.tinted(float(rng.uniform(0.75, 1.2)))
        mesh.cutout(clump, [(_clump((x, y), spread * float(rng.uniform(0.42, 0.7)), rng), tone)])


def bush(mesh: Mesh, spot: Spot, rng: np.random.Generator, leaves: Sequence[Colour], size: float) -> None:
    """Add a shrub of about ``size`` metres across."""
    green = Paint(CLASS["vegetation"], pick(rng, leaves), Surface.LEAVES)
    for _ in range(4):
        middle = (float(rng.uniform(-0.5, 0.5)) * size, size * float(rng.uniform(0.1, 0.5)))
        clump = Spot(spot.x, spot.z + float(rng.uniform(-0.4, 0.4)), spot.y)
        mesh.cutout(clump, [(_clump(middle, 0.4 * size, rng), green.tinted(float(rng.uniform(0.75, 1.15))))])


def _clump(centre: tuple[float, float], radius: float, rng: np.random.Generator) -> Points:
    """A ragged circle."""
    round_one = disc((0, 0), radius, corners=16) * rng.uniform(0.82, 1.12, (16, 1))
    return np.asarray(round_one + centre)
