"""Floor 2: the network that made a round's pseudo-labels, for methods that ask it again on augmented images."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Self

import torch
from torch import Tensor, nn

from prostate_uda.maths.losses import widened
from prostate_uda.networks.levels import FinalLogits


class Teacher(nn.Module):
    """A frozen copy of a trained network, with the class thresholds by which its pseudo-labels were selected.

    It is always in evaluation mode, and no gradient passes through it; the caller's network stays as it is.

    Args:
        network: Returns :class:`~prostate_uda.networks.levels.Levels`.
        thresholds: ``(C,)`` k, positive; brought to the network's device.
        confusion: ``(C, C)`` how often it made which pseudo-label of which true class, on labelled source images under
            strong augmentation; None where nobody asked.

    Attributes:
        survey: What a method asked of all training slices with it, by name; empty where nobody asked.
    """

    thresholds: Tensor
    confusion: Tensor | None
    survey: Mapping[str, Tensor]

    def __init__(self, network: nn.Module, thresholds: Tensor, confusion: Tensor | None = None) -> None:
        super().__init__()
        self.network = FinalLogits(deepcopy(network))
        self.register_buffer("thresholds", thresholds.to(next(network.parameters()).device))
        self.register_buffer("confusion", confusion)
        self.survey = {}
        self.requires_grad_(False)
        self.train(False)

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Class probabilities ``(B, C, H, W)`` of the deepest level, float32 at least, for a ``(B, k, H, W)`` image.

        Also under autocast: the thresholds are of probabilities in single precision.
        """
        with torch.autocast(image.device.type, enabled=False):
            return widened(self.network(image)).softmax(dim=1)

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002 (the parent's signature)
        """Stay in evaluation mode, whatever is asked."""
        return super().train(False)
