"""Small things that many tests are made of."""

import torch

from prostate_uda.networks import DeepLab
from prostate_uda.networks.teacher import Teacher


def tiny_deeplab(seed: int = 0, **changes: object) -> DeepLab:
    """Two levels, batch norm, some ten thousand weights; the least image is 32 pixels a side."""
    settings: dict[str, object] = {
        "in_channels": 1,
        "num_classes": 3,
        "depth": 18,
        "widths": (4, 4, 4, 4),
        "dilations": (1, 2),
        "generator": torch.Generator().manual_seed(seed),
    }
    return DeepLab(**{**settings, **changes})  # type: ignore[arg-type]


def tiny_teacher(seed: int = 0, **changes: object) -> Teacher:
    """A tiny network that has made pseudo-labels by unlike thresholds."""
    return Teacher(tiny_deeplab(seed, **changes), torch.tensor([0.9, 0.4, 0.6]))
