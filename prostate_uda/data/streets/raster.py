"""Floor 2: faces to pixels: which face each pixel shows, and how near it is.

A nearness buffer decides what is in front. It holds one over the depth in perspective and minus the depth in parallel
projection: both are linear on the screen within a flat face, so they are exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon

from prostate_uda.data.streets.faces import Points

NEAR = 0.5
"""Nothing nearer to the camera than this, in metres, is drawn."""


LARGE = 600
"""Pixels of a polygon's box from which on it is worth asking whether it is convex."""


@dataclass(frozen=True)
class View:
    """A camera, or with ``parallel`` the sun.

    Attributes:
        axes: ``(3, 3)``, rows right, up and forward in the world.
        position: ``(3,)`` in the world, metres.
        focal: Pixels per unit of slope, or pixels per metre where ``parallel``.
        centre: ``(column, row)`` that looks straight forward.
        shape: ``(rows, columns)`` of the picture.
        parallel: Parallel rays.
    """

    axes: NDArray[np.float64]
    position: NDArray[np.float64]
    focal: float
    centre: tuple[float, float]
    shape: tuple[int, int]
    parallel: bool = False

    def local(self, points: Points) -> Points:
        """World points ``(n, 3)`` along the view's axes."""
        return (points - self.position) @ self.axes.T

    def screen(self, local: Points) -> tuple[Points, Points]:
        """Columns and rows of local points ``(n, 3)``."""
        scale = self.focal if self.parallel else self.focal / local[:, 2]
        return self.centre[0] + scale * local[:, 0], self.centre[1] - scale * local[:, 1]

    def rays(self) -> NDArray[np.float32]:
        """World direction of each pixel, ``(rows, columns, 3)``, one metre deep along the forward axis."""
        rows, columns = np.indices(self.shape, dtype=np.float32)
        x, y = (columns - self.centre[0]) / self.focal, (self.centre[1] - rows) / self.focal
        right, up, forward = self.axes.astype(np.float32)
        return np.asarray(x[..., None] * right + y[..., None] * up + forward, dtype=np.float32)

    def planes(self, faces: Sequence[Points]) -> NDArray[np.float64]:
        """Coefficients ``(faces, 3)`` of column, row and 1 of flat faces' nearness; NaN where one is seen edge-on.

        Args:
            faces: Local points ``(n, 3)`` of each.
        """
        normals = face_normals(faces)
        distance = (normals * np.stack([face[0] for face in faces])).sum(axis=1)
        over, sign = (normals[:, 2], -1) if self.parallel else (distance, 1)
        over = np.where(np.abs(over) < 1e-6, np.nan, over)
        across, down = normals[:, 0] / self.focal / over, -normals[:, 1] / self.focal / over
        straight = sign * (distance if self.parallel else normals[:, 2]) / over
        return np.column_stack([across, down, straight - across * self.centre[0] - down * self.centre[1]])


def face_normals(faces: Sequence[Points]) -> NDArray[np.float64]:
    """Unit normals of flat polygons ``(n, 3)``, by Newell's sum; zero where one has no area."""
    lengths = np.array([len(face) for face in faces])
    ends = np.cumsum(lengths)
    points = np.concatenate(faces)
    following = np.arange(1, len(points) + 1)
    following[ends - 1] = ends - lengths
    sums = np.add.reduceat(np.cross(points, points[following]), ends - lengths, axis=0)
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12))


def rasterize(faces: Sequence[Points], view: View) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """What each pixel shows.

    Args:
        faces: One flat polygon ``(n, 3)`` per face, world metres.
        view: Who looks.

    Returns:
        Nearness ``(rows, columns)``, minus infinity where nothing is, and the face's number there, -1 where none is.
    """
    near = np.full(view.shape, -np.inf, dtype=np.float32)
    index = np.full(view.shape, -1, dtype=np.int32)
    ends = np.cumsum([len(face) for face in faces])
    seen = np.split(view.local(np.concatenate(faces)), ends[:-1])
    for number, (local, plane) in enumerate(zip(seen, view.planes(seen), strict=True)):
        pixels = _pixels(local, view)
        if pixels is None or np.isnan(plane[0]):
            continue
        r, c = pixels
        at = r * view.shape[1] + c
        value = (plane[0] * c + plane[1] * r + plane[2]).astype(np.float32)
        front = value > near.take(at)
        at = at[front]
        near.reshape(-1)[at] = value[front]
        index.reshape(-1)[at] = number
    return near, index


def _pixels(local: Points, view: View) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Rows and columns of the pixels that a face covers; None where it is out of sight."""
    if not view.parallel:
        local = _cut(local)
        if len(local) < 3:
            return None
    columns, rows = view.screen(local)
    if columns.max() < 0 or rows.max() < 0 or columns.min() > view.shape[1] or rows.min() > view.shape[0]:
        return None
    return _filled(rows, columns, view.shape)


def _filled(rows: Points, columns: Points, shape: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the pixels within a polygon; large convex ones row by row, many times faster."""
    area = (rows.max() - rows.min()) * (columns.max() - columns.min())
    if area < LARGE or not _is_convex(rows, columns):
        r, c = polygon(rows, columns, shape)
        return r, c
    y = np.arange(max(0, np.ceil(rows.min())), min(shape[0] - 1, np.floor(rows.max())) + 1)
    fall, run = np.roll(rows, -1) - rows, np.roll(columns, -1) - columns
    share = (y[:, None] - rows) / np.where(fall == 0, np.inf, fall)
    x = columns + share * run
    crosses = (share >= 0) & (share <= 1)
    first = np.ceil(np.maximum(np.where(crosses, x, np.inf).min(axis=1), 0)).clip(max=shape[1])
    last = np.floor(np.minimum(np.where(crosses, x, -np.inf).max(axis=1), shape[1] - 1))
    count = np.maximum(last - first + 1, 0).astype(np.int64)
    start = first.astype(np.int64) - (np.cumsum(count) - count)
    return np.repeat(y.astype(np.int64), count), np.arange(count.sum()) + np.repeat(start, count)


def _is_convex(rows: Points, columns: Points) -> bool:
    fall, run = np.roll(rows, -1) - rows, np.roll(columns, -1) - columns
    turn = run * np.roll(fall, -1) - fall * np.roll(run, -1)
    return bool((turn >= 0).all() or (turn <= 0).all())


def _cut(local: Points) -> Points:
    """Cut off the part of a polygon that is nearer than :data:`NEAR` or behind the camera."""
    inside = local[:, 2] >= NEAR
    if inside.all() or not inside.any():
        return local if inside.all() else local[:0]
    kept = []
    for i in range(len(local)):
        a, b = local[i - 1], local[i]
        if inside[i - 1] != inside[i]:
            kept.append(a + (b - a) * ((NEAR - a[2]) / (b[2] - a[2])))
        if inside[i]:
            kept.append(b)
    return np.asarray(kept)
