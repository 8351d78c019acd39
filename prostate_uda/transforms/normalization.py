"""Floor 2: intensity normalization presets, MONAI dictionary transforms on the key ``image``.

MR intensities have no unit: each preset decides what two scanners have in common. All of them see one volume at a
time, so training and inference repeat each other exactly.
"""

from collections.abc import Callable

from monai.transforms import (
    ClipIntensityPercentilesd,
    Compose,
    Identityd,
    NormalizeIntensityd,
    ScaleIntensityRangePercentilesd,
)
from monai.transforms.transform import Transform

KEY = "image"
LOWER, UPPER = 0.5, 99.5
"""Percentiles that intensities are clipped to: a coil's hot spot and a few dark voxels should not set the scale."""


def no_normalization() -> Transform:
    """Intensities as they are."""
    return Identityd(KEY)


def zscore() -> Transform:
    """Clip to the percentiles, then zero mean and unit variance over the voxels that are not padding (nonzero)."""
    return Compose([ClipIntensityPercentilesd(KEY, lower=LOWER, upper=UPPER), NormalizeIntensityd(KEY, nonzero=True)])


def minmax() -> Transform:
    """The percentiles to 0 and 1, clipped beyond."""
    return ScaleIntensityRangePercentilesd(KEY, lower=LOWER, upper=UPPER, b_min=0.0, b_max=1.0, clip=True)


NORMALIZATIONS: dict[str, Callable[[], Transform]] = {
    "none": no_normalization,
    "zscore": zscore,
    "minmax": minmax,
}
"""The presets that ``--normalize`` names."""
