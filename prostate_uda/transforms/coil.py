"""Floor 2: the near field of an endorectal coil, which N4's smooth field under-corrects.

Images come in LPS: the first axis runs right to left, the second from anterior to posterior, the third up.
:func:`prostate_uda.data.preprocessing.preprocessing` sees to that before it normalizes.

The coil sits on the front wall of a balloon in the rectum. Balloon and coil are found in the image: a wide dark hole
behind the middle. How brightness falls with the distance ``d`` from the coil is fitted by the root sum of squares of
an even array and a current loop on its axis (Biot-Savart), ``√(1 + (g (a² / (a² + d²))^{3/2})²)``, and divided out.
"""

import numpy as np
from monai.config import KeysCollection
from scipy import ndimage
from torch import Tensor

from prostate_uda.errors import SettingsError
from prostate_uda.maths.acquisition import loop_profile
from prostate_uda.transforms.body import (
    Array,
    Floats,
    Mask,
    Spacing,
    body_mask,
    each_volume,
    shrink,
    shrink_factor,
    stretch,
)
from prostate_uda.transforms.correction import Correctiond, FieldCorrection

WORKING_PIXEL_MM = 2.0
MIDLINE_MM = 20.0
ANTERIOR_SHARE = 0.4
"""A balloon's middle lies within this of the image's, and behind this share of it."""

BALLOON_RADIUS_MM = 10.0
BALLOON_WIDTH_MM = 80.0
CORE_MM = 5.0
"""Radius of the widest disc in a balloon, more than gas fills; width, less than the air behind a back; smallest
radius of the parts that belong to it."""

PLATE_MM = 10.0
"""Half width of the coil."""

NEAREST_MM, FARTHEST_MM, BIN_MM = 6.0, 70.0, 4.0
"""Distances of the fit: the wall of the balloon is half air."""

BRIGHT = 0.8
"""Quantile of brightness per distance: fat and peripheral zone are bright and lie at all distances; muscle does not."""

RADII_MM = tuple(float(mm) for mm in range(10, 25, 2))
GAINS = tuple(tenths / 10 for tenths in range(81))
"""The fits that are tried, weakest first."""

FAR_MM = 40.0
WEAKEST = 1.3
"""Tissue beside the balloon that is less than this times as bright as beyond ``FAR_MM``, in the image or in the fit,
shows anatomy, or a scanner that has corrected its coil already."""


class CorrectCoilProfile(FieldCorrection):
    """Divides an image by the near field of the endorectal coil that is seen in it; without one, by 1.

    Args:
        max_gain: The field is capped here: nearer to the coil the fit is extrapolation.

    Raises:
        SettingsError: ``max_gain`` is not above 1.
    """

    def __init__(self, max_gain: float = 5.0) -> None:
        if not max_gain > 1:
            raise SettingsError(f"a coil gain of {max_gain:g} at most; it must be above 1")
        self.max_gain = max_gain

    def field(self, image: Tensor) -> Tensor:
        """The near field over the array's, 1 far away, plain float32, ``(C, X, Y, Z)`` in LPS, or a batch."""
        return each_volume(image, self._field)

    def _field(self, volume: Array, spacing: Spacing) -> Array:
        factor = shrink_factor(volume.shape, spacing, WORKING_PIXEL_MM)
        coarse, wide = shrink(volume, factor), (spacing[0] * factor, spacing[1] * factor, spacing[2])
        body = body_mask(coarse, wide)
        balloon = find_balloon(~body, wide)
        if not balloon.any():
            return np.ones_like(volume)
        distance = ndimage.distance_transform_edt(~front_wall(balloon, wide), sampling=wide)
        radius, gain = fit_near_field(*bright_profile(coarse, body, distance))
        field = np.minimum(near_field(distance, radius, gain), self.max_gain)
        return stretch(field.astype(np.float32), factor, volume.shape)


