"""Floor 4: the one loop. A MONAI ``SupervisedTrainer`` whose iteration is a method's ``step``."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from monai.data import MetaTensor
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys
from torch import Tensor, nn

from prostate_uda.data.batch import Batch
from prostate_uda.engines.execution import autocast
from prostate_uda.engines.guards import Guard, Readings, TrainingError
from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.methods.base import Losses, Method, State

__all__ = ["AdaptationTrainer", "Pair", "PairedLoader", "TrainingError", "as_batch"]


class Pair(NamedTuple):
    """What one iteration sees, always in this order. Each is a :class:`Batch` or ``{"image", "label"}``."""

    source: Batch | Mapping[str, Tensor]
    target: Batch | Mapping[str, Tensor]

    @property
    def cases(self) -> tuple[str, ...]:
        """Of both, where their batches say so."""
        return tuple(case for batch in self if isinstance(batch, Batch) for case in batch.cases)


class PairedLoader:
    """Two loaders side by side; the shorter one starts again until the longer one ends.

    Args:
        source: Of labelled source batches.
        target: Of target batches with pseudo-labels.
    """

    def __init__(self, source: Iterable[Any], target: Iterable[Any]) -> None:
        self.source, self.target = source, target

    def __len__(self) -> int:
        """Iterations in one epoch."""
        return max(len(self.source), len(self.target))  # type: ignore[arg-type]  # loaders are sized, streams not

    def __iter__(self) -> Iterator[Pair]:
        """One epoch."""
        sources, targets = _endless(self.source), _endless(self.target)
        for _ in range(len(self)):
            yield Pair(next(sources), next(targets))


def _endless(loader: Iterable[Any]) -> Iterator[Any]:
    while True:
        empty = True
        for batch in loader:
            empty = False
            yield batch
        if empty:
            raise SettingsError("a loader without a batch; give one that can be run through again and again")


def as_batch(
    batch: Batch | Mapping[str, Tensor],
    device: torch.device,
    **options: Any,  # noqa: ANN401  handed on unread
) -> Batch:
    """A :class:`Batch` on the device, from one or from a MONAI dictionary with ``image`` and ``label``.

    Args:
        batch: ``image`` ``(B, k, H, W)``; ``label`` ``(B, H, W)`` or ``(B, 1, H, W)``, IGNORE everywhere if absent.
        device: Where it is wanted.
        options: Of :meth:`Batch.to`.

    Raises:
        ShapeError: the label's shape is neither.
    """
    if not isinstance(batch, Batch):
        batch = _from_dictionary(batch)
    return batch.to(device, **options)


def _from_dictionary(batch: Mapping[str, Tensor]) -> Batch:
    image = _plain(batch[CommonKeys.IMAGE])
    label = _plain(batch[CommonKeys.LABEL]) if CommonKeys.LABEL in batch else _unknown(image)
    if label.ndim == 4 and label.shape[1] == 1:
        label = label[:, 0]
    if image.ndim != 4 or label.shape != (image.shape[0], *image.shape[2:]):
        raise ShapeError(
            f"image {tuple(image.shape)} with label {tuple(label.shape)}; "
            "allowed are (B, k, H, W) with (B, H, W) or (B, 1, H, W)"
        )
    return Batch(image=image.float(), label=label.long())


def _plain(value: Tensor) -> Tensor:
    """A tensor without MONAI's metadata, whose bookkeeping slows every operation of a step."""
    return value.as_tensor() if isinstance(value, MetaTensor) else torch.as_tensor(value)


def _unknown(image: Tensor) -> Tensor:
    return torch.full((image.shape[0], *image.shape[2:]), IGNORE)


class AdaptationTrainer(SupervisedTrainer):  # type: ignore[misc]  # MONAI ships no types
    """Any :class:`Method` under MONAI's trainer, so that every MONAI handler works on it.

    ``engine.state.output`` holds ``image`` and ``label`` of the target batch, every named loss of the step, and their
    ``source`` + ``target`` as ``loss``; ``engine.readings`` holds the losses as numbers. There is no ``pred``: a step
    runs several passes, so metrics belong into a validator (``ValidationHandler``), not into ``key_train_metric``.
    Handlers see the usual iteration events.

    Args:
        device: Where to train.
        max_epochs: Epochs; one epoch is ``epoch_length`` iterations.
        data_loader: Yields :class:`Pair`.
        method: What a step does.
        adaptation: Its state, from ``method.prepare``; belongs into ``CheckpointSaver``'s ``save_dict``.
        epoch_length: Needed when the loader has no length.
        amp: Run the step under autocast to bfloat16, which needs no loss scaling; weights stay float32.
        amp_kwargs: Of ``torch.autocast``.
        guard: Stops the training that goes wrong; by default the usual one, for a state that is at its start.
        options: Of ``monai.engines.SupervisedTrainer`` (``train_handlers``, …); ``to_kwargs`` is for images alone.

    Raises:
        SettingsError: autocast to another dtype, or ``compile``.
    """

    def __init__(
        self,
        *,
        device: torch.device | str,
        max_epochs: int,
        data_loader: Iterable[Pair],
        method: Method,
        adaptation: State,
        epoch_length: int | None = None,
        amp: bool = False,
        amp_kwargs: Mapping[str, Any] | None = None,
        guard: Guard | None = None,
        **options: Any,  # noqa: ANN401  handed on to MONAI unread
    ) -> None:
        if options.get("compile"):
            raise SettingsError("compile=True; leave it out: MONAI would compile a wrapper that no method calls")
        self.method = method
        self.adaptation = adaptation
        self.guard = guard or Guard(adaptation)
        self.readings: Readings = Readings({}, None)
        # not handed on: MONAI would make a GradScaler, which bfloat16 has no use for and the CPU warns of
        self.precision = autocast(torch.device(device), amp_kwargs or {}) if amp else nullcontext()
        super().__init__(
            device=torch.device(device),
            max_epochs=max_epochs,
            train_data_loader=data_loader,
            network=adaptation.network,
            optimizer=adaptation.optimizers["network"],
            loss_function=nn.Identity(),  # the method computes its own losses; MONAI insists on having one
            epoch_length=epoch_length,
            **options,
        )

    def compute(self, source: Batch, target: Batch) -> Losses:
        """The method's step, under autocast where that was asked for; both batches on the device."""
        with self.precision:
            return self.method.step(self.adaptation, source, target)

    def placed(self, batch: Batch | Mapping[str, Tensor]) -> Batch:
        """The batch on the device, in the layout asked for."""
        return as_batch(batch, self.state.device, non_blocking=self.non_blocking, **self.to_kwargs)

    def _iteration(self, engine: SupervisedTrainer, batchdata: Pair) -> dict[str, Any]:
        source, target = map(self.placed, batchdata)
        engine.state.output = {CommonKeys.IMAGE: target.image, CommonKeys.LABEL: target.label}
        engine.fire_event(IterationEvents.INNER_ITERATION_STARTED)
        named = self.compute(source, target)
        engine.fire_event(IterationEvents.INNER_ITERATION_COMPLETED)
        total = torch.stack([named[name] for name in ("source", "target") if name in named]).sum()
        self.readings = self.guard.read({CommonKeys.LOSS: total, **named}, Pair(*batchdata).cases)
        engine.state.output |= {CommonKeys.LOSS: total, **named}
        for event in (
            IterationEvents.FORWARD_COMPLETED,
            IterationEvents.LOSS_COMPLETED,
            IterationEvents.BACKWARD_COMPLETED,
            IterationEvents.MODEL_COMPLETED,
        ):
            engine.fire_event(event)
        output: dict[str, Any] = engine.state.output
        return output
