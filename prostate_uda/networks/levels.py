"""Floor 2, what a multi-level network returns, so that methods and losses need not know which one it is."""

from typing import NamedTuple, cast

from torch import Tensor, nn


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
