"""Floor 2: people on foot and on two wheels, as cut-outs that face the camera; metres."""

from collections.abc import Sequence

import numpy as np

from prostate_uda.data.streets.faces import CLASS, Colour, Mesh, Paint, Points, Spot, Surface, bar, disc, pick

SKIN: tuple[Colour, ...] = ((0.86, 0.66, 0.54), (0.72, 0.50, 0.38), (0.45, 0.30, 0.22), (0.93, 0.75, 0.64))
HAIR: tuple[Colour, ...] = ((0.12, 0.09, 0.07), (0.33, 0.22, 0.13), (0.62, 0.50, 0.30), (0.5, 0.5, 0.5))
RUBBER: Colour = (0.06, 0.06, 0.07)

Shapes = list[tuple[Points, Paint]]


def person(mesh: Mesh, spot: Spot, rng: np.random.Generator, clothes: Sequence[Colour]) -> None:
    """Add somebody who walks or stands."""
    h = float(rng.uniform(1.6, 1.9))
    stride, swing = float(rng.uniform(0.04, 0.22)), float(rng.uniform(0.05, 0.25))
    paint = Paint(CLASS["person"], pick(rng, clothes))
    legs = paint.coloured(pick(rng, clothes)).tinted(0.55)
    skin, hair = paint.coloured(pick(rng, SKIN)), paint.coloured(pick(rng, HAIR))
    hip, neck = 0.50 * h, 0.82 * h
    torso = [(-0.19, hip), (0.19, hip), (0.25, neck - 0.1), (0.1, neck), (-0.1, neck), (-0.25, neck - 0.1)]
    shapes: Shapes = [
        (bar((-0.10, hip + 0.05), (-0.09 - stride, 0.0), 0.22), legs),
        (bar((0.10, hip + 0.05), (0.09 + stride, 0.0), 0.22), legs.tinted(0.85)),
        (np.array(torso), paint),
        (bar((-0.24, neck - 0.1), (-0.26 - swing, hip), 0.13), paint.tinted(0.85)),
        (bar((0.24, neck - 0.1), (0.26 + swing * 0.6, hip), 0.13), paint.tinted(0.85)),
        (disc((0, 0.91 * h), 0.125, tall=1.2), skin),
        (disc((0, 0.955 * h), 0.125, tall=0.75), hair),
    ]
    if rng.random() < 0.4:
        side = float(rng.choice([-1, 1]))
        shapes.append((disc((side * 0.34, hip + 0.02), 0.16, tall=1.1, corners=8), paint.coloured((0.25, 0.12, 0.08))))
    mesh.cutout(spot, shapes, squeeze=float(rng.uniform(1.05, 1.3)))


def cyclist(mesh: Mesh, spot: Spot, rng: np.random.Generator, clothes: Sequence[Colour]) -> None:
    """Add a rider on a bicycle."""
    way = float(rng.choice([-1, 1]))
    squeeze = way * float(rng.uniform(0.65, 1.0))
    mesh.cutout(spot, _bicycle(rng) + _seated(rng, clothes, seat=(-0.18, 0.98), bars=(0.42, 1.12), foot=0.3), squeeze)


def bicycle(mesh: Mesh, spot: Spot, rng: np.random.Generator) -> None:
    """Add a parked bicycle."""
    mesh.cutout(spot, _bicycle(rng), squeeze=float(rng.choice([-1, 1]) * rng.uniform(0.7, 1.0)))


