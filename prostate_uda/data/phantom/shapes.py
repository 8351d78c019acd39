"""Floor 2: solids by signed distance, in millimetres, negative inside; points come as ``(3, ...)`` float32."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol as Interface
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from prostate_uda.data.phantom.tissues import Tissue

Points: TypeAlias = NDArray[np.float32]
Vector: TypeAlias = tuple[float, float, float]

TINY = np.float32(1e-6)
CENTRAL = np.float32(1e-4)  # keeps the first-order distance away from 0/0 at a solid's centre


class Solid(Interface):
    """Anything that knows where it is and how far a point is from its surface."""

    @property
    def centre(self) -> Vector: ...  # noqa: D102

    def extent(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half size in mm along unit ``directions``, ``(n, 3)`` to ``(n,)``, measured from ``centre``."""
        ...

    def distance(self, points: Points) -> Points:
        """Signed distance in mm, ``(...)`` for points ``(3, ...)``; exact or first-order near the surface."""
        ...


@dataclass(frozen=True)
class Structure:
    """A solid painted in layers from outside in: ``(depth in mm, tissue)``, depth 0 is the surface."""

    solid: Solid
    layers: tuple[tuple[float, Tissue], ...]

    def masks(self, points: Points) -> Iterator[tuple[NDArray[np.bool_], Tissue]]:
        """Each layer's mask ``(...)`` for points ``(3, ...)``, with its tissue."""
        if isinstance(self.solid, Ellipsoid):
            squares = [axis * axis for axis in self.solid.local(points)]
            for depth, tissue in self.layers:
                a, b, c = (np.float32(1 / max(radius - depth, 1e-3) ** 2) for radius in self.solid.radii)
                yield squares[0] * a + squares[1] * b + squares[2] * c < 1, tissue
            return
        distance = self.solid.distance(points)
        for depth, tissue in self.layers:
            yield distance < -depth, tissue


def rotation_x(degrees: float) -> NDArray[np.float64]:
    """Rotation about the left-right axis; positive turns anterior (+y) towards superior (+z)."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]], dtype=np.float64)


def rotation_y(degrees: float) -> NDArray[np.float64]:
    """Rotation about the posterior-anterior axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=np.float64)


