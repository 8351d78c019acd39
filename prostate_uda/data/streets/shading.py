"""Floor 2: light on the faces that a view shows: textures, sun, shadows, haze and the sky behind."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from prostate_uda.data.streets.faces import Mesh, Points, Surface
from prostate_uda.data.streets.looks import Weather
from prostate_uda.data.streets.raster import View, face_normals, rasterize
from prostate_uda.data.streets.textures import TEXTURES, Floats, Noise, Samples

SHADOW_SIDE = 512
"""Rows and columns of the map of what the sun sees."""

SHADOW_SPAN = 56.0
"""Metres across that map; the street further away is lit."""

MIDDLE_M = 16.0
"""Distance at which the blur of shadows' edges is as many pixels as it says in metres."""

LOOSE = 0.9
"""Metres behind the sun's first hit that still count as lit on cut-outs and leaves."""

LOW = 0.25
"""What reaches no higher, in metres, throws no shadow."""

TIGHT = 0.3
"""The same on solid faces."""


@dataclass(frozen=True)
class Air:
    """The light of one case.

    Attributes:
        sun: ``(3,)`` unit vector towards the sun.
        haze: Extinction per metre.
        clouds: Cover, 0 to 1.
        weather: Where the rest comes from.
        noise: Tiles that surfaces and clouds are textured with.
    """

    sun: NDArray[np.float64]
    haze: float
    clouds: float
    weather: Weather
    noise: Noise


@dataclass(frozen=True)
class Faces:
    """A mesh as arrays, one row per face."""

    colour: Floats
    surface: NDArray[np.uint8]
    pattern: Floats
    normal: Floats
    origin: Floats
    along: Floats
    flat: NDArray[np.bool_]
    chance: Floats


def draw_air(rng: np.random.Generator, weather: Weather) -> Air:
    """Draw the hour and the weather of one case."""
    elevation, azimuth = np.radians(rng.uniform(*weather.elevation)), np.radians(rng.uniform(-150, 150))
    level = np.cos(elevation)
    sun = np.array([level * np.sin(azimuth), np.sin(elevation), level * np.cos(azimuth)])
    return Air(sun, float(rng.uniform(*weather.haze)), float(rng.uniform(*weather.clouds)), weather, Noise(rng))


def gather(mesh: Mesh) -> Faces:
    """Arrays of a finished mesh; normals look to the camera's side of the street."""
    normals = face_normals(mesh.points)
    origin = np.stack([points[0] for points in mesh.points])
    towards = (np.array([0.0, 1.5, 0.0]) - origin) * normals
    normals = np.where(towards.sum(axis=1, keepdims=True) < 0, -normals, normals)
    along = np.column_stack([normals[:, 2], np.zeros(len(normals)), -normals[:, 0]])
    length = np.linalg.norm(along, axis=1, keepdims=True)
    along = np.where(length > 0.2, along / np.maximum(length, 1e-9), (1.0, 0.0, 0.0))
    single = np.float32
    return Faces(
        colour=np.array([paint.colour for paint in mesh.paints], dtype=single),
        surface=np.array([paint.surface for paint in mesh.paints], dtype=np.uint8),
        pattern=np.array([paint.pattern for paint in mesh.paints], dtype=single),
        normal=normals.astype(single),
        origin=origin.astype(single),
        along=along.astype(single),
        flat=np.array([pivot is not None for pivot in mesh.pivots]),
        chance=((np.arange(len(normals)) * 0.61803398875) % 1).astype(single),
    )


def shade(mesh: Mesh, view: View, seen: tuple[Floats, NDArray[np.int32]], air: Air, bend: float) -> Floats:
    """Colour of every pixel.

    Args:
        mesh: The street, already bent.
        view: Who looks.
        seen: What :func:`~prostate_uda.data.streets.raster.rasterize` says that the view shows.
        air: Light and haze.
        bend: Sideways shift of the road per squared metre, which markings follow.

    Returns:
        ``(rows, columns, 3)``, 0 black, about 1 white.
    """
    near, index = seen
    rays = view.rays()
    picture = _sky(rays, air)
    hit = index >= 0
    depth = 1 / near[hit]
    points: Floats = (rays[hit] * depth[:, None] + view.position).astype(np.float32)
    faces, which = gather(mesh), index[hit]
    colour = _textured(faces, which, points, air, bend)
    shadow = np.zeros(view.shape, dtype=np.float32)
    shadow[hit] = _shadow(mesh, faces, which, points, air)
    if air.weather.softness:
        shadow = gaussian_filter(shadow, air.weather.softness * view.focal / MIDDLE_M)
    lit = colour * _light(faces, which, shadow[hit], air)
    glowing = faces.surface[which] == Surface.LAMP
    lit[glowing] = colour[glowing]
    far = np.exp(-air.haze * depth)[:, None]
    picture[hit] = lit * far + (1 - far) * np.array(air.weather.horizon, dtype=np.float32)
    return picture


