"""Floor 2, telling source from target by the segmentation map: discriminator and frozen domain predictor.

Source: Tsai et al., "Learning to adapt structured output space" (CVPR 2018). The label of a source pixel is 0,
of a target pixel 1. The output is a logit: the code published with MetaCorrection ends in a sigmoid and is then
trained with a with-logits loss, so that its "d < 0.5" means a probability below 0.62.
"""

from copy import deepcopy
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.networks.levels import FinalLogits

LEAK = 0.2
"""Negative slope of the activations, as published."""


class Discriminator(nn.Module):
    """Fully convolutional discriminator: 4×4 convolutions of stride 2 and doubling width, then one logit a pixel.

    Args:
        num_classes: Classes C of the segmentation maps.
        base_channels: Width after the first convolution; it doubles per convolution up to eightfold.
        layers: Convolutions, each halving the map. The published five need 64 pixels a side.

    Raises:
        SettingsError: Fewer than 1 class, channel or layer.
    """

    def __init__(self, num_classes: int, base_channels: int = 64, layers: int = 5) -> None:
        super().__init__()
        if min(num_classes, base_channels, layers) < 1:
            given = f"num_classes {num_classes}, base_channels {base_channels}, layers {layers}"
            raise SettingsError(f"{given}; each at least 1: as published 64 channels and 5 layers")
        widths = [num_classes, *(base_channels * 2 ** min(i, 3) for i in range(layers - 1)), 1]
        stages: list[nn.Module] = []
        for before, after in pairwise(widths):
            stages += [nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1), nn.LeakyReLU(LEAK)]
        self.num_classes = num_classes
        self.layers = layers
        self.stages = nn.Sequential(*stages[:-1])

    def forward(self, probabilities: Tensor) -> Tensor:
        """Per-pixel logit of "this map comes from the target domain".

        Args:
            probabilities: ``(B, C, H, W)`` softmax maps at image size, a side at least ``2 ** (layers + 1)``.

        Returns:
            ``(B, 1, H, W)`` logits (no sigmoid), upsampled bilinearly from ``H // 2 ** layers``.

        Raises:
            ShapeError: Not four axes, another number of classes, or a map that would shrink below two pixels.
        """
        self._check(probabilities)
        logits = self.stages(probabilities)
        return interpolate(logits, size=list(probabilities.shape[-2:]), mode="bilinear", align_corners=False)

    def _check(self, probabilities: Tensor) -> None:
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            return  # a traced size is a tensor: comparing it would only warn
        shape = tuple(probabilities.shape)
        if len(shape) != 4 or shape[1] != self.num_classes:
            msg = f"map of shape {shape}; this discriminator takes (B, {self.num_classes}, H, W): bring softmax maps"
            raise ShapeError(msg)
        smallest = 2 ** (self.layers + 1)
        if min(shape[2:]) < smallest:
            msg = (
                f"map of {shape[2]}x{shape[3]} pixels; {self.layers} layers need {smallest} a side: "
                "enlarge it, or build the discriminator with fewer layers"
            )
            raise ShapeError(msg)


class DomainPredictor(nn.Module):
    """How much each pixel looks like the target domain, judged by a frozen network and its discriminator.

    Both modules are copied, so freezing them here leaves the caller's as they were. The predictor is always
    in evaluation mode, and no gradient passes through it.

    Args:
        network: A trained network returning :class:`~prostate_uda.networks.levels.Levels`.
        discriminator: The :class:`Discriminator` trained against it on ``softmax(levels.final)``.
    """

    def __init__(self, network: nn.Module, discriminator: nn.Module) -> None:
        super().__init__()
        self.network = FinalLogits(deepcopy(network))
        self.discriminator = deepcopy(discriminator)
        self.requires_grad_(False)
        self.train(False)

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Probability that a pixel comes from the target domain.

        Args:
            image: ``(B, k, H, W)``, as the network wants it.

        Returns:
            ``(B, H, W)`` in [0, 1], for every element of the batch, at the image's own size.

        Raises:
            ShapeError: As the network and the discriminator.
        """
        logits: Tensor = self.discriminator(self.network(image).softmax(dim=1))
        return logits.sigmoid().squeeze(1)

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002 (the parent's signature)
        """Stay in evaluation mode, whatever is asked."""
        return super().train(False)
