"""Floor 2: one scanner's image made to look like another's: contrast, coil, ghosts, noise, resolution.

Physics acts on magnitudes, networks see normalized images. So an image's darkest value is taken for no signal where it
is negative, and 0 where it is not; what is above is the magnitude, and when the physics is done the darkest value is
added again. Lengths are shares of the image's side, so that no spacing is needed.

MONAI's ``RandGibbsNoise``, ``RandRicianNoise`` and ``RandBiasField`` each do one of these things to any image, but know
no near field, keep what they drew to themselves and cannot be put in the order in which a scanner does them: the coil
weighs the signal, noise comes after the coil, and only the k-space lines that were acquired hold either.
"""

from collections.abc import Hashable, Mapping
from math import pi
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform, Transform
from torch import Tensor

from prostate_uda.maths.acquisition import (
    complex_noise,
    filtered,
    ghosts,
    line_modulation,
    line_window,
)
from prostate_uda.transforms.dictionary import OneDrawd
from prostate_uda.transforms.planes import InPlane, from_planes, to_planes
from prostate_uda.transforms.scanner import Acquisition, AcquisitionRanges

TINY = 1e-8


class SimulateAcquisition(Transform):  # type: ignore[misc]  # MONAI ships no types
    """Measures an image again, as a scanner described by an :class:`Acquisition` would.

    Args:
        acquisition: The scanner.
        retain_stats: Give the image back its mean and standard deviation, as MONAI's ``AdjustContrast`` does: for
            images that are normalized, and would be again.
        in_plane: Axes of rows (anterior to posterior) and columns; see :mod:`~prostate_uda.transforms.planes`.
    """

    def __init__(
        self, acquisition: Acquisition | None = None, *, retain_stats: bool = False, in_plane: InPlane = None
    ) -> None:
        self.acquisition = acquisition or Acquisition()
        self.retain_stats, self.in_plane = retain_stats, in_plane

    def __call__(self, img: Tensor) -> Tensor:
        """The image, measured again.

        Args:
            img: ``(k, H, W)`` or ``(1, X, Y, Z)``, normalized or magnitudes. Each plane has its own noise and ghosts.

        Returns:
            float32 of the same shape; a MetaTensor keeps its affine and its history.

        Raises:
            ShapeError: the image is neither.
        """
        planes = to_planes(img, self.in_plane)
        zero = planes.min().clamp(max=0.0)
        measured = measure(planes - zero, self.acquisition) + zero
        if self.retain_stats:
            scale = planes.std() / measured.std().clamp_min(TINY)
            measured = (measured - measured.mean()) * scale + planes.mean()
        return from_planes(measured, img, self.in_plane)


def measure(signal: Tensor, acquisition: Acquisition) -> Tensor:
    """Contrast, coil, ghosts, noise, acquired k-space, magnitude, correction of the coil: in this order.

    Args:
        signal: ``(n, rows, columns)``, 0 is no signal.
        acquisition: The scanner.

    Returns:
        ``(n, rows, columns)`` magnitudes.
    """
    size = signal.shape[-2:]
    generator = torch.Generator().manual_seed(acquisition.seed)
    sigma = float(signal.mean()) / acquisition.snr
    seen = remapped(signal, acquisition.gamma, acquisition.contrast)
    profile = torch.from_numpy(acquisition.sensitivity(*size))
    seen = seen * profile
    if acquisition.ghost:
        seen = seen + ghosts(seen * torch.from_numpy(acquisition.motion(*size)), _lines(signal, acquisition))
    if sigma:
        seen = seen + complex_noise(signal.shape, sigma, generator)
    if acquisition.acquired != (1.0, 1.0):
        seen = filtered(seen, *(_window(*axis) for axis in zip(size, acquisition.acquired, strict=True)))
    return seen.abs() / profile**acquisition.corrected


def _lines(signal: Tensor, acquisition: Acquisition) -> Tensor:
    """``(n, 1, columns)`` modulation: each plane is met in another phase of the same breathing."""
    rng = np.random.default_rng(acquisition.seed)
    count, lines = len(signal), signal.shape[-1]
    phases = acquisition.phase + np.append(0.0, rng.uniform(0, 2 * pi, count - 1))
    made = line_modulation(
        rng.standard_normal((count, lines)),
        strength=acquisition.ghost,
        period=acquisition.period,
        phase=phases[:, None],
    )
    return torch.from_numpy(made)[:, None]


