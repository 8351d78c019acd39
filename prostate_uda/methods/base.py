"""Floor 3: what a method is. Settings in a final frozen dataclass, and two verbs: ``prepare`` and ``step``."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

import ignite.distributed as idist
import torch
from torch import Tensor, nn

from prostate_uda.data.batch import Batch
from prostate_uda.errors import CheckpointError, SettingsError
from prostate_uda.maths import losses
from prostate_uda.maths.schedules import poly
from prostate_uda.maths.selection import Selection
from prostate_uda.networks.levels import Levels, unmoved
from prostate_uda.networks.optimization import Optimization
from prostate_uda.networks.teacher import Teacher

Losses = dict[str, Tensor]
"""Named, detached scalars: what one step reports."""
TEACHERS = frozenset({"teacher", "confusion", "survey"})
"""What a method may need that asks for a :class:`Teacher`."""


@dataclass
class State:
    """Everything that changes while a method runs, and so everything a checkpoint holds.

    Attributes:
        network: The segmentation network, returning :class:`Levels`.
        optimizers: By name; ``"network"`` always.
        modules: Further networks that train (discriminators), by name.
        tensors: Further tensors that change (noise transition matrices), by name.
        frozen: Networks that only look (domain predictor, teacher); not part of a checkpoint.
        optimization: The schedule of the learning rates; ``None`` leaves them to someone else (a MONAI handler).
        step: Steps done.
    """

    network: nn.Module
    optimizers: dict[str, torch.optim.Optimizer]
    modules: dict[str, nn.Module] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    frozen: dict[str, nn.Module] = field(default_factory=dict)
    optimization: Optimization | None = None
    step: int = 0

    def schedule(self) -> None:
        """Set every learning rate for the step that comes."""
        if self.optimization is None:
            return
        factor = poly(self.step, self.optimization.total_steps, self.optimization.power)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and strings only, so that ``torch.load(weights_only=True)`` reads it back."""
        return {
            "network": self.network.state_dict(),
            "optimizers": {name: value.state_dict() for name, value in self.optimizers.items()},
            "modules": {name: value.state_dict() for name, value in self.modules.items()},
            "tensors": {name: value.detach().clone() for name, value in self.tensors.items()},
            "step": self.step,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """The reverse of :meth:`state_dict`.

        Raises:
            CheckpointError: it was saved by another method or for another network.
        """
        for part, mine in (("optimizers", self.optimizers), ("modules", self.modules), ("tensors", self.tensors)):
            if set(saved[part]) != set(mine):
                raise CheckpointError(
                    f"checkpoint holds {part} {sorted(saved[part])}, this method has {sorted(mine)}; "
                    "resume with the method and settings that wrote it"
                )
        came, wanted = _shapes(saved["tensors"]), _shapes(self.tensors)
        if came != wanted:  # copy_ would broadcast one level over two
            raise CheckpointError(
                f"checkpoint holds tensors of shapes {came}, this method has {wanted}; "
                "resume with the method and settings that wrote it"
            )
        try:
            self.network.load_state_dict(saved["network"])
            for name, module in self.modules.items():
                module.load_state_dict(saved["modules"][name])
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(saved["optimizers"][name])
        except (RuntimeError, ValueError) as error:
            raise CheckpointError("checkpoint of another network; resume with the network that wrote it") from error
        for name, tensor in self.tensors.items():
            tensor.data.copy_(saved["tensors"][name])
        self.step = int(saved["step"])


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in tensors.items()}


def check_level_weights(weights: tuple[float, ...]) -> None:
    """Check α.

    Raises:
        SettingsError: a weight is negative or no number, or all are zero.
    """
    if not (all(weight >= 0 for weight in weights) and any(weights)):
        raise SettingsError(f"level_weights {weights}; allowed are weights ≥ 0, at least one of them > 0")


def check_weight(name: str, value: float) -> None:
    """Check a term's weight; SettingsError where it is negative or no number."""
    if not value >= 0:
        raise SettingsError(f"{name} {value}; allowed is 0 or more")


def check_volume_trust(trust: float, other: str, value: float) -> None:
    """Check that it is 0 to 1, and that no other setting chooses pseudo-labels; SettingsError otherwise."""
    if not 0 <= trust <= 1 or (trust and value):
        raise SettingsError(f"volume_trust {trust}, {other} {value}; allowed is 0 to 1, above 0 with {other} 0 alone")


def check_choices(settings: object) -> None:
    """Check every field of a dataclass whose type is a ``Literal``.

    Raises:
        SettingsError: a value is none of those named.
    """
    for name, hint in get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise SettingsError(f"{name} {value!r}; choose one of: {', '.join(get_args(hint))}")


