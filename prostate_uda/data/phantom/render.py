"""Floor 2: paint an anatomy onto a supersampled slice; partial volume comes from averaging the samples."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prostate_uda.data.phantom.anatomy import Anatomy
from prostate_uda.data.phantom.gland import Gland, to_gland
from prostate_uda.data.phantom.protocols import Matrix
from prostate_uda.data.phantom.shapes import Ellipsoid, Points, Structure
from prostate_uda.data.phantom.tissues import Tissue

IN_PLANE = 2
WARP_MARGIN_MM = 8.0
UPWARDS = np.array([[0.0, 0.0, 1.0]])


class Placed(NamedTuple):
    """Something in the body and the voxel indices between which it lies, ``(3,)`` each."""

    structure: Structure
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def place(structures: tuple[Structure, ...], index_to_body: NDArray[np.float64]) -> list[Placed]:
    """Find where each structure lies on the scan's grid; ``index_to_body`` is ``(4, 4)``, orthogonal but for scale."""
    spacing = np.linalg.norm(index_to_body[:3, :3], axis=0)
    directions = (index_to_body[:3, :3] / spacing).T
    placed = []
    for structure in structures:
        centre = directions @ (np.asarray(structure.solid.centre) - index_to_body[:3, 3]) / spacing
        half = (structure.solid.extent(directions) + WARP_MARGIN_MM) / spacing
        placed.append(Placed(structure, centre - half, centre + half))
    return placed


