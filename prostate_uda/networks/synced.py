"""Floor 2, batch normalisation over the batches of all processes.

``torch.nn.SyncBatchNorm`` refuses CPU tensors and knows neither forward-mode differentiation nor a second derivative;
the statistics here are plain tensor operations around one differentiable sum over the processes, on any device.
"""

from typing import TypeVar, cast

import ignite.distributed as idist
import torch
from torch import Tensor, nn

from prostate_uda.maths.losses import widened

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class _Total(torch.autograd.Function):
    """The sum of a tensor over the processes; linear and symmetric, so its derivatives either way are itself."""

    @staticmethod
    def forward(mine: Tensor) -> Tensor:
        return cast("Tensor", idist.all_reduce(mine.contiguous().clone()))

    @staticmethod
    def setup_context(ctx: object, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: object, slope: Tensor) -> Tensor:  # noqa: ARG004  torch's signature
        return total(slope)

    @staticmethod
    def jvp(ctx: object, tangent: Tensor) -> Tensor:  # noqa: ARG004  torch's signature
        return total(tangent)


def total(mine: Tensor) -> Tensor:
    """The sum over the processes, differentiable in both modes and as often as one likes.

    Every process has to come here, and to the backward pass, in the same order. What each one differentiates is its
    own share of a loss that is the sum over the processes.

    Args:
        mine: This process's tensor, of one shape everywhere.
    """
    return cast("Tensor", _Total.apply(mine))  # type: ignore[no-untyped-call]


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """``BatchNorm2d`` whose training statistics are those of all processes' batches taken together.

    In evaluation mode, and in one process, it is ``BatchNorm2d``.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  the parent's name
        """Normalise ``(B, C, H, W)``; collective while training, in two passes: mean, then variance about it.

        Raises:
            ValueError: Not four axes.
        """
        if not self.training or idist.get_world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        values = widened(input)  # half precision cannot sum many pixels
        size = values.new_tensor([values.numel() / values.shape[1]])
        sums = total(torch.cat([values.sum(dim=(0, 2, 3)), size]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = values - mean[:, None, None]
        variance = total(centred.square().sum(dim=(0, 2, 3))) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        scale = (variance + self.eps).rsqrt()
        if not self.affine:
            return (centred * scale[:, None, None]).to(input.dtype)
        shifted = torch.addcmul(self.bias[:, None, None], centred, (scale * self.weight)[:, None, None])
        return shifted.to(input.dtype)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics as torch does; the variance comes unbiased."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        factor = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), factor)
        self.running_var.lerp_(variance.to(self.running_var.dtype), factor)


def synced(network: AnyModule) -> AnyModule:
    """Let every ``BatchNorm2d`` of a network see all processes' batches, in place.

    Only the class of these modules changes: parameters, buffers, hooks and names stay, so state dictionaries fit and
    optimizers built before go on.

    Returns:
        The network given.
    """
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncedBatchNorm2d
    return network