def find_balloon(void: Mask, spacing: Spacing) -> Mask:
    """The air-filled balloon of an endorectal coil.

    Args:
        void: ``(X, Y, Z)`` in LPS, where there is no tissue.
        spacing: Voxel size in mm.

    Returns:
        ``(X, Y, Z)``, empty where no hole in the middle of the back half is wide enough.
    """
    radius = np.stack([ndimage.distance_transform_edt(void[..., k], spacing[:2]) for k in range(void.shape[2])], -1)
    x, y = np.ogrid[: void.shape[0], : void.shape[1]]
    window = (np.abs(x - (void.shape[0] - 1) / 2) * spacing[0] < MIDLINE_MM) & (y >= ANTERIOR_SHARE * void.shape[1])
    inside = np.where(window[..., None], radius, 0)
    seed = np.unravel_index(inside.argmax(), inside.shape)
    if not BALLOON_RADIUS_MM <= inside[seed] < np.inf:
        return np.zeros_like(void)
    labels, _ = ndimage.label(radius >= CORE_MM)
    core = labels == labels[seed]
    if core.any(axis=(1, 2)).sum() * spacing[0] > BALLOON_WIDTH_MM:
        return np.zeros_like(void)
    return np.asarray(void & (ndimage.distance_transform_edt(~core, spacing) <= CORE_MM), dtype=np.bool_)


def front_wall(balloon: Mask, spacing: Spacing) -> Mask:
    """Where the coil lies: the foremost voxels of the balloon, near the middle of each slice of it, ``(X, Y, Z)``."""
    x = np.arange(balloon.shape[0])[:, None]
    weight = balloon.sum(axis=1)
    middle = (x * weight).sum(axis=0) / np.maximum(weight.sum(axis=0), 1)
    column = (weight > 0) & (np.abs(x - middle) * spacing[0] <= max(PLATE_MM, spacing[0]))
    foremost = np.arange(balloon.shape[1])[None, :, None] == balloon.argmax(axis=1)[:, None, :]
    return np.asarray(foremost & column[:, None, :], dtype=np.bool_)


def bright_profile(volume: Array, body: Mask, distance: Floats) -> tuple[Floats, Floats]:
    """Distances from the coil in mm and the logarithm of how bright the brightest tissue is there, ``(n,)`` each."""
    edges = np.arange(NEAREST_MM, FARTHEST_MM, BIN_MM)
    where = np.digitize(distance, [*edges, FARTHEST_MM])
    mm, logs = [], []
    for i, edge in enumerate(edges, start=1):
        voxels = volume[body & (where == i) & (volume > 0)]
        if voxels.size >= 30:
            mm.append(edge + BIN_MM / 2)
            logs.append(float(np.log(np.quantile(voxels, BRIGHT))))
    return np.array(mm), np.array(logs)


def near_field(distance: Floats, radius: float, gain: float) -> Floats:
    """Sensitivity of loop and array together over the array's, ``(...)`` for distances in mm."""
    return np.asarray(np.sqrt(1 + np.square(gain * loop_profile(distance, radius))), dtype=np.float64)


def fit_near_field(distance: Floats, logs: Floats) -> tuple[float, float]:
    """Radius in mm and gain of the loop that explain a profile, by least absolute deviation over a grid.

    Args:
        distance: ``(n,)`` mm, increasing.
        logs: ``(n,)`` logarithm of brightness.

    Returns:
        The first of equal fits, so the weakest; gain 0 where the near tissue is not brighter than the far.
    """
    nothing = RADII_MM[0], 0.0
    far = logs[distance > FAR_MM]
    if len(far) < 2 or np.mean(logs[:2]) - np.median(far) < np.log(WEAKEST):
        return nothing
    fits = [(radius, gain) for gain in GAINS for radius in RADII_MM]
    left = np.stack([logs - np.log(near_field(distance, radius, gain)) for radius, gain in fits])
    misfit = np.abs(left - np.median(left, axis=1, keepdims=True)).mean(axis=1)
    best = fits[int(misfit.argmin())]
    return best if near_field(distance[:1], *best) >= WEAKEST else nothing


class CorrectCoilProfiled(Correctiond):
    """Dictionary version of :class:`CorrectCoilProfile`.

    Args:
        keys: Of the images, in LPS.
        max_gain: As in the array version.
        invertible: Record the field, so that ``inverse`` multiplies by it; see :class:`Correctiond`.
        allow_missing_keys: Pass over entries without a key.
    """

    def __init__(
        self, keys: KeysCollection, max_gain: float = 5.0, *, invertible: bool = False, allow_missing_keys: bool = False
    ) -> None:
        coil = CorrectCoilProfile(max_gain)
        super().__init__(coil, keys, invertible=invertible, allow_missing_keys=allow_missing_keys)
