"""Floor 2: a network in two parts: what a virtual step leaves alone, and what it moves.

The lower part runs once per image, for the virtual and the actual step together. Parts share the network's modules, so
a step on the network is a step on its parts.
"""

from dataclasses import dataclass
from typing import Literal, cast, get_args

import ignite.distributed as idist
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from prostate_uda.errors import SettingsError
from prostate_uda.maths.hypergradient import Parameters
from prostate_uda.networks.deeplab import DeepLab
from prostate_uda.networks.gates import Gates
from prostate_uda.networks.levels import Levels, unmoved

Scope = Literal["all", "last-stage", "heads"]
"""What moves: every parameter, ``layer4`` and the heads, or the heads alone."""

SCOPES: tuple[str, ...] = get_args(Scope)


@dataclass(frozen=True)
class Split:
    """The two parts: ``above(below(image), (H, W))`` is what the network gives.

    Attributes:
        below: ``(B, k, H, W)`` image to a tuple of tensors.
        above: That tuple and ``(H, W)`` to :class:`Levels`.
        linear: The logits are linear in the parameters of ``above``.
    """

    below: nn.Module
    above: nn.Module
    linear: bool


def split(network: nn.Module, scope: Scope) -> Split:
    """Cut a network so that everything the scope names lies above.

    Args:
        network: Returns :class:`Levels`; only a :class:`DeepLab` can be cut, any can be taken whole.
        scope: What lies above.

    Raises:
        SettingsError: unknown scope, or a network that cannot be cut.
    """
    if scope not in SCOPES:
        raise SettingsError(f"scope {scope!r}; choose one of: {', '.join(SCOPES)}")
    if scope == "all":
        return Split(_Nothing(), _Whole(network), linear=False)
    if not isinstance(network, DeepLab):
        raise SettingsError(f"a {type(network).__name__} has no known {scope}; choose the scope all")
    if scope == "heads":
        return Split(_Features(network), _Classifiers(network), linear=True)
    return Split(_Trunk(network), _LastStage(network), linear=False)


@dataclass(frozen=True)
class Passes:
    """What a virtual and an actual step share: one pass of each domain through what the scope leaves alone.

    Attributes:
        parts: The network, cut at the scope.
        size: ``(H, W)`` of the images.
        source: Of the source images, what the upper part takes.
        target: Of the target images, likewise.
        levels: The target's logits; their graph serves the virtual and the actual step.
        gates: What ReLUs and poolings chose on the way to them.
    """

    parts: Split
    size: tuple[int, int]
    source: tuple[Tensor, ...]
    target: tuple[Tensor, ...]
    levels: Levels
    gates: Gates

    @property
    def parameters(self) -> Parameters:
        """W of the upper part, by name."""
        return dict(self.parts.above.named_parameters())

    def above(self, carried: tuple[Tensor, ...], parameters: Parameters | None = None) -> Levels:
        """The upper part, batch-norm statistics kept."""
        return cast("Levels", unmoved(self.parts.above, carried, self.size, parameters=parameters))

    def along(self, parameters: Parameters, target: tuple[Tensor, ...] | None = None) -> Levels:
        """The target's logits with other parameters, on the side of all kinks where ``levels`` is."""
        with self.gates.same():
            return self.above(self.target if target is None else target, parameters)

    def backward(self, optimizer: Optimizer, loss: Tensor, moving: Parameters) -> Parameters:
        """Leave the gradient of the loss in every parameter, and tell those of the ones that move, by name."""
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships it untyped
        self.gates.compact()
        found = {name: torch.zeros_like(v) if v.grad is None else v.grad for name, v in moving.items()}
        # summed over processes twice otherwise: here for the virtual step, and with the source's for the actual one
        return found if idist.get_world_size() == 1 else {name: value.clone() for name, value in found.items()}


def run_shared(network: nn.Module, scope: Scope, source: Tensor, target: Tensor, *, moved: bool = True) -> Passes:
    """Run what the virtual and the actual step share.

    Args:
        network: As it is at w.
        scope: What the virtual step moves.
        source: ``(B, k, H, W)`` images, whose passes leave the batch-norm statistics alone.
        target: Likewise.
        moved: Whether the target's passes move the statistics, as the actual step's do.

    Raises:
        SettingsError: as :func:`split`.
    """
    parts = split(network, scope)
    size = (target.shape[-2], target.shape[-1])
    carried = parts.below(target) if moved else unmoved(parts.below, target)
    gates = Gates()
    with gates.recording():
        levels = parts.above(carried, size) if moved else unmoved(parts.above, carried, size)
    return Passes(parts, size, unmoved(parts.below, source), carried, levels, gates)


class _Nothing(nn.Module):
    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return (image,)


class _Whole(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, carried: tuple[Tensor, ...], size: tuple[int, int]) -> Levels:  # noqa: ARG002  for all parts alike
        levels: Levels = self.network(*carried)
        return levels


class _Features(nn.Module):
    def __init__(self, network: DeepLab) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.network.features(image)


class _Classifiers(nn.Module):
    def __init__(self, network: DeepLab) -> None:
        super().__init__()
        self.heads = network.heads

    def forward(self, carried: tuple[Tensor, ...], size: tuple[int, int]) -> Levels:
        return Levels(logits=self.heads(carried, size), features=carried)


class _Trunk(nn.Module):
    def __init__(self, network: DeepLab) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return (self.network.trunk(image),)


class _LastStage(nn.Module):
    def __init__(self, network: DeepLab) -> None:
        super().__init__()
        self.stage, self.heads = network.backbone.get_submodule("layer4"), network.heads

    def forward(self, carried: tuple[Tensor, ...], size: tuple[int, int]) -> Levels:
        features = (*carried, self.stage(carried[-1]))
        return Levels(logits=self.heads(features, size), features=features)