def _textured(faces: Faces, which: NDArray[np.int32], points: Floats, air: Air, bend: float) -> Floats:
    """Unlit colour ``(n, 3)`` of the points that faces show."""
    relative = points - faces.origin[which]
    level = np.abs(faces.normal[which, 1]) > 0.9
    u = np.where(
        level, points[:, 0] - np.float32(bend) * points[:, 2] ** 2, (relative * faces.along[which]).sum(axis=1)
    )
    v = np.where(level, points[:, 2], relative[:, 1])
    colour = faces.colour[which]
    surface = faces.surface[which]
    for kind, texture in TEXTURES.items():
        of = np.flatnonzero(surface == kind)
        if len(of):
            face = which[of]
            samples = Samples(u[of], v[of], faces.pattern[face], colour[of], faces.chance[face], air.weather.texture)
            colour[of] = texture(samples, air.noise)
    return np.clip(colour, 0, 1)


def _light(faces: Faces, which: NDArray[np.int32], shadow: Floats, air: Air) -> Floats:
    """Light ``(n, 3)`` on points that are in so much ``(n,)`` shadow."""
    facing = np.clip(faces.normal @ air.sun.astype(np.float32), 0, 1)
    facing[faces.flat] = 0.6
    taken = np.float32(air.weather.shadow * (1 - 0.7 * air.clouds))
    sun = facing[which] * (1 - taken * shadow)
    above = 0.82 + 0.18 * np.abs(faces.normal[:, 1])
    ambient = above[which, None] * np.array(air.weather.ambient, dtype=np.float32)
    return np.asarray(ambient + sun[:, None] * np.array(air.weather.sun, dtype=np.float32), dtype=np.float32)


def _shadow(mesh: Mesh, faces: Faces, which: NDArray[np.int32], points: Floats, air: Air) -> Floats:
    """Share of the sun, 0 to 1, that other faces keep from the points."""
    back = -air.sun
    right = np.cross([0.0, 1.0, 0.0], back)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(back, right), back])
    middle = np.array([0.0, 0.0, 0.42 * SHADOW_SPAN])
    side = (SHADOW_SIDE, SHADOW_SIDE)
    view = View(axes, middle, SHADOW_SIDE / SHADOW_SPAN, (SHADOW_SIDE / 2, SHADOW_SIDE / 2), side, parallel=True)
    near, _ = rasterize(_casting(mesh, air.sun), view)
    local = view.local(points.astype(np.float64))
    columns, rows = (np.rint(value).astype(np.int64) for value in view.screen(local))
    inside = (columns >= 0) & (columns < side[1]) & (rows >= 0) & (rows < side[0])
    first = near[np.clip(rows, 0, side[0] - 1), np.clip(columns, 0, side[1] - 1)]
    loose = faces.flat | (faces.surface == Surface.LEAVES)
    hidden = inside & (-local[:, 2] < first - np.where(loose, LOOSE, TIGHT)[which])
    return hidden.astype(np.float32)


def _casting(mesh: Mesh, sun: NDArray[np.float64]) -> list[Points]:
    """The faces above the ground, with the cut-outs turned to the sun, so that they throw a shadow."""
    level = sun[[0, 2]] / np.linalg.norm(sun[[0, 2]])
    turned = []
    for points, pivot in zip(mesh.points, mesh.pivots, strict=True):
        if points[:, 1].max() < LOW:
            continue
        if pivot is None:
            turned.append(points)
            continue
        x, z = points[:, 0] - pivot[0], points[:, 2] - pivot[1]
        turned.append(np.column_stack([pivot[0] + x * level[1] - z * level[0], points[:, 1],
                                       pivot[1] - x * level[0] - z * level[1]]))  # fmt: skip
    return turned


def _sky(rays: Floats, air: Air) -> Floats:
    """The sky in every direction ``(rows, columns, 3)``."""
    up = np.clip(rays[..., 1] / np.linalg.norm(rays, axis=-1), 0, 1)
    share = np.sqrt(up)[..., None]
    horizon, zenith = (np.array(c, dtype=np.float32) for c in (air.weather.horizon, air.weather.zenith))
    blue = (1 - share) * horizon + share * zenith
    east, north = (np.asarray(rays[..., k] / np.maximum(rays[..., 1], 0.03), dtype=np.float32) for k in (0, 2))
    bank = air.noise.at(east, north, 24) * 0.5
    bank = gaussian_filter(bank, 0.012 * rays.shape[1]) * 2.2 + 2.6 * (air.clouds - 0.5)
    cover = np.clip(0.35 + bank, 0, 1)[..., None]
    cloud = np.array([0.93, 0.93, 0.94], dtype=np.float32) * (1 - 0.10 * np.clip(bank, 0, 1.5)[..., None])
    return np.asarray(blue * (1 - cover) + cloud * cover, dtype=np.float32)
