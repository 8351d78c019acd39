"""A short stage of noise, for tests of what stops or watches stages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from prostate_uda.data.batch import Batch
from prostate_uda.engines.guards import GuardError
from prostate_uda.engines.observers import Silent
from prostate_uda.engines.stages import Pairs, Stage, Workplace, train
from prostate_uda.errors import ProstateUDAError
from prostate_uda.methods import Method, Optimization, State
from tests.builders import random_batch, tiny_deeplab

ZONES = ("background", "PZ", "TZ")
Change = Callable[[int, Batch], Batch]


class Heard(Silent):
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass
class Drawn:
    """Batches of noise that depend on the step alone; a step may be changed."""

    first: int
    names: tuple[str, str]
    change: Change = lambda _, batch: batch

    def at(self, step: int) -> Batch:
        return self.change(step, replace(random_batch(self.first + step), cases=self.names))


def pairs(change: Change = lambda _, batch: batch) -> Pairs:
    streams = Drawn(100, ("ann", "bob"), change), Drawn(200, ("cid", "dan"))
    return Pairs(*streams)  # type: ignore[arg-type]  # what a stage asks of a stream


def run(
    folder: Path,
    method: Method,
    seen: Pairs,
    *,
    steps: int = 6,
    heard: Heard | None = None,
    network: torch.nn.Module | None = None,
    rate: float = 1e-2,
    **more: Any,
) -> State:
    place = Workplace(
        folder=folder, device=torch.device("cpu"), progress=heard or Heard(), checkpoint_every=2, classes=ZONES, **more
    )
    optimization = Optimization(learning_rate=rate, total_steps=steps, power=0.0)
    stage = Stage(name="round_1", title="round 1: a try", method=method, optimization=optimization, seed=0)
    return train(stage, network or tiny_deeplab(), seen, place)


def checkpoint(folder: Path) -> Path:
    return folder / "checkpoints" / "round_1.pt"


def stopped(folder: Path, method: Method, seen: Pairs, **more: Any) -> str:
    """The message of a stage that a guard stops."""
    with pytest.raises(GuardError) as caught:
        run(folder, method, seen, **more)
    assert isinstance(caught.value, ProstateUDAError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Stops(Heard):
    """A progress that ends the stage after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    def advance(self, amount: int = 1, values: Mapping[str, float] | None = None) -> None:
        self.left -= amount
        if self.left < 0:
            raise InterruptedError


def shaped(_: int, batch: Batch) -> Batch:
    """Images that show their labels, patch by patch."""
    label = torch.nn.functional.interpolate(batch.label[:, None, ::8, ::8].float() % 3, scale_factor=8)
    return replace(batch, image=2 * (label - 1) + 0.1 * batch.image, label=label[:, 0].long())


def turned(step: int, batch: Batch) -> Batch:
    """Labels that each name the next class: no plain noise."""
    batch = shaped(step, batch)
    return replace(batch, label=(batch.label + 1) % 3)


def domains(target: Change) -> Pairs:
    streams = Drawn(100, ("ann", "bob"), shaped), Drawn(200, ("cid", "dan"), target)
    return Pairs(*streams)  # type: ignore[arg-type]  # what a stage asks of a stream
