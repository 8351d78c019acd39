"""Floor 4: a slice network over a volume, and its answer on the volume's own grid."""

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, nn

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.maths.stacks import adjacent_slices


class SliceStackInferer(Inferer):  # type: ignore[misc]  # MONAI ships no types
    """Runs a 2D or 2.5D network over every axial slice, in batches, as a MONAI inferer.

    MONAI's ``SliceInferer`` hands over one slice at a time without its neighbours; this one stacks them.

    Args:
        depth: Adjacent slices per prediction, odd; beyond the first and last slice the outermost is repeated.
        batch_size: Slices per forward pass.
        flips: Whether each slice is also seen mirrored left to right; the logits are the mean of both.
    """

    def __init__(self, depth: int = 1, batch_size: int = 16, flips: bool = False) -> None:
        super().__init__()
        if depth < 1 or depth % 2 == 0 or batch_size < 1:
            raise SettingsError(f"depth {depth}, batch size {batch_size}; allowed are an odd depth and a batch of ≥ 1")
        self.depth, self.batch_size, self.flips = depth, batch_size, flips

    def __call__(
        self,
        inputs: Tensor,
        network: Callable[..., Tensor] | nn.Module,
        *args: Any,  # noqa: ANN401  MONAI's contract
        **kwargs: Any,  # noqa: ANN401
    ) -> Tensor:
        """Logits of each class.

        Args:
            inputs: ``(B, 1, X, Y, Z)`` on the working grid.
            network: ``(b, depth, Y, X)`` slices to ``(b, C, Y, X)`` logits.
            args: Handed to the network.
            kwargs: Handed to the network.

        Returns:
            ``(B, C, X, Y, Z)``.

        Raises:
            ShapeError: not five axes, or more than one channel.
        """
        if inputs.ndim != 5 or inputs.shape[1] != 1:
            raise ShapeError(f"volume of shape {tuple(inputs.shape)}; allowed is (B, 1, X, Y, Z)")
        return torch.stack([self._volume(volume[0], network, *args, **kwargs) for volume in inputs])

    def _volume(self, volume: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401
        slices = volume.permute(2, 1, 0).contiguous()
        neighbours = adjacent_slices(torch.arange(len(slices)), self.depth, 0, len(slices) - 1)
        batches = (slices[index] for index in torch.split(neighbours, self.batch_size))
        logits = [self._batch(batch, network, *args, **kwargs) for batch in batches]
        return torch.cat(logits).permute(1, 3, 2, 0)

    def _batch(self, batch: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401
        logits = network(batch, *args, **kwargs)
        return (logits + network(batch.flip(-1), *args, **kwargs).flip(-1)) / 2 if self.flips else logits