def _window(pixels: int, acquired: float) -> Tensor:
    return torch.from_numpy(line_window(pixels, acquired)) if acquired < 1 else torch.ones(pixels)


def remapped(signal: Tensor, gamma: float, contrast: tuple[float, ...]) -> Tensor:
    """Another contrast: a power of the signal, then a piecewise linear map; none stays none.

    Args:
        signal: Any shape, ≥ 0.
        gamma: The power, in units of the bright end.
        contrast: Signal at evenly spaced levels, the bright end last; beyond it the last piece goes on.
    """
    if gamma == 1 and not contrast:
        return signal
    bright = (signal.mean() + 3 * signal.std()).clamp_min(TINY)
    level = signal / bright
    if gamma != 1:
        level = level**gamma
    if contrast:
        slopes = np.diff((0.0, *contrast)) * len(contrast)
        bends = zip(np.arange(1, len(contrast)) / len(contrast), np.diff(slopes), strict=True)
        bent = level * slopes[0]
        for start, change in bends:
            bent += (level - start).clamp_(min=0) * change
        level = bent.clamp_(min=0)
    return level * bright


class SimulateAcquisitiond(MapTransform):  # type: ignore[misc]
    """Dictionary version of :class:`SimulateAcquisition`; labels are no keys of it.

    Args:
        keys: Of the images.
        acquisition: The scanner.
        retain_stats: As the array version.
        in_plane: As the array version.
        allow_missing_keys: Whether an entry may lack a key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        acquisition: Acquisition | None = None,
        *,
        retain_stats: bool = False,
        in_plane: InPlane = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.simulate = SimulateAcquisition(acquisition, retain_stats=retain_stats, in_plane=in_plane)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same entry with its images measured again."""
        return {**data, **{key: self.simulate(data[key]) for key in self.key_iterator(dict(data))}}


class RandSimulateAcquisition(RandomizableTransform):  # type: ignore[misc]
    """Measures an image as a scanner drawn at random would; what was drawn stands in ``acquisition``.

    ``SimulateAcquisition(rand.acquisition)`` does the same again, bit for bit.

    Args:
        prob: Share of the images that are measured again.
        ranges: What is drawn.
        retain_stats: As :class:`SimulateAcquisition`.
        in_plane: As :class:`SimulateAcquisition`.

    Attributes:
        acquisition: The scanner drawn last; the neutral one before the first draw and where nothing is done.
    """

    def __init__(
        self,
        prob: float = 0.5,
        ranges: AcquisitionRanges | None = None,
        *,
        retain_stats: bool = False,
        in_plane: InPlane = None,
    ) -> None:
        super().__init__(prob)
        self.ranges = ranges or AcquisitionRanges()
        self.retain_stats, self.in_plane = retain_stats, in_plane
        self.acquisition = Acquisition()

    def randomize(self, data: Any = None) -> None:  # noqa: ANN401  MONAI's contract
        """Draws whether anything is done, and the scanner."""
        super().randomize(data)
        self.acquisition = self.ranges.draw(self.R) if self._do_transform else Acquisition()

    def __call__(self, img: Tensor, randomize: bool = True) -> Tensor:
        """As :class:`SimulateAcquisition`.

        Args:
            img: ``(k, H, W)`` or ``(1, X, Y, Z)``.
            randomize: Draw first; otherwise what was drawn last is done again.
        """
        if randomize:
            self.randomize()
        if not self._do_transform:
            return img
        simulate = SimulateAcquisition(self.acquisition, retain_stats=self.retain_stats, in_plane=self.in_plane)
        return simulate(img)


class RandSimulateAcquisitiond(OneDrawd):
    """Dictionary version of :class:`RandSimulateAcquisition`: one draw for all keys; labels are no keys of it.

    Args:
        keys: Of the images.
        prob: As the array version.
        ranges: As the array version.
        retain_stats: As the array version.
        in_plane: As the array version.
        allow_missing_keys: Whether an entry may lack a key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.5,
        ranges: AcquisitionRanges | None = None,
        *,
        retain_stats: bool = False,
        in_plane: InPlane = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(
            keys,
            RandSimulateAcquisition(prob, ranges, retain_stats=retain_stats, in_plane=in_plane),
            allow_missing_keys,
        )
