"""Floor 2: scanners as records: what one acquisition is, and the ranges that a random one is drawn from.

Lengths and places are shares of the image's side, so that no spacing is needed; rows run from the front of the body
(0) to its back (1), columns from the man's right (0) to his left (1).
"""

from dataclasses import dataclass
from math import exp, inf, log, pi
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from prostate_uda.errors import SettingsError
from prostate_uda.maths.acquisition import array_profile, loop_profile, with_near_field

Range: TypeAlias = tuple[float, float]
COIL_REACH = 0.33
"""How far tissue moves with an endorectal coil, in radii: the rectal wall and little more."""
BELLY = 0.2
"""The share of the rows, in front, that breathes where there is no endorectal coil."""


@dataclass(frozen=True, kw_only=True)
class EndorectalCoil:
    """Where an endorectal coil lies and what it does; lengths and places are shares of the image's side.

    Attributes:
        gain: Sensitivity at the coil over the array's.
        row: Place from the front (0) to the back (1): the front wall of the rectum.
        column: Place from the man's right (0) to his left (1).
        radius: Of the loop: the near field falls to 35 % within it.
        half_width: Half of the flat plate, along the columns.
        exponent: 1 puts the coil in, -1 takes it out of an image that has it; between them both, less of it.
    """

    gain: float = 2.5
    row: float = 0.62
    column: float = 0.5
    radius: float = 0.125
    half_width: float = 0.07
    exponent: float = 1.0

    def __post_init__(self) -> None:
        if not (self.gain > 0 and self.radius > 0 and self.half_width >= 0 and -1 <= self.exponent <= 1):
            raise SettingsError(f"{self}; allowed are gain and radius > 0, half_width ≥ 0 and exponent from -1 to 1")

    def distance(self, rows: int, columns: int) -> NDArray[np.float32]:
        """Distance from the plate, ``(rows, columns)``."""
        down, right = positions(rows, columns)
        aside = np.maximum(np.abs(right - np.float32(self.column)) - np.float32(self.half_width), 0)
        return np.asarray(np.hypot(down - np.float32(self.row), aside), dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """How an image is measured again; the defaults change nothing. A record: the same one gives the same image.

    Attributes:
        gamma: Exponent of the signal, in units of its bright end (mean and three deviations): below 1 flattens.
        contrast: Signal at evenly spaced levels above none, the last the bright end; linear between. Stands in for
            T1 and T2 at another field strength. ``(1/3, 2/3, 1)`` and ``()`` change nothing.
        bias: Amplitude of the array's smooth variation.
        waves: Of that variation: cycles per side along rows and along columns, and a phase in radians, each.
        coil: The endorectal coil; ``None`` for the array alone.
        corrected: Share of the coils' profile, as an exponent, that the scanner divides out again when it has measured:
            brightness gets even, and noise grows away from the coil.
        ghost: Amplitude of the modulation of moving parts from one phase-encoding line (column) to the next.
        period: Lines per breath.
        phase: Of the breathing, radians.
        snr: The image's mean signal at unit sensitivity over the standard deviation of the noise in each quadrature
            channel of a fully sampled image.
        acquired: Share of k-space lines along rows (frequency) and columns (phase); 1 leaves that axis as it is.
        seed: Of the noise and of the motion without a period.

    Raises:
        SettingsError: a number out of its range.
    """

    gamma: float = 1.0
    contrast: tuple[float, ...] = ()
    bias: float = 0.0
    waves: tuple[tuple[float, float, float], ...] = ()
    coil: EndorectalCoil | None = None
    corrected: float = 0.0
    ghost: float = 0.0
    period: float = 3.0
    phase: float = 0.0
    snr: float = inf
    acquired: Range = (1.0, 1.0)
    seed: int = 0

    def __post_init__(self) -> None:
        fine = self.gamma > 0 and self.snr > 0 and self.ghost >= 0 and self.period > 0 and self.seed >= 0
        fine = fine and all(0 < share <= 1 for share in self.acquired) and all(level >= 0 for level in self.contrast)
        fine = fine and 0 <= self.corrected <= 1
        if not fine:
            raise SettingsError(
                f"{self}; allowed are gamma, snr and period > 0, ghost, seed and contrast ≥ 0, acquired over 0 to 1, "
                "corrected 0 to 1"
            )

    def sensitivity(self, rows: int, columns: int) -> NDArray[np.float32]:
        """What the coils multiply the signal by, ``(rows, columns)``."""
        radians = np.array((2 * pi, 2 * pi, 1))
        waves = (np.array(self.waves).reshape(-1, 3) * radians).astype(np.float32)
        array = np.maximum(array_profile(positions(rows, columns), waves, self.bias), np.float32(0.1))
        if self.coil is None:
            return array
        near = np.float32(self.coil.gain) * loop_profile(self.coil.distance(rows, columns), self.coil.radius)
        return np.asarray(with_near_field(array, near) ** np.float32(self.coil.exponent), dtype=np.float32)

    def motion(self, rows: int, columns: int) -> NDArray[np.float32]:
        """How much of each pixel's signal moves, ``(rows, columns)``: near the coil, or else the belly's wall."""
        if self.coil is not None and self.coil.exponent > 0:
            reach = np.float32(COIL_REACH * self.coil.radius)
            return np.asarray(np.exp(-self.coil.distance(rows, columns) / reach), dtype=np.float32)
        down, right = positions(rows, columns)
        return np.asarray(np.clip(1 - down / np.float32(BELLY), 0, 1) + 0 * right, dtype=np.float32)


def positions(rows: int, columns: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centres of rows ``(rows, 1)`` and columns ``(1, columns)`` as shares of the image's sides."""
    down = (np.arange(rows, dtype=np.float32) + np.float32(0.5)) / np.float32(rows)
    right = (np.arange(columns, dtype=np.float32) + np.float32(0.5)) / np.float32(columns)
    return down[:, None], right[None]


@dataclass(frozen=True, kw_only=True)
class AcquisitionRanges:
    """What a random :class:`Acquisition` is drawn from: each pair uniformly, gamma and SNR by their logarithm.

    The defaults reach from a 3T scan with an array to a 1.5T scan with an endorectal coil and beyond at both ends.

    Attributes:
        gamma: Exponent of the signal.
        contrast: Deviation of each of four levels of the piecewise linear map.
        bias: Amplitude of each of three waves of the array's variation.
        coil: Probability of an endorectal coil put in.
        uncoil: Probability of one taken out.
        gain: At the coil.
        row: Place of the coil, front to back.
        column: Place of the coil, right to left.
        radius: Of the loop.
        half_width: Of the plate.
        exponent: Of the coil's profile.
        corrected: Share of the coils' profile that is divided out after measuring.
        ghost: Amplitude of the modulation by motion.
        period: Lines per breath.
        snr: Mean signal over noise.
        acquired: Share of k-space along each axis.
    """

    gamma: Range = (0.7, 1.4)
    contrast: float = 0.12
    bias: Range = (0.0, 0.12)
    coil: float = 0.5
    uncoil: float = 0.1
    gain: Range = (1.5, 4.0)
    row: Range = (0.55, 0.72)
    column: Range = (0.44, 0.56)
    radius: Range = (0.09, 0.16)
    half_width: Range = (0.04, 0.10)
    exponent: Range = (0.8, 1.0)
    corrected: Range = (0.0, 0.9)
    ghost: Range = (0.0, 0.3)
    period: Range = (2.3, 5.0)
    snr: Range = (8.0, 40.0)
    acquired: Range = (0.55, 1.0)

    def __post_init__(self) -> None:
        pairs = {name: value for name, value in vars(self).items() if isinstance(value, tuple)}
        wrong = [f"{name} {low, high}" for name, (low, high) in pairs.items() if low > high]
        if wrong or not (0 <= self.contrast < 0.25 and min(self.gamma[0], self.snr[0]) > 0):
            raise SettingsError(
                f"ranges {', '.join(wrong) or self}; allowed are lower before upper, contrast from 0 to under 0.25, "
                "gamma and snr > 0"
            )
        if not (self.coil >= 0 and self.uncoil >= 0 and self.coil + self.uncoil <= 1):
            raise SettingsError(f"coil {self.coil}, uncoil {self.uncoil}; allowed are probabilities of sum 1 or less")

    def draw(self, rng: np.random.RandomState) -> Acquisition:
        """One scanner; the number of draws does not depend on what was drawn."""
        levels = np.arange(1, 5) / 4 + rng.uniform(-self.contrast, self.contrast, 4)
        return Acquisition(
            gamma=_drawn_log(rng, self.gamma),
            contrast=tuple(float(level) for level in levels),
            bias=rng.uniform(*self.bias),
            waves=tuple((u, v, phase) for u, v, phase in rng.uniform((-1, -1, 0), (1, 1, 2 * pi), (3, 3)).tolist()),
            coil=self._coil(rng),
            corrected=rng.uniform(*self.corrected),
            ghost=rng.uniform(*self.ghost),
            period=rng.uniform(*self.period),
            phase=rng.uniform(0, 2 * pi),
            snr=_drawn_log(rng, self.snr),
            acquired=(rng.uniform(*self.acquired), rng.uniform(*self.acquired)),
            seed=int(rng.randint(2**31 - 1)),
        )

    def _coil(self, rng: np.random.RandomState) -> EndorectalCoil | None:
        which, exponent = rng.uniform(), rng.uniform(*self.exponent)
        coil = EndorectalCoil(
            gain=rng.uniform(*self.gain),
            row=rng.uniform(*self.row),
            column=rng.uniform(*self.column),
            radius=rng.uniform(*self.radius),
            half_width=rng.uniform(*self.half_width),
            exponent=exponent if which < self.coil else -exponent,
        )
        return coil if which < self.coil + self.uncoil else None


def _drawn_log(rng: np.random.RandomState, limits: Range) -> float:
    return exp(rng.uniform(log(limits[0]), log(limits[1])))
