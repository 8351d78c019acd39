"""Floor 2: training augmentation of one slice stack, MONAI dictionary transforms on ``image`` and ``label``.

Arrays are ``(k, H, W)`` with rows anterior to posterior and columns right to left. Randomness comes in through
``set_random_state``, so a batch can be drawn again.
"""

from collections.abc import Callable
from math import pi

from monai.transforms import Compose, RandAdjustContrastd, RandAffined, RandFlipd, RandShiftIntensityd

LEFT_RIGHT = 1
"""The spatial axis of ``(k, H, W)`` along which a man is nearly his own mirror image."""


def no_augmentation() -> Compose:
    """Slices as they are."""
    return Compose([])


def plain() -> Compose:
    """Left-right flips, rotation ±10°, scale ±10 %, shift ±5 % of a 96-pixel slice, mild contrast and brightness.

    Labels are interpolated by nearest neighbour, so no class is invented and IGNORE stays IGNORE. What comes in
    from outside the slice repeats its border, image and label alike.
    """
    both = ("image", "label")
    return Compose(
        [
            RandFlipd(both, prob=0.5, spatial_axis=LEFT_RIGHT),
            RandAffined(
                both,
                prob=0.8,
                rotate_range=(pi / 18,),
                scale_range=(0.1, 0.1),
                translate_range=(5, 5),
                mode=("bilinear", "nearest"),
                padding_mode="border",
            ),
            RandAdjustContrastd("image", prob=0.3, gamma=(0.8, 1.25), retain_stats=True),
            RandShiftIntensityd("image", prob=0.3, offsets=0.2),
        ]
    )


AUGMENTATIONS: dict[str, Callable[[], Compose]] = {"none": no_augmentation, "plain": plain}
"""The augmentations that ``--augment`` names."""
