"""Floor 2: training augmentation of one slice stack, MONAI dictionary transforms on ``image`` and ``label``.

Arrays are ``(k, H, W)`` with rows anterior to posterior and columns right to left. Randomness comes in through
``set_random_state``, so a batch can be drawn again.
"""

from collections.abc import Callable, Iterator
from math import pi
from typing import Any

import numpy as np
from monai.transforms import (
    Compose,
    RandAdjustContrastd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    Randomizable,
    RandShiftIntensityd,
    RandSimulateLowResolutiond,
)
from monai.utils import MAX_SEED

from prostate_uda.transforms.acquisition import RandSimulateAcquisitiond
from prostate_uda.transforms.geometry import RandSliceAffined, RandSliceFlipd

LEFT_RIGHT = 1
"""The spatial axis of ``(k, H, W)`` along which a man is nearly his own mirror image."""


class SliceAugmentation(Compose):  # type: ignore[misc]  # MONAI ships no types
    """A Compose that is given a new seed for every slice: it seeds its generators again instead of making new ones.

    The numbers are those of MONAI's Compose. Making a NumPy ``RandomState`` costs 50 times what seeding one does, and
    a dictionary transform has two or three.
    """

    _made = False

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> "SliceAugmentation":
        """As MONAI's."""
        if seed is None or not self._made:
            super().set_random_state(seed, state)
            self._made = seed is not None
            return self
        self.R.seed(seed % MAX_SEED)
        for transform in self.transforms:
            if isinstance(transform, Randomizable):
                own = self.R.randint(MAX_SEED, dtype="uint32")
                for generator in _generators(transform):
                    generator.seed(own)
        return self


def _generators(transform: Randomizable) -> Iterator[np.random.RandomState]:
    """The generators that a transform and its parts own, not the one that all of MONAI shares before it is seeded."""
    for name, value in vars(transform).items():
        if name == "R":
            yield value
        elif isinstance(value, Randomizable):
            yield from _generators(value)


def no_augmentation() -> Compose:
    """Slices as they are."""
    return Compose([])


def plain() -> Compose:
    """Left-right flips, rotation ±10°, scale ±10 %, shift ±5 % of a 96-pixel slice, mild contrast and brightness.

    Labels are interpolated by nearest neighbour, so no class is invented and IGNORE stays IGNORE. What comes in
    from outside the slice repeats its border, image and label alike.
    """
    return SliceAugmentation(
        [
            *_moved(),
            RandAdjustContrastd("image", prob=0.3, gamma=(0.8, 1.25), retain_stats=True),
            RandShiftIntensityd("image", prob=0.3, offsets=0.2),
        ]
    )


def strong() -> Compose:
    """The geometry of :func:`plain`, another scanner for most slices, and more contrast, blur, noise, brightness.

    What another scanner does is :class:`~prostate_uda.transforms.scanner.AcquisitionRanges`: coils, near field, ghosts,
    noise, resolution. The slice keeps its mean and deviation, as a normalized scan of that scanner would have them.
    The phantom's scanners are made of the same equations, so what this gains on the phantom flatters it.
    """
    return SliceAugmentation(
        [
            *_moved(),
            RandSimulateAcquisitiond("image", prob=0.7, retain_stats=True),
            RandAdjustContrastd("image", prob=0.3, gamma=(0.6, 1.6), retain_stats=True),
            RandGaussianSmoothd("image", prob=0.15, sigma_x=(0.3, 1.0), sigma_y=(0.3, 1.0)),
            RandSimulateLowResolutiond("image", prob=0.15, upsample_mode="bilinear", zoom_range=(0.5, 1.0)),
            RandGaussianNoised("image", prob=0.15, std=0.2),
            RandShiftIntensityd("image", prob=0.5, offsets=0.3),
        ]
    )


def other_scanner() -> Compose:
    """Every slice as another scanner would have seen it, see :func:`strong`; nothing moves."""
    return SliceAugmentation([RandSimulateAcquisitiond("image", prob=1.0, retain_stats=True)])


def _moved() -> list[Any]:
    """What moves image and label alike."""
    both = ("image", "label")
    return [
        RandSliceFlipd(both, prob=0.5, spatial_axis=LEFT_RIGHT),
        RandSliceAffined(
            both,
            prob=0.8,
            rotate_range=(pi / 18,),
            scale_range=(0.1, 0.1),
            translate_range=(5, 5),
            mode=("bilinear", "nearest"),
            padding_mode="border",
        ),
    ]


AUGMENTATIONS: dict[str, Callable[[], Compose]] = {"none": no_augmentation, "plain": plain, "strong": strong}
"""The augmentations that ``--augment`` names."""
