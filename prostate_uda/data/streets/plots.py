"""Floor 2: what lines a street: houses, and gardens behind a wall or a fence; metres."""

from dataclasses import dataclass

import numpy as np

from prostate_uda.data.streets.faces import CLASS, Colour, Mesh, Paint, Spot, Surface, pick
from prostate_uda.data.streets.furniture import bush, tree
from prostate_uda.data.streets.looks import Look

STOREY_M = 3.1
GROUND_Y = 0.12
"""Height of sidewalks and plots above the road."""


@dataclass(frozen=True)
class Plot:
    """A piece of one side of the street.

    Attributes:
        side: 1 right, -1 left.
        edge: Distance of its front from the middle of the road.
        start: Where it begins along the road.
        stop: Where it ends.
    """

    side: int
    edge: float
    start: float
    stop: float

    def x(self, behind: float) -> float:
        """Sideways place ``behind`` metres behind the front."""
        return self.side * (self.edge + behind)


def line_side(mesh: Mesh, rng: np.random.Generator, look: Look, side: int, edge: float, *, until: float) -> None:
    """Line one side of the road with plots, from behind the camera to ``until``."""
    z, enclosures = -4.0, ["wall", "fence"] if rng.random() < 0.5 else ["fence", "wall"]
    opened = 0
    while z < until:
        length = float(rng.uniform(8, 15))
        plot = Plot(side, edge, z, z + length)
        if z > 2 and rng.random() < look.habits.garden:
            _garden(mesh, rng, look, plot, enclosures[opened % 2])
            opened += 1
        else:
            _house(mesh, rng, look, plot)
        z += length


def close_end(mesh: Mesh, rng: np.random.Generator, look: Look, z: float) -> None:
    """Close the view at the far end with houses and trees, or leave a gap to the horizon."""
    for x in np.arange(-60, 60, 12.0):
        colour = pick(rng, look.palette.facades)
        height = STOREY_M * float(rng.uniform(*look.habits.storeys))
        if abs(x + 6) < 12 and rng.random() < 0.6:
            for shift in (1.0, 5.0, 9.0):
                tree(mesh, Spot(float(x) + shift, z - 4), rng, look.palette.leaves)
            continue
        mesh.upright((x, z), (x + 12, z), (0, height), _facade_paint(rng, look, colour))


def _facade_paint(rng: np.random.Generator, look: Look, colour: Colour) -> Paint:
    """A front with its own rhythm of windows."""
    pattern = (float(rng.uniform(1.8, 3.0)), STOREY_M, float(rng.uniform(0.4, 0.7)), look.habits.dressed)
    return Paint(CLASS["building"], colour, Surface.FACADE, pattern)


def _house(mesh: Mesh, rng: np.random.Generator, look: Look, plot: Plot, setback: float = 0.0) -> None:
    """A house with two gable ends and, mostly, a pitched roof."""
    facades = look.palette.facades
    paint = _facade_paint(rng, look, pick(rng, facades))
    top = GROUND_Y + STOREY_M * round(float(rng.uniform(*look.habits.storeys)))
    front, back = plot.x(setback), plot.x(setback + 11)
    mesh.upright((front, plot.start), (front, plot.stop), (GROUND_Y, top), paint)
    for z in (plot.start, plot.stop):
        mesh.upright((front, z), (back, z), (GROUND_Y, top), paint)
    cornice = Paint(CLASS["building"], paint.colour).tinted(1.12)
    out = plot.x(setback - 0.25)
    mesh.upright((out, plot.start), (out, plot.stop), (top - 0.35, top), cornice)
    if rng.random() < 0.7:
        roof = Paint(CLASS["building"], pick(rng, look.palette.roofs), Surface.MASONRY,
                     (0.4, 0.35, 0, 0))  # fmt: skip
        ridge, peak = plot.x(setback + 5), top + float(rng.uniform(1.8, 3.2))
        mesh.add(
            [(out, top, plot.start), (out, top, plot.stop), (ridge, peak, plot.stop), (ridge, peak, plot.start)], roof
        )
        for z in (plot.start, plot.stop):
            mesh.add([(front, top, z), (ridge, peak, z), (back, top, z)], Paint(CLASS["building"], paint.colour))


def _garden(mesh: Mesh, rng: np.random.Generator, look: Look, plot: Plot, enclosure: str) -> None:
    """Grass with shrubs and trees behind a wall or a fence that may leave a part open, and a house further back."""
    palette = look.palette
    grass = Paint(CLASS["terrain"], pick(rng, palette.grass), Surface.GRASS)
    near, far = sorted((plot.x(0), plot.x(14)))
    mesh.ground((near, far), (plot.start, plot.stop), GROUND_Y + 0.02, grass)
    opening = plot.stop - float(rng.choice([0.0, 0.3])) * (plot.stop - plot.start)
    line = ((plot.x(0.1), plot.start), (plot.x(0.1), opening))
    if enclosure == "wall":
        height = float(rng.uniform(1.6, 2.5))
        paint = Paint(CLASS["wall"], pick(rng, palette.walls), Surface.MASONRY, (0.5, 0.25, 0, 0))
        mesh.upright(*line, (GROUND_Y, GROUND_Y + height), paint)
        mesh.upright(
            *line, (GROUND_Y + height, GROUND_Y + height + 0.12), Paint(CLASS["wall"], paint.colour).tinted(1.2)
        )
        mesh.upright((plot.x(0.1), opening), (plot.x(0.5), opening), (GROUND_Y, GROUND_Y + height), paint)
    else:
        height = float(rng.uniform(1.4, 2.0))
        pattern = (float(rng.uniform(0.22, 0.4)), float(rng.uniform(0.45, 0.7)), height, float(rng.uniform(0.7, 1.2)))
        paint = Paint(CLASS["fence"], pick(rng, palette.fences), Surface.BARS, pattern)
        mesh.upright(*line, (GROUND_Y, GROUND_Y + height), paint)
    _house(mesh, rng, look, plot, setback=13.5)
    for _ in range(int(rng.integers(1, 4))):
        spot = Spot(plot.x(float(rng.uniform(3, 11))), float(rng.uniform(plot.start + 1, plot.stop - 1)), GROUND_Y)
        tree(mesh, spot, rng, palette.leaves)
    for _ in range(int(rng.integers(0, 3))):
        spot = Spot(plot.x(float(rng.uniform(1.2, 8))), float(rng.uniform(plot.start + 1, plot.stop - 1)), GROUND_Y)
        bush(mesh, spot, rng, palette.leaves, float(rng.uniform(1.0, 2.4)))