class Method(ABC):
    """A way to adapt: subclasses are final frozen dataclasses that hold settings and nothing else."""

    @property
    def needs(self) -> frozenset[str]:
        """What it wants beside the network: ``"pseudo_labels"``, ``"domain_predictor"``, ``"teacher"``.

        Or ``"confusion"``: a teacher that has been asked what it makes of labelled images, see :class:`Teacher`. Or
        ``"survey"``: a teacher that has what :meth:`survey` found.
        """
        return frozenset()

    def survey(
        self,
        source: Iterable[Batch],  # noqa: ARG002  for methods that look at all slices first
        target: Iterable[Batch],  # noqa: ARG002
        teacher: Teacher,  # noqa: ARG002
    ) -> Mapping[str, Tensor]:
        """What is to be known of all training slices before a round's first step; of methods that need a ``"survey"``.

        Of several processes each sees its own patients; what all are to have in common goes through :func:`total`.

        Args:
            source: Every labelled slice once, as it is; ``index`` says which.
            target: Likewise, with its pseudo-label, IGNORE where it has none.
            teacher: The frozen network that the round starts from.

        Returns:
            Tensors by name, which :meth:`prepare` finds in ``teacher.survey``.
        """
        return {}

    def labeller(self, network: nn.Module) -> nn.Module:
        """What makes the round's pseudo-labels: by default the network that the round starts from, as it is.

        Args:
            network: ``(B, k, H, W)`` images to ``(B, C, H, W)`` logits, which is also what is returned.
        """
        return network

    def selection(self, round_number: int) -> Selection:  # noqa: ARG002  for methods whose rule changes
        """Which pixels the round's pseudo-labels keep, rounds counted from 1; by default all of them."""
        return Selection()

    def prepare(
        self,
        network: nn.Module,
        optimization: Optimization,
        *,
        seed: int = 0,  # noqa: ARG002  for methods that bring networks of their own
        domain_predictor: nn.Module | None = None,  # noqa: ARG002  for methods that need one
        teacher: Teacher | None = None,  # noqa: ARG002  for methods that need one
    ) -> State:
        """The state before the first step: here one optimizer over the network, which is all that some methods need.

        Args:
            network: Returns :class:`Levels`; trained in place.
            optimization: How its parameters move.
            seed: Of the initial weights of networks that the method brings itself.
            domain_predictor: ``(B, k, H, W)`` images to ``(B, H, W)`` p(target), for methods that need one.
            teacher: What made the round's pseudo-labels, for methods that need one.
        """
        return State(network, {"network": optimization.for_network(network)}, optimization=optimization)

    @abstractmethod
    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        """One training step in place; runs its own backward passes and advances ``state.step``."""


def forward(network: nn.Module, image: Tensor) -> Levels:
    """The ordinary forward pass; in train mode it moves the batch-norm statistics."""
    return cast("Levels", network(image))


def forward_unmoved(network: nn.Module, image: Tensor) -> Levels:
    """The forward pass with batch-norm statistics kept where they are: see :func:`unmoved`."""
    return cast("Levels", unmoved(network, image))


def segmentation_loss(
    levels: Levels,
    label: Tensor,
    weights: tuple[float, ...],
    loss: Callable[[Tensor, Tensor, Tensor], Tensor] = losses.cross_entropy,
) -> Tensor:
    """``Σ_l α_l CE(p_l, y)``, this process's share of it; heads of weight zero are not computed with.

    Args:
        levels: Of the network.
        label: ``(B, H, W)`` int64, IGNORE where there is none.
        weights: α, shallow to deep.
        loss: In place of cross-entropy, of one level's logits, the label and the count of labelled pixels.

    Raises:
        ShapeError: there is not one weight per head.
    """
    losses.one_weight_per_level(len(levels.logits), weights)
    count = labelled(label)
    return losses.weighted_sum(
        [
            loss(logits, label, count) if weight else logits.new_zeros(())
            for logits, weight in zip(levels.logits, weights, strict=True)
        ],
        weights,
    )


def both_domains(state: State, source: Batch, target: Batch, weights: tuple[float, ...]) -> tuple[Tensor, Levels]:
    """Begin a step that learns from both domains: both forward, batch-norm statistics following the target.

    Returns:
        :func:`segmentation_loss` of the source, and what the network gives for the target.
    """
    state.network.train()
    state.schedule()
    on_source = segmentation_loss(forward_unmoved(state.network, source.image), source.label, weights)
    return on_source, forward(state.network, target.image)


def finish(state: State, loss: Tensor, **shares: Tensor) -> Losses:
    """End a step that has one loss: move the network along it, count the step, and tell the named shares."""
    descend(state.optimizers["network"], loss)
    state.step += 1
    return summed(**shares)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, *, onto: bool = False) -> None:
    """Zero, backward, step; the loss is the sum over all processes of what each hands in.

    Args:
        optimizer: Of the parameters that move.
        loss: This process's share.
        onto: Add to the gradients that are there instead of beginning at zero.
    """
    if not onto:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch ships it untyped
    parameters = (value for group in optimizer.param_groups for value in group["params"])
    total(value.grad for value in parameters if value.grad is not None)
    optimizer.step()


def total(tensors: Iterable[Tensor]) -> None:
    """Sum tensors over all processes, in place and in one message; one process keeps what it has."""
    if idist.get_world_size() == 1:
        return
    values = list(tensors)
    summed = idist.all_reduce(torch.cat([value.detach().flatten() for value in values]))
    for value, part in zip(values, summed.split([value.numel() for value in values]), strict=True):
        value.detach().copy_(part.view_as(value))


def labelled(label: Tensor) -> Tensor:
    """How many pixels of all processes' batches have a label, int64 scalar: what losses are averaged over."""
    count = (label != losses.IGNORE).sum()
    total([count])
    return count


def summed(**shares: Tensor) -> Losses:
    """Named losses as they are reported: detached, and over all processes."""
    named = {name: share.detach().clone() for name, share in shares.items()}
    total(named.values())
    return named
