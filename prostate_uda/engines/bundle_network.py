"""Floor 4: the network of a bundle: a multi-level one as a plain one that MONAI's ``ckpt_export`` can script."""

import copy

import torch
from torch import Tensor, nn

from prostate_uda.networks import FinalLogits

SIDE = 64
"""Pixels of the image that is traced with; what is traced takes images of any size that the network takes."""


class BundleNetwork(FinalLogits):
    """:class:`~prostate_uda.networks.FinalLogits`, whose weights have the same names, for ``torch.jit.script``, too.

    The network checks shapes and returns named tuples, which TorchScript cannot compile. Its operations depend on
    nothing but the image's size, so a trace of it is the same function; :func:`torch.jit.script` gets that.

    Args:
        network: A network whose forward pass returns :class:`~prostate_uda.networks.Levels` and that says
            ``in_channels``. It is shared, not copied.
    """

    def __prepare_scriptable__(self) -> nn.Module:
        """What :func:`torch.jit.script` compiles in place of this: a trace in evaluation mode, on the same device."""
        plain = FinalLogits(copy.deepcopy(self.network)).eval()
        like = next(plain.parameters())
        image = torch.zeros(1, int(self.network.in_channels), SIDE, SIDE, dtype=like.dtype, device=like.device)  # type: ignore[arg-type]
        with torch.no_grad():
            return _Traced(torch.jit.trace(plain, image)).eval()  # type: ignore[no-untyped-call]


class _Traced(nn.Module):
    """A module around a trace, which alone cannot be scripted again."""

    def __init__(self, traced: nn.Module) -> None:
        super().__init__()
        self.traced = traced

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.traced(image)
        return logits