def rotation_z(degrees: float) -> NDArray[np.float64]:
    """Rotation about the inferior-superior axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=np.float64)


def rotate(matrix: NDArray[np.float64], points: Points, centre: Vector) -> list[Points]:
    """The three rows of ``matrix @ (points - centre)``, each ``(...)`` float32, for points ``(3, ...)``."""
    m, shift = matrix.astype(np.float32), (matrix @ np.asarray(centre)).astype(np.float32)
    return [m[row, 0] * points[0] + m[row, 1] * points[1] + (m[row, 2] * points[2] - shift[row]) for row in range(3)]


def ellipsoid_distance(x: Points, y: Points, z: Points, radii: Vector) -> Points:
    """First-order distance to an axis-aligned ellipsoid at the origin: ``k0 (k0 - 1) / k1``."""
    a, b, c = (np.float32(1 / radius) for radius in radii)
    u, v, w = x * a, y * b, z * c
    squared = np.maximum(u * u + v * v + w * w, CENTRAL)
    k0 = np.sqrt(squared)
    k1 = np.sqrt((u * a) ** 2 + (v * b) ** 2 + (w * c) ** 2)
    return np.asarray((squared - k0) / np.maximum(k1, TINY), dtype=np.float32)


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid, its axes turned by ``degrees`` about z and then ``pitch`` about x."""

    centre: Vector
    radii: Vector
    degrees: float = 0.0
    pitch: float = 0.0

    @property
    def turn(self) -> NDArray[np.float64]:
        """``(3, 3)`` rotation from the ellipsoid's axes to the body's."""
        return np.asarray(rotation_z(self.degrees) @ rotation_x(self.pitch))

    def extent(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half size in mm along unit ``directions``."""
        return np.asarray(np.linalg.norm(directions @ self.turn * np.asarray(self.radii), axis=-1))

    def local(self, points: Points) -> list[Points]:
        """Coordinates ``(...)`` along the three axes for points ``(3, ...)``."""
        if self.degrees == 0.0 and self.pitch == 0.0:
            return [points[axis] - np.float32(self.centre[axis]) for axis in range(3)]
        return rotate(self.turn.T, points, self.centre)

    def distance(self, points: Points) -> Points:
        """Signed distance in mm."""
        x, y, z = self.local(points)
        return ellipsoid_distance(x, y, z, self.radii)


@dataclass(frozen=True)
class Capsule:
    """All points nearer than ``radius`` to the segment from ``start`` to ``end``."""

    start: Vector
    end: Vector
    radius: float

    @property
    def centre(self) -> Vector:
        """Middle of the segment."""
        x, y, z = ((a + b) / 2 for a, b in zip(self.start, self.end, strict=True))
        return x, y, z

    def extent(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half size in mm along unit ``directions``."""
        return np.asarray(np.abs(directions @ np.subtract(self.end, self.start)) / 2 + self.radius)

    def distance(self, points: Points) -> Points:
        """Signed distance in mm."""
        offset = [points[axis] - np.float32(self.start[axis]) for axis in range(3)]
        axis = np.subtract(self.end, self.start).astype(np.float32)
        length2 = np.float32(max(float(axis @ axis), 1e-6))
        along = np.clip((offset[0] * axis[0] + offset[1] * axis[1] + offset[2] * axis[2]) / length2, 0, 1)
        squared = sum((offset[i] - along * axis[i]) ** 2 for i in range(3))
        return np.asarray(np.sqrt(squared) - np.float32(self.radius), dtype=np.float32)


@dataclass(frozen=True)
class Tubules:
    """A convoluted bundle of tubes inside an ellipsoid: the zero set of a sum of plane waves is their wall.

    Attributes:
        hull: What holds the bundle.
        waves: ``(kx, ky, kz, phase)`` in rad/mm and rad.
        wall: Half thickness of the wall in units of the sum's amplitude.
    """

    hull: Ellipsoid
    waves: tuple[tuple[float, float, float, float], ...]
    wall: float

    @property
    def centre(self) -> Vector:
        """Centre of the hull."""
        return self.hull.centre

    def extent(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half size in mm along unit ``directions``."""
        return self.hull.extent(directions)

    def distance(self, points: Points) -> Points:
        """Signed distance in mm to the hull, positive in the walls between tubes."""
        total = np.zeros(points.shape[1:], dtype=np.float32)
        for kx, ky, kz, phase in np.asarray(self.waves, dtype=np.float32):
            total += np.sin(points[0] * kx + points[1] * ky + points[2] * kz + phase)
        return np.asarray(np.maximum(self.hull.distance(points), np.float32(self.wall) - np.abs(total)), np.float32)


@dataclass(frozen=True)
class Sling:
    """A thin muscular funnel around the midline, the levator ani: an elliptical cone surface with a height range.

    Attributes:
        y: Anterior coordinate of the axis.
        bottom, top: Height range.
        front: Anterior end; the funnel is open there.
        low: Half widths (left-right, front-back) at the bottom.
        high: The same at the top.
        thickness: Full thickness of the sheet.
    """

    y: float
    bottom: float
    top: float
    front: float
    low: tuple[float, float]
    high: tuple[float, float]
    thickness: float

    @property
    def centre(self) -> Vector:
        """Middle of the axis."""
        return 0.0, self.y, (self.bottom + self.top) / 2

    def extent(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half size in mm along unit ``directions``."""
        wide = max(self.low[0], self.high[0]) + self.thickness
        deep = max(self.low[1], self.high[1]) + self.thickness
        return np.asarray(np.abs(directions) @ np.array([wide, deep, (self.top - self.bottom) / 2]))

    def distance(self, points: Points) -> Points:
        """Signed distance in mm, first order."""
        z = points[2]
        t = np.clip((z - np.float32(self.bottom)) / np.float32(self.top - self.bottom), 0, 1)
        t = t * t
        a = self.low[0] + t * np.float32(self.high[0] - self.low[0])
        b = self.low[1] + t * np.float32(self.high[1] - self.low[1])
        u, v = points[0] / a, (points[1] - np.float32(self.y)) / b
        squared = np.maximum(u * u + v * v, CENTRAL)
        ring = (squared - np.sqrt(squared)) / np.maximum(np.sqrt((u / a) ** 2 + (v / b) ** 2), TINY)
        half = np.float32((self.top - self.bottom) / 2)
        ends = np.maximum(np.abs(z - np.float32(self.centre[2])) - half, points[1] - np.float32(self.front))
        uneven = 1 + np.float32(0.4) * np.sin(points[1] * np.float32(0.17) + z * np.float32(0.23))
        sheet = np.abs(ring) - np.float32(self.thickness / 2) * uneven
        return np.asarray(np.maximum(sheet, ends), dtype=np.float32)


@dataclass(frozen=True)
class Bowel:
    """A bent tube in the midline: the rectum and the anal canal.

    Attributes:
        x, y: Position of the axis at height 0.
        bend: How fast (per mm) the axis runs backwards away from height 0.
        radius: Half widths (left-right, front-back) at height 0.
        anus: Height below which the tube narrows to ``narrow`` times its width.
        narrow: Final relative width.
        wave: Relative amplitude of the folds along the tube.
        phase: Phase of the folds.
    """

    x: float
    y: float
    bend: float
    radius: tuple[float, float]
    anus: float
    narrow: float
    wave: float
    phase: float

    @property
    def centre(self) -> Vector:
        """Position of the axis at height 0."""
        return self.x, self.y, 0.0

    def extent(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half size in mm along unit ``directions``; the tube runs through the whole phantom."""
        wide, deep = 1.3 * self.radius[0], 1.3 * self.radius[1] + 2500 * self.bend
        return np.asarray(np.abs(directions) @ np.array([wide, deep, 150.0]))

    def distance(self, points: Points) -> Points:
        """Signed distance in mm, first order."""
        z = points[2]
        width = self.narrow + (1 - self.narrow) / (1 + np.exp(-(z - np.float32(self.anus)) / np.float32(5)))
        width = width * (1 + np.float32(self.wave) * np.sin(z * np.float32(0.22) + np.float32(self.phase)))
        a, b = width * np.float32(self.radius[0]), width * np.float32(self.radius[1])
        side = np.float32(self.x) + np.float32(4 * self.wave) * np.sin(z * np.float32(0.09) + np.float32(self.phase))
        back = np.float32(self.y) - np.float32(self.bend) * np.maximum(z, 0) ** 2
        u, v = (points[0] - side) / a, (points[1] - back) / b
        squared = np.maximum(u * u + v * v, CENTRAL)
        k1 = np.maximum(np.sqrt((u / a) ** 2 + (v / b) ** 2), TINY)
        return np.asarray((squared - np.sqrt(squared)) / k1, dtype=np.float32)