def motorcycle(mesh: Mesh, spot: Spot, rng: np.random.Generator, clothes: Sequence[Colour], *, ridden: bool) -> None:
    """Add a motorcycle, with or without its rider."""
    squeeze = float(rng.choice([-1, 1]) * rng.uniform(0.7, 1.0))
    bright = ((0.75, 0.08, 0.08), (0.1, 0.2, 0.65), (0.15, 0.15, 0.16), (0.9, 0.5, 0.05))
    paint = Paint(CLASS["motorcycle"], pick(rng, bright), Surface.GLOSS)
    dark, steel = paint.coloured(RUBBER, Surface.PLAIN), paint.coloured((0.5, 0.5, 0.52), Surface.PLAIN)
    tank = [(-0.1, 0.62), (0.05, 0.98), (0.42, 1.02), (0.6, 0.82), (0.38, 0.55)]
    shapes: Shapes = [
        *((disc((x, 0.33), 0.34), dark) for x in (-0.72, 0.76)),
        *((disc((x, 0.33), 0.17), steel) for x in (-0.72, 0.76)),
        (
            np.array([(-0.62, 0.3), (-0.45, 0.68), (0.4, 0.68), (0.45, 0.25), (0.1, 0.16), (-0.3, 0.16)]),
            steel.tinted(0.5),
        ),
        (bar((0.76, 0.33), (0.48, 1.12), 0.10), steel),
        (np.array(tank), paint),
        (np.array([(-1.0, 0.72), (-0.95, 0.9), (-0.1, 0.82), (-0.05, 0.66)]), dark),
        (np.array([(-1.0, 0.6), (-1.0, 0.74), (-0.4, 0.72), (-0.4, 0.56)]), paint),
        (np.array([(0.55, 0.9), (0.5, 1.3), (0.62, 1.28), (0.75, 0.95)]), paint.tinted(1.2)),
        (bar((0.4, 1.12), (0.56, 1.12), 0.08), dark),
    ]
    if ridden:
        shapes += _seated(rng, clothes, seat=(-0.35, 0.88), bars=(0.45, 1.12), foot=0.28)
    mesh.cutout(spot, shapes, squeeze)


def _bicycle(rng: np.random.Generator) -> Shapes:
    """Wheels and frame, seen from the side; spokes are filled, as people outline them."""
    bright = ((0.7, 0.1, 0.1), (0.1, 0.3, 0.6), (0.1, 0.45, 0.25), (0.2, 0.2, 0.22), (0.8, 0.75, 0.7))
    frame = Paint(CLASS["bicycle"], pick(rng, bright))
    tyre, spokes = frame.coloured(RUBBER), frame.coloured((0.38, 0.39, 0.40))
    lines = (((-0.52, 0.35), (-0.2, 0.9)), ((-0.2, 0.35), (-0.2, 1.0)), ((-0.2, 0.82), (0.42, 0.85)),
             ((-0.15, 0.4), (0.42, 0.85)), ((0.52, 0.35), (0.38, 1.1)), ((-0.52, 0.35), (-0.15, 0.4)))  # fmt: skip
    return [
        *((disc((x, 0.35), 0.36), tyre) for x in (-0.54, 0.54)),
        *((disc((x, 0.35), 0.27), spokes) for x in (-0.54, 0.54)),
        *((bar(a, b, 0.085), frame) for a, b in lines),
        (bar((-0.34, 0.99), (-0.06, 0.99), 0.08), tyre),
        (bar((0.3, 1.1), (0.5, 1.14), 0.07), tyre),
    ]


def _seated(
    rng: np.random.Generator,
    clothes: Sequence[Colour],
    *,
    seat: tuple[float, float],
    bars: tuple[float, float],
    foot: float,
) -> Shapes:
    """A rider: feet below, hands on the bars, mostly with a helmet."""
    paint = Paint(CLASS["rider"], pick(rng, clothes))
    legs = paint.coloured(pick(rng, clothes)).tinted(0.5)
    helmet = pick(rng, ((0.9, 0.9, 0.9), (0.12, 0.12, 0.13), (0.8, 0.15, 0.1), (0.95, 0.8, 0.1)))
    shoulder, knee = (seat[0] + 0.30, seat[1] + 0.52), (seat[0] + 0.36, seat[1] - 0.22)
    head = (shoulder[0] + 0.08, shoulder[1] + 0.22)
    back = [
        (seat[0] - 0.18, seat[1] - 0.04),
        (seat[0] + 0.18, seat[1] - 0.04),
        (shoulder[0] + 0.16, shoulder[1] - 0.05),
        (shoulder[0] + 0.04, shoulder[1] + 0.1),
        (shoulder[0] - 0.16, shoulder[1] - 0.02),
    ]
    return [
        (bar(seat, knee, 0.26), legs),
        (bar(knee, (seat[0] + 0.14, foot), 0.21), legs.tinted(0.9)),
        (np.array(back), paint),
        (bar(shoulder, bars, 0.16), paint.tinted(0.85)),
        (disc(head, 0.13, tall=1.15), paint.coloured(pick(rng, SKIN))),
        (disc((head[0], head[1] + 0.06), 0.15, tall=0.75), paint.coloured(helmet)),
    ]