@dataclass(frozen=True)
class Slab:
    """The samples of one slice: ``IN_PLANE`` × ``IN_PLANE`` per pixel and ``depth`` layers through the slice.

    Attributes:
        points: ``(3, n, n, depth)`` body coordinates in mm, rippled.
        tissue: ``(n, n, depth)`` values of :class:`Tissue`.
        zone: ``(n, n, depth)`` 0 background, 1 peripheral, 2 transition.
        first: ``(3,)`` voxel index of the first sample.
        step: ``(3,)`` voxels from one sample to the next.
    """

    points: Points
    tissue: NDArray[np.uint8]
    zone: NDArray[np.uint8]
    first: NDArray[np.float64]
    step: NDArray[np.float64]

    def box(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> tuple[slice, ...] | None:
        """Sample ranges between two voxel indices ``(3,)``, ``None`` outside the slab."""
        ranges = []
        for a, b, first, step, size in zip(low, high, self.first, self.step, self.tissue.shape, strict=True):
            start, stop = max(int((a - first) / step), 0), min(int((b - first) / step) + 2, size)
            if start >= stop:
                return None
            ranges.append(slice(start, stop))
        return tuple(ranges)

    def paint(self, placed: Placed) -> None:
        """Paint one structure over what is there."""
        box = self.box(placed.low, placed.high)
        if box is None:
            return
        view = self.tissue[box]
        for mask, tissue in placed.structure.masks(self.points[(slice(None), *box)]):
            np.copyto(view, np.uint8(tissue), where=mask)


def make_slab(anatomy: Anatomy, index_to_body: NDArray[np.float64], matrix: Matrix, index: int, depth: int) -> Slab:
    """Set up the samples of slice ``index`` with ``depth`` layers through its thickness, all of them air."""
    n = matrix.pixels * IN_PLANE
    share = matrix.thickness_mm / matrix.slice_mm
    first = np.array([0.5 / IN_PLANE - 0.5, 0.5 / IN_PLANE - 0.5, index + share * (0.5 / depth - 0.5)])
    step = np.array([1 / IN_PLANE, 1 / IN_PLANE, share / depth])
    a = (index_to_body[:3, :3] * step).astype(np.float32)
    b = (index_to_body[:3, :3] @ first + index_to_body[:3, 3]).astype(np.float32)
    i, k = np.arange(n, dtype=np.float32), np.arange(depth, dtype=np.float32)
    grid = [a[r, 0] * i[:, None, None] + (a[r, 1] * i[:, None] + (a[r, 2] * k + b[r])) for r in range(3)]
    points = _rippled(np.stack(grid), anatomy)
    blank = np.zeros((2, *points.shape[1:]), np.uint8)
    return Slab(points, blank[0], blank[1], first, step)


def _rippled(points: Points, anatomy: Anatomy) -> Points:
    """Displace points ``(3, ...)`` by long waves that grow away from the gland, so that no outline is an ellipse."""
    squared = points[0] ** 2 + points[1] ** 2 + points[2] ** 2
    far = np.float32(0.7) + np.float32(2.0) * squared / (squared + np.float32(60.0**2))
    moved = points.copy()
    for number, (amplitude, *wave, phase) in enumerate(anatomy.ripple):
        kx, ky, kz = (np.float32(k) for k in wave)
        angle = points[0] * kx + points[1] * ky + points[2] * kz + np.float32(phase)
        moved[number % 3] += np.float32(amplitude) * far * np.sin(angle)
    return moved


def paint_anatomy(slab: Slab, anatomy: Anatomy, placed: list[Placed], gland_box: Placed) -> None:
    """Paint the surroundings, then the gland inside its box."""
    for each in placed:
        if each.low[2] <= slab.first[2] + slab.step[2] * slab.tissue.shape[2] and each.high[2] >= slab.first[2]:
            slab.paint(each)
    box = slab.box(gland_box.low, gland_box.high)
    if box is not None:
        _paint_gland(slab, anatomy.gland, box)


def gland_hull(gland: Gland) -> Structure:
    """A ball that holds the gland."""
    return Structure(Ellipsoid((0.0, 0.0, 0.0), (1.3 * max(gland.shape.radii) + 3,) * 3), ())


def _paint_gland(slab: Slab, gland: Gland, box: tuple[slice, ...]) -> None:
    """Paint zones and their contents; only here are labels written."""
    points = to_gland(gland.shape, slab.points[(slice(None), *box)])
    outline, inner = gland.shape.distances(points)
    tissue, zone = slab.tissue[box], slab.zone[box]
    inside, central = outline < 0, inner < 0
    zone[inside] = np.where(central, 2, 1)[inside]
    local = np.where(central, np.uint8(Tissue.TRANSITION), np.uint8(Tissue.PERIPHERAL))
    local[(_crest(points, gland) > gland.clear) & ~central] = Tissue.INFLAMED
    for structures, allowed in (
        (gland.nodules, central & (inner < -0.8)),
        (gland.lesions, ~central & (outline < -0.7)),
    ):
        _paint_within(local, points, structures, allowed)
    _paint_stroma(local, points, gland, inner)
    local[(np.abs(inner) < 0.55) & (points[1] < 0.3 * gland.shape.radii[1])] = Tissue.FIBROUS  # surgical capsule
    local[outline > -0.7] = Tissue.FIBROUS  # capsule
    tissue[inside] = local[inside]


def _crest(points: Points, gland: Gland) -> Points:
    """Sum of the waves of inflammation, ``(...)`` for gland points ``(3, ...)``."""
    total = np.zeros(points.shape[1:], dtype=np.float32)
    for kx, ky, kz, phase in np.asarray(gland.mottle, dtype=np.float32):
        total += np.sin(points[0] * kx + points[1] * ky + points[2] * kz + phase)
    return total


def _paint_within(
    local: NDArray[np.uint8], points: Points, structures: tuple[Structure, ...], allowed: NDArray[np.bool_]
) -> None:
    """Paint structures in gland coordinates where allowed, skipping those above and below the slab."""
    bottom, top = float(points[2].min()), float(points[2].max())
    for structure in structures:
        height, half = structure.solid.centre[2], float(structure.solid.extent(UPWARDS)[0])
        if height + half < bottom or height - half > top:
            continue
        for mask, tissue in structure.masks(points):
            local[mask & allowed] = tissue


def _paint_stroma(local: NDArray[np.uint8], points: Points, gland: Gland, inner: Points) -> None:
    """The dark anterior stroma, and the urethra with its dark muscular sleeve."""
    w, h, length = gland.shape.radii
    front = (
        points[1]
        - np.float32(0.60 * h)
        - np.float32(0.25) * np.abs(points[0])
        + np.float32(0.1 * h) * points[2] / length
    )
    local[(front > 0) & (np.abs(points[0]) < 0.6 * w) & (inner < 0)] = Tissue.STROMA_ANTERIOR
    bow = np.float32(0.10 * h) + np.float32(0.25 * h) * (points[2] / np.float32(length))
    radius = np.sqrt(points[0] ** 2 + (points[1] - bow) ** 2)
    local[(radius < 3.0) & (inner < 1)] = Tissue.STROMA_ANTERIOR
    local[(radius < 1.7) & (points[2] < 0.4 * length)] = Tissue.URETHRA
