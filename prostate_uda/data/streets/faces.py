"""Floor 2: what a street is made of: flat faces in metres, each with a class and a paint.

World coordinates: x to the right of the road's middle line, y up from the road, z forward along the road.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prostate_uda.data.scene_classes import SCENE_CLASSES

CLASS = {name: number for number, name in enumerate(SCENE_CLASSES)}
"""Train id by name."""

NOTHING = 255
"""What a face is that belongs to none of the classes: litter bins, the car's own hood."""

Colour: TypeAlias = tuple[float, float, float]
Points: TypeAlias = NDArray[np.float64]
Choice = TypeVar("Choice")


class Surface(IntEnum):
    """How a face is textured; see ``textures.py``."""

    PLAIN = 0
    ROAD = 1
    PAVEMENT = 2
    FACADE = 3
    MASONRY = 4
    BARS = 5
    LEAVES = 6
    GRASS = 7
    GLOSS = 8
    LAMP = 9


@dataclass(frozen=True)
class Paint:
    """What a face looks like and is.

    Attributes:
        label: Train id, or :data:`NOTHING`.
        colour: RGB in [0, 1], before light.
        surface: Kind of texture.
        pattern: Four numbers the texture reads, such as the spacing of windows in metres.
    """

    label: int
    colour: Colour
    surface: Surface = Surface.PLAIN
    pattern: tuple[float, float, float, float] = (1.0, 1.0, 0.5, 0.0)

    def tinted(self, factor: float) -> "Paint":
        """The same, brighter or darker."""
        r, g, b = (min(1.0, c * factor) for c in self.colour)
        return replace(self, colour=(r, g, b))

    def coloured(self, colour: Colour, surface: Surface | None = None) -> "Paint":
        """The same class in another colour, and on another surface where one is given."""
        return replace(self, colour=colour, surface=self.surface if surface is None else surface)


@dataclass(frozen=True)
class Spot:
    """Where a thing stands and which way it faces.

    Attributes:
        x: Of its middle, metres.
        z: Of its middle, metres.
        y: Height of the ground below it.
        turn: Radians about the upright axis; 0 drives away from the camera, π towards it.
    """

    x: float
    z: float
    y: float = 0.0
    turn: float = 0.0

    def place(self, local: ArrayLike) -> Points:
        """Local points ``(n, 3)`` (right, up, forward) in the world."""
        p = np.asarray(local, dtype=np.float64)
        c, s = np.cos(self.turn), np.sin(self.turn)
        return np.stack([self.x + c * p[:, 0] + s * p[:, 2], self.y + p[:, 1], self.z - s * p[:, 0] + c * p[:, 2]], 1)


@dataclass
class Mesh:
    """Faces under construction.

    Attributes:
        points: One ``(n, 3)`` polygon per face, flat.
        paints: One per face.
        pivots: ``(x, z)`` about which a cut-out that always shows its front is turned; None for solid faces.
    """

    points: list[Points] = field(default_factory=list)
    paints: list[Paint] = field(default_factory=list)
    pivots: list[tuple[float, float] | None] = field(default_factory=list)

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Train id of every face, and the sky's in the last place, where an index of -1 finds it."""
        return np.array([*(paint.label for paint in self.paints), CLASS["sky"]], dtype=np.uint8)

    def add(self, points: ArrayLike, paint: Paint, pivot: tuple[float, float] | None = None) -> None:
        """Add one face."""
        self.points.append(np.asarray(points, dtype=np.float64))
        self.paints.append(paint)
        self.pivots.append(pivot)

    def ground(self, x: tuple[float, float], z: tuple[float, float], y: float, paint: Paint) -> None:
        """Add a level rectangle."""
        self.add([(x[0], y, z[0]), (x[1], y, z[0]), (x[1], y, z[1]), (x[0], y, z[1])], paint)

    def upright(
        self, start: tuple[float, float], end: tuple[float, float], y: tuple[float, float], paint: Paint
    ) -> None:
        """Add an upright rectangle above the line from ``start`` to ``end``, both ``(x, z)``."""
        (x0, z0), (x1, z1) = start, end
        self.add([(x0, y[0], z0), (x1, y[0], z1), (x1, y[1], z1), (x0, y[1], z0)], paint)

    def prism(
        self, spot: Spot, profile: Sequence[tuple[float, float]], half: float, paint: Paint, sides: Paint | None = None
    ) -> None:
        """Add a side view ``(z, y)`` drawn out to ``half`` on either side; convex, closed all round."""
        edge = np.asarray(profile, dtype=np.float64)
        left = np.column_stack([np.full(len(edge), -half), edge[:, 1], edge[:, 0]])
        right = left * (-1, 1, 1)
        for end in (left, right):
            self.add(spot.place(end), sides or paint)
        for i in range(len(edge)):
            j = (i + 1) % len(edge)
            self.add(spot.place([left[i], right[i], right[j], left[j]]), paint)

    def box(self, spot: Spot, size: tuple[float, float, float], base: float, paint: Paint) -> None:
        """Add a box of ``size`` (width, height, length) whose bottom is ``base`` above the spot."""
        width, height, length = size
        top, end = base + height, length / 2
        self.prism(spot, [(-end, base), (-end, top), (end, top), (end, base)], width / 2, paint)

    def cutout(self, spot: Spot, shapes: Sequence[tuple[ArrayLike, Paint]], squeeze: float = 1.0) -> None:
        """Add flat shapes ``(n, 2)`` (right, up) that face the camera, later ones in front of earlier ones."""
        for order, (shape, paint) in enumerate(shapes):
            flat = np.asarray(shape, dtype=np.float64)
            depth = np.full(len(flat), spot.z - 0.004 * order)
            points = np.column_stack([spot.x + squeeze * flat[:, 0], spot.y + flat[:, 1], depth])
            self.add(points, paint, (spot.x, spot.z))


def pick(rng: np.random.Generator, choices: Sequence[Choice]) -> Choice:
    """Draw one of some things, all as likely."""
    return choices[int(rng.integers(len(choices)))]


def disc(centre: tuple[float, float], radius: float, *, tall: float = 1.0, corners: int = 12) -> Points:
    """A circle ``(corners, 2)``, or an ellipse that is ``tall`` times as high as wide."""
    angle = np.arange(corners) * (2 * np.pi / corners)
    return np.column_stack([centre[0] + radius * np.cos(angle), centre[1] + tall * radius * np.sin(angle)])


def bar(start: tuple[float, float], end: tuple[float, float], width: float) -> Points:
    """A line of some width as a quadrilateral ``(4, 2)``."""
    a, b = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    along = (b - a) / max(float(np.hypot(*(b - a))), 1e-9)
    side = np.array([-along[1], along[0]]) * (width / 2)
    return np.stack([a - side, b - side, b + side, a + side])


def rectangle(x: tuple[float, float], y: tuple[float, float]) -> Points:
    """An upright rectangle ``(4, 2)``."""
    return np.array([(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])], dtype=np.float64)
