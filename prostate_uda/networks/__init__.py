"""Floor 2, the segmentation networks by name, and what is built beside them.

Every entry of :data:`NETWORKS` takes ``in_channels`` and ``num_classes`` and returns
:class:`~prostate_uda.networks.levels.Levels`.
"""

from collections.abc import Callable
from functools import partial

import torch

from prostate_uda.errors import UnknownNameError
from prostate_uda.networks.deeplab import DeepLab, DilatedSum, Heads
from prostate_uda.networks.discriminators import Discriminator, DomainPredictor
from prostate_uda.networks.imagenet import load_imagenet_weights
from prostate_uda.networks.levels import AllLevels, FinalLogits, Levels

__all__ = [
    "NETWORKS",
    "AllLevels",
    "DeepLab",
    "DilatedSum",
    "Discriminator",
    "DomainPredictor",
    "FinalLogits",
    "Heads",
    "Levels",
    "build_network",
    "load_imagenet_weights",
]

NETWORKS: dict[str, Callable[..., DeepLab]] = {
    # a 96² phantom slice has a 12×12 feature map: wider dilations than these would see only padding
    "deeplab-small": partial(DeepLab, depth=18, widths=(16, 32, 64, 128), dilations=(1, 2, 4, 6)),
    "deeplab-resnet18": partial(DeepLab, depth=18),
    "deeplab-resnet34": partial(DeepLab, depth=34),
    "deeplab-resnet50": partial(DeepLab, depth=50),
    "deeplab-resnet101": partial(DeepLab, depth=101),
    "deeplab-resnet152": partial(DeepLab, depth=152),
}
"""The networks a command can name."""


def build_network(
    name: str,
    *,
    in_channels: int,
    num_classes: int,
    frozen_bn: bool = False,
    generator: torch.Generator | None = None,
) -> DeepLab:
    """Build a network by its name.

    Args:
        name: A key of :data:`NETWORKS`.
        in_channels: Image channels: 1 for 2D, the number of adjacent slices for 2.5D.
        num_classes: Classes, background included.
        frozen_bn: Keep batch normalisation on its running statistics, untrained.
        generator: Source of the initial weights; ``None`` draws from torch's global generator.

    Returns:
        The network, in training mode, on the CPU.

    Raises:
        UnknownNameError: No such name.
        SettingsError: A channel or class count that no network has.
    """
    if name not in NETWORKS:
        raise UnknownNameError("network", name, known=NETWORKS)
    factory = NETWORKS[name]
    return factory(in_channels=in_channels, num_classes=num_classes, frozen_bn=frozen_bn, generator=generator)
