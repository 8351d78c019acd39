"""Floor 2: from light to a picture: where the camera is, and what lens, sensor and file do."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from prostate_uda.data.streets.looks import Sensor
from prostate_uda.data.streets.raster import View
from prostate_uda.data.streets.textures import Floats

SAMPLES = 2
"""Samples per pixel along either axis."""

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def draw_view(rng: np.random.Generator, sensor: Sensor, lane: float, shape: tuple[int, int]) -> View:
    """Draw where the camera is and looks; the view has :data:`SAMPLES` samples per pixel."""
    pitch = np.radians(rng.uniform(*sensor.pitch))
    yaw = np.radians(rng.uniform(-sensor.yaw, sensor.yaw))
    forward = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    position = np.array([lane, rng.uniform(*sensor.height), 0.0])
    rows, columns = (SAMPLES * side for side in shape)
    focal = float(rng.uniform(*sensor.focal)) * columns
    axes = np.stack([right, np.cross(forward, right), forward])
    return View(axes, position, focal, ((columns - 1) / 2, 0.46 * rows), (rows, columns))


def pooled(samples: Floats) -> Floats:
    """Mean of the samples ``(rows, columns, 3)`` of every pixel."""
    h, w = samples.shape[0] // SAMPLES, samples.shape[1] // SAMPLES
    return np.asarray(samples.reshape(h, SAMPLES, w, SAMPLES, 3).mean(axis=(1, 3)), dtype=np.float32)


def majority(labels: NDArray[np.uint8], near: Floats) -> NDArray[np.uint8]:
    """Class of every pixel: the one of most of its samples, and of the nearest one where two have as many."""
    h, w = labels.shape[0] // SAMPLES, labels.shape[1] // SAMPLES
    parts = labels.reshape(h, SAMPLES, w, SAMPLES).transpose(1, 3, 0, 2).reshape(-1, h, w)
    depth = near.reshape(h, SAMPLES, w, SAMPLES).transpose(1, 3, 0, 2).reshape(-1, h, w)
    votes = (parts[:, None] == parts[None]).sum(axis=1).astype(np.float32)
    nearness = np.where(np.isfinite(depth), depth, 0)
    best = (votes + 0.5 * nearness / (1 + nearness)).argmax(axis=0)
    return np.asarray(np.take_along_axis(parts, best[None], axis=0)[0])


def expose(light: Floats, rng: np.random.Generator, sensor: Sensor) -> NDArray[np.uint8]:
    """The picture ``(rows, columns, 3)`` that the camera makes of the light on its pixels."""
    rows, columns = light.shape[:2]
    drawn = [float(rng.uniform(*span)) for span in (sensor.exposure, sensor.contrast, sensor.saturation, sensor.blur)]
    exposure, contrast, saturation, blur = drawn
    sigma = blur * float(np.sqrt(columns / 384))
    picture = np.stack([gaussian_filter(light[..., c], sigma) for c in range(3)], axis=-1) if sigma > 0 else light
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    lens = (1 - sensor.vignette * np.clip((x**2 + y**2) / 2, 0, 1) ** 1.3).astype(np.float32)
    gain = np.float32(2.0**exposure) * np.array(sensor.white, dtype=np.float32)
    picture = np.clip(picture * lens[..., None] * gain, 0, 4)
    picture = np.where(picture > 0.8, 0.8 + 0.2 * np.tanh((picture - 0.8) / 0.2), picture) ** np.float32(contrast)
    grey = (picture @ LUMA)[..., None]
    picture = grey + saturation * (picture - grey)
    if sensor.noise > 0:
        grain = rng.standard_normal(picture.shape).astype(np.float32)
        picture = picture + sensor.noise * np.sqrt(0.15 + np.clip(picture, 0, 1)) * grain
    digital = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return digital if sensor.quality is None else _filed(digital, int(rng.integers(*sensor.quality)))


def _filed(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """The picture after a JPEG file."""
    with BytesIO() as file:
        Image.fromarray(picture).save(file, format="JPEG", quality=quality)
        with Image.open(file) as back:
            return np.array(back.convert("RGB"))
