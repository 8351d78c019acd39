"""Floor 2: one street scene from (look, seed, index, size): draw the street, then look at it."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prostate_uda.data.streets.camera import draw_view, expose, majority, pooled
from prostate_uda.data.streets.faces import NOTHING
from prostate_uda.data.streets.looks import Look, Size, shape_of
from prostate_uda.data.streets.raster import rasterize
from prostate_uda.data.streets.shading import draw_air, shade
from prostate_uda.data.streets.street import make_street
from prostate_uda.errors import SettingsError

HOOD = 0.06
"""Largest part of the picture's height that the car's own hood takes."""


@dataclass(frozen=True)
class StreetScene:
    """One picture.

    Attributes:
        image: ``(H, W, 3)`` uint8 RGB.
        label: ``(H, W)`` uint8 train ids, 255 where a pixel is none of the classes.
    """

    image: NDArray[np.uint8]
    label: NDArray[np.uint8]


def make_scene(look: Look, *, seed: int, index: int, size: Size) -> StreetScene:
    """Make a scene; the same arguments give the same bits.

    Args:
        look: One of :data:`~prostate_uda.data.streets.looks.LOOKS`.
        seed: Names the cohort, 0 or more.
        index: Number of the scene in the cohort, 0 or more.
        size: ``"small"`` (192 × 384) or ``"full"`` (512 × 1024).

    Raises:
        SettingsError: Unknown size, negative seed or index.
    """
    shape = shape_of(size)
    for_street, for_air, for_camera = generators(look, seed, index)
    mesh, plan = make_street(for_street, look)
    view = draw_view(for_camera, look.sensor, plan.lane, shape)
    near, index_map = rasterize(mesh.points, view)
    light = shade(mesh, view, (near, index_map), draw_air(for_air, look.weather), plan.bend)
    label = majority(mesh.labels[index_map], near)
    pixels = pooled(light)
    if look.sensor.hood and for_camera.random() < 0.6:
        _hood(pixels, label, for_camera)
    return StreetScene(expose(pixels, for_camera, look.sensor), label)


def generators(look: Look, seed: int, index: int) -> list[np.random.Generator]:
    """Independent generators (street, air, camera) of one scene and no other.

    Raises:
        SettingsError: Negative seed or index.
    """
    if seed < 0 or index < 0:
        msg = f"seed and index of a street scene are {seed} and {index}; both must be 0 or more"
        raise SettingsError(msg)
    root = np.random.SeedSequence([zlib.crc32(look.name.encode()), seed, index])
    return [np.random.default_rng(child) for child in root.spawn(3)]


def _hood(pixels: NDArray[np.float32], label: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Cover the bottom with the camera car's hood, which is none of the classes."""
    rows, columns = label.shape
    arch = 1 - 0.7 * np.linspace(-1, 1, columns) ** 2
    top = rows * (1 - HOOD * float(rng.uniform(0.4, 1.0)) * arch)
    below = np.arange(rows)[:, None] >= top
    tone = 0.12 + 0.5 * (np.arange(rows)[:, None] - top + 1) / (HOOD * rows)
    pixels[below] = np.clip(0.55 - 0.4 * tone, 0.1, 0.5)[below][:, None]
    label[below] = NOTHING
