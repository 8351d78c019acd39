"""Floor 2: MONAI transforms by name."""

from prostate_uda.transforms.augmentation import AUGMENTATIONS
from prostate_uda.transforms.normalization import NORMALIZATIONS

__all__ = ["AUGMENTATIONS", "NORMALIZATIONS"]
