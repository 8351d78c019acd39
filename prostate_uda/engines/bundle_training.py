"""Floor 4: the stages of an adaptation as a bundle's ``train.json`` and ``adapt.json`` name them, one call each.

Loaders are MONAI's: batches are ``{"image": (B, k, H, W), "label": (B, 1, H, W)}``. Networks are
:class:`~prostate_uda.networks.FinalLogits`, so that what is trained here is saved as ``inference.json`` loads it.
"""

import copy
from collections.abc import Iterable, Iterator, Sized
from dataclasses import replace
from itertools import islice
from typing import Any, cast

import ignite.distributed as idist
import torch
from torch import Tensor, nn

from prostate_uda.engines.observers import Silent
from prostate_uda.engines.rounds import count_confusion
from prostate_uda.engines.trainer import AdaptationTrainer, Pair, PairedLoader, as_batch
from prostate_uda.errors import SettingsError
from prostate_uda.maths.selection import Selection
from prostate_uda.methods import TEACHERS, AdaptSegNet, Method
from prostate_uda.networks import DomainPredictor, FinalLogits
from prostate_uda.networks.optimization import Optimization
from prostate_uda.networks.synced import synced
from prostate_uda.networks.teacher import Teacher


class SourceAlone:
    """A loader that hands the source twice, for a stage in which nobody looks at the target.

    Args:
        source: Of labelled batches.
    """

    def __init__(self, source: Iterable[Any]) -> None:
        self.source = source

    def __len__(self) -> int:
        """Iterations in one epoch."""
        return len(cast("Sized", self.source))

    def __iter__(self) -> Iterator[Pair]:
        """One epoch."""
        return (Pair(batch, batch) for batch in self.source)


def trainer(
    *,
    max_epochs: int,
    epoch_length: int,
    device: torch.device,
    network: FinalLogits,
    method: Method,
    optimization: Optimization,
    source_loader: Iterable[Any],
    target_loader: Iterable[Any] | None = None,
    domain_predictor: nn.Module | None = None,
    teacher: Teacher | None = None,
    **options: Any,  # noqa: ANN401  handed on to MONAI unread
) -> AdaptationTrainer:
    """A MONAI trainer that runs any method; in several processes, all that torchrun started.

    Args:
        max_epochs: Epochs.
        epoch_length: Steps of one epoch, whatever the loaders' length: they start again where they end.
        device: Where to train.
        network: Trained in place, all its heads; the first process's weights are those of all.
        method: What a step does.
        optimization: How parameters move, over ``max_epochs * epoch_length`` steps.
        source_loader: Labelled batches.
        target_loader: Batches with pseudo-labels, 255 where there is none; without one the source is handed twice.
        domain_predictor: For methods that look for target-like pixels of the source.
        teacher: What made the pseudo-labels, for methods that ask it again.
        options: Of ``monai.engines.SupervisedTrainer``.

    Raises:
        SettingsError: a number out of its range, or a network without its levels.
    """
    if max_epochs < 1 or epoch_length < 1:
        raise SettingsError(f"{max_epochs} epochs of {epoch_length} steps; allowed is 1 or more for both")
    bare = _shared(network).to(device)
    state = method.prepare(
        bare,
        replace(optimization, total_steps=max_epochs * epoch_length),
        domain_predictor=domain_predictor,
        teacher=teacher,
    )
    pairs = SourceAlone(source_loader) if target_loader is None else PairedLoader(source_loader, target_loader)
    return AdaptationTrainer(
        device=device,
        max_epochs=max_epochs,
        epoch_length=epoch_length,
        data_loader=pairs,
        method=method,
        adaptation=state,
        **options,
    )


def domain_predictor(
    *,
    network: FinalLogits,
    method: Method,
    warm_up: bool,
    source_loader: Iterable[Any],
    target_loader: Iterable[Any],
    optimization: Optimization,
    steps: int,
) -> DomainPredictor | None:
    """A copy of the network, adapted adversarially (AdaptSegNet) together with its discriminator, then frozen.

    Args:
        network: The source network; stays as it is.
        method: Of the round to come.
        warm_up: Whether the round is to start from the adapted copy.
        source_loader: Labelled batches.
        target_loader: Batches of the target, whose labels nobody looks at.
        optimization: How parameters move.
        steps: Of training.

    Returns:
        None where neither the method nor the warm-up asks for it, or ``steps`` is 0.
    """
    if steps < 1 or not (warm_up or "domain_predictor" in method.needs):
        return None
    adapted = trainable_copy(network)
    stage = trainer(
        max_epochs=1,
        epoch_length=steps,
        device=next(network.parameters()).device,
        network=adapted,
        method=AdaptSegNet(),
        optimization=optimization,
        source_loader=source_loader,
        target_loader=target_loader,
    )
    stage.run()
    return DomainPredictor(adapted.network, stage.adaptation.modules["discriminator"])


def round_start(network: FinalLogits, domain_predictor: DomainPredictor | None, warm_up: bool) -> FinalLogits:
    """What a round starts from and its pseudo-labels are of: the warmed-up network where there is one."""
    return domain_predictor.network if warm_up and domain_predictor is not None else network


def trainable_copy(network: FinalLogits) -> FinalLogits:
    """A network of its own that can be trained while the one given stays frozen."""
    return copy.deepcopy(network).requires_grad_(True)


def frozen_teacher(
    *,
    network: FinalLogits,
    method: Method,
    selection: Selection,
    thresholds: Tensor,
    source_loader: Iterable[Any],
) -> Teacher | None:
    """The network that made the pseudo-labels, frozen, with what it confuses where the method asks for that.

    Args:
        network: As it made them.
        method: Of the round.
        selection: Its rule.
        thresholds: ``(C,)`` of the rule.
        source_loader: Labelled batches under strong augmentation, each slice about once.

    Returns:
        None where the method asks for no teacher.

    Raises:
        SettingsError: the method asks for more than a bundle has.
    """
    if not TEACHERS & method.needs:
        return None
    if "survey" in method.needs:
        raise SettingsError(
            f"{type(method).__name__} looks at all slices first; a bundle cannot: run prostate-uda adapt"
        )
    teacher = Teacher(network.network, thresholds)
    if "confusion" in method.needs:
        steps = len(cast("Sized", source_loader))
        batches = (as_batch(batch, torch.device("cpu")) for batch in islice(source_loader, steps))
        counts = count_confusion(teacher, batches, selection, Silent(), "confusion on the source", steps)
        teacher.confusion = cast("Tensor", idist.all_reduce(counts)).to(thresholds.device)
    return teacher


def _shared(network: FinalLogits) -> nn.Module:
    """The network with all its levels; in several processes one that sees all their batches, the same in each."""
    bare = getattr(network, "network", None)
    if not isinstance(bare, nn.Module):
        raise SettingsError(f"a {type(network).__name__} has no levels to train; wrap the network in FinalLogits")
    if idist.get_world_size() > 1:
        synced(bare)
        for value in (*bare.parameters(), *bare.buffers()):
            value.data.copy_(idist.broadcast(value.data.clone(), src=0))
    return bare
