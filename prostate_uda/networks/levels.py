"""Floor 2, what a multi-level network returns, so that methods and losses need not know which one it is."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call


class Levels(NamedTuple):
    """The output of a segmentation network with one classifier per feature level, shallow to deep.

    Attributes:
        logits: One ``(B, C, H, W)`` tensor per level, unnormalised log-probabilities at the input's size.
        features: One ``(B, F_l, h, w)`` tensor per level, the input of that level's classifier.
    """

    logits: tuple[Tensor, ...]
    features: tuple[Tensor, ...]

    @property
    def final(self) -> Tensor:
        """The deepest level's logits ``(B, C, H, W)``, the network's answer at inference."""
        return self.logits[-1]


class FinalLogits(nn.Module):
    """A multi-level network seen as a plain one, for MONAI evaluators, TorchScript tracing and bundles.

    Args:
        network: A network whose forward pass returns :class:`Levels`. It is shared, not copied.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the deepest level.

        Args:
            image: ``(B, k, H, W)``, as the wrapped network wants it.

        Returns:
            ``(B, C, H, W)`` logits.

        Raises:
            ShapeError: As the wrapped network.
        """
        return cast("Levels", self.network(image)).final


class AllLevels(nn.Module):
    """A multi-level network as a plain one whose output is every level's logits, shallow to deep, one after another.

    Args:
        network: A network whose forward pass returns :class:`Levels`. It is shared, not copied.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """``(B, L C, H, W)`` logits of ``(B, k, H, W)`` images.

        Raises:
            ShapeError: As the wrapped network.
        """
        return torch.cat(cast("Levels", self.network(image)).logits, dim=1)


def unmoved(module: nn.Module, *inputs: object, parameters: Mapping[str, Tensor] | None = None) -> Any:  # noqa: ANN401
    """A module's output with its batch-norm statistics kept where they are, and optionally with other parameters.

    In train mode batch-norm writes its running statistics in place, so copies are handed in: neither a virtual
    pass nor a source pass during adaptation may move the statistics that the target will be judged with.
    """
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    return functional_call(module, {**(parameters or {}), **buffers}, inputs)
