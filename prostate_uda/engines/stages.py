"""Floor 4: one stretch of training, from its beginning or from where it was interrupted."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import torch
from ignite.engine import Events
from monai.engines.utils import IterationEvents
from torch import nn

from prostate_uda.data.batch import Batch
from prostate_uda.data.slices import BatchStream
from prostate_uda.engines import checkpoints
from prostate_uda.engines.execution import Execution, ahead
from prostate_uda.engines.guards import Guard, GuardError, Guards, and_more, not_finite
from prostate_uda.engines.looks import Looks, Sample
from prostate_uda.engines.observers import Progress, Task
from prostate_uda.engines.trainer import AdaptationTrainer, Pair
from prostate_uda.errors import CheckpointError
from prostate_uda.methods.base import Method, State
from prostate_uda.networks.optimization import Optimization
from prostate_uda.networks.teacher import Teacher


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What one stretch of training is.

    Attributes:
        name: Of its checkpoint and its log.
        title: For people.
        method: What a step does.
        optimization: How parameters move; ``total_steps`` is the length of the stage.
        seed: Of the weights the method brings itself.
    """

    name: str
    title: str
    method: Method
    optimization: Optimization
    seed: int


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """Where stages run.

    Attributes:
        folder: Holds ``checkpoints/`` and ``logs/``.
        device: Where tensors live.
        progress: Who is told.
        checkpoint_every: Steps.
        writes: Whether checkpoints and logs are written here; of several processes only one does.
        execution: How steps are computed.
        guards: When a stage is stopped, or warned of.
        classes: Names of the classes, by number; for warnings.
    """

    folder: Path
    device: torch.device
    progress: Progress
    checkpoint_every: int
    writes: bool = True
    execution: Execution = field(default_factory=Execution)
    guards: Guards = field(default_factory=Guards)
    classes: tuple[str, ...] = ()

    def checkpoint(self, stage: str) -> Path:
        """The file with the stage's state."""
        return self.folder / "checkpoints" / f"{stage}.pt"

    def log(self, stage: str) -> Path:
        """The file with a line per step."""
        return self.folder / "logs" / f"{stage}.jsonl"


class Pairs:
    """Two streams side by side; a stage without a target hands the source twice.

    Args:
        source: Labelled.
        target: Unlabelled or pseudo-labelled; ``None`` when nobody looks at it.
    """

    def __init__(self, source: BatchStream, target: BatchStream | None) -> None:
        self.source, self.target = source, target

    def at(self, step: int, *, pin: bool = False) -> Pair:
        """The batches of any step, in page-locked memory where a GPU is to copy them while the CPU goes on."""
        batches = [stream.at(step) for stream in (self.source, self.target) if stream is not None]
        if pin:
            batches = list(map(_pinned, batches))
        return Pair(batches[0], batches[-1])


def _pinned(batch: Batch) -> Batch:
    return replace(batch, image=batch.image.pin_memory(), label=batch.label.pin_memory())


def train(
    stage: Stage,
    network: nn.Module,
    pairs: Pairs,
    place: Workplace,
    *,
    domain_predictor: nn.Module | None = None,
    teacher: Teacher | None = None,
) -> State:
    """Run a stage to its end; the state it ends with is on disk before this returns.

    Batches are a pure function of (seed, step), so a stage that was killed and resumed ends with the same bits on
    a CPU as one that was not.

    Args:
        stage: What to do.
        network: Trained in place, on ``place.device``.
        pairs: Its batches.
        place: Where.
        domain_predictor: For methods that need one.
        teacher: What made the pseudo-labels, for methods that need it.

    Raises:
        GuardError: a loss, an NTM or the state is not finite, or a learned NTM has run away. The checkpoint that was
            there before stays.
        CheckpointError: the checkpoint that is there is of another method, or damaged.
    """
    state = stage.method.prepare(
        network, stage.optimization, seed=stage.seed, domain_predictor=domain_predictor, teacher=teacher
    )
    path, total = place.checkpoint(stage.name), stage.optimization.total_steps
    guard = Guard(state, place.guards, place.classes)
    before = _saved(path, stage) if path.exists() else {}
    if before:
        state.load_state_dict(before["state"])
    if state.step >= total:
        place.progress.note(f"{stage.title}: already done")
        return state
    make = partial(pairs.at, pin=place.device.type == "cuda")
    looks = _looks(place, pairs, before)
    with (
        _placed(stage, path),
        closing(ahead(make, range(state.step, total), place.execution.prefetch)) as batches,
        place.progress.task(stage.title, total, state.step) as task,
        _opened_log(place, stage, state) as lines,
    ):
        trainer = AdaptationTrainer(
            device=place.device,
            max_epochs=1,
            data_loader=batches,
            method=stage.method,
            adaptation=state,
            epoch_length=total - state.step,
            decollate=False,
            guard=guard,
            **place.execution.trainer_options,
        )
        place.execution.lay_out(state)
        _Watch(stage, task, lines, place, looks).attach(trainer)
        trainer.run()
    place.execution.lay_back(state)
    _save(place, stage, state, looks)
    return state


def _looks(place: Workplace, pairs: Pairs, before: Mapping[str, Any]) -> Looks | None:
    """What looks at the target, with what it knew at the checkpoint; one of an older version does not say."""
    if pairs.target is None or not place.writes:
        return None
    looks = Looks(place.guards.looks, Sample(pairs.target), place.classes)
    if "looks" in before:
        looks.load_state_dict(before["looks"])
    return looks


def _save(place: Workplace, stage: Stage, state: State, looks: Looks | None) -> None:
    if place.writes:
        content = {"state": state.state_dict(), "stage": stage.name, "method": repr(stage.method)}
        known = {} if looks is None else {"looks": looks.state_dict()}
        checkpoints.save(place.checkpoint(stage.name), {**content, **known})


def _saved(path: Path, stage: Stage) -> dict[str, Any]:
    """What a checkpoint of this stage holds; two methods' states may look alike, so the method is compared.

    On the CPU: what belongs elsewhere is copied there, but for the optimizers' counts of steps, which torch keeps here
    and would wait for in every step where they came from a GPU.
    """
    content = checkpoints.load(path)
    if content.get("method") != repr(stage.method):
        raise CheckpointError(
            f"{path} was written by {content.get('method')}, this is {stage.method!r}; resume with the same method"
        )
    bad = not_finite(content["state"])
    if bad:
        raise CheckpointError(f"{path} holds numbers that are not finite ({and_more(bad, 1)}); delete it and resume")
    return content


@contextmanager
def _placed(stage: Stage, path: Path) -> Iterator[None]:
    """Say in which stage a guard stopped, and what is left."""
    try:
        yield
    except GuardError as error:
        if path.exists():
            step = checkpoints.load(path, mmap=True)["state"]["step"]
            left = f"the last good checkpoint is {path}, of step {step}"
        else:
            left = "there is no checkpoint of this stage yet"
        raise GuardError(f"{stage.title}: {error}; {left}") from error


class _Watch:
    """After each step: a line in the log, the bar, and now and then a look at the state and a checkpoint."""

    def __init__(self, stage: Stage, task: Task, lines: TextIO, place: Workplace, looks: Looks | None) -> None:
        self.stage, self.task, self.lines, self.place, self.looks = stage, task, lines, place, looks

    def attach(self, trainer: AdaptationTrainer) -> None:
        trainer.add_event_handler(IterationEvents.INNER_ITERATION_STARTED, self._begin)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self)

    def _begin(self, trainer: AdaptationTrainer) -> None:
        """What the network predicts before the first step, unless it was looked at before it was taken up."""
        if self.looks is not None and not self.looks.recent:
            self._lost(trainer)

    def __call__(self, trainer: AdaptationTrainer) -> None:
        losses, ntm = trainer.readings
        step, total = trainer.adaptation.step, self.stage.optimization.total_steps
        due = step % self.place.checkpoint_every == 0
        if due or step == total:  # the last state is saved by who began the stage
            trainer.guard.check_state(Pair(*trainer.state.batch).cases)
        lost = self._lost(trainer) if due else {}
        transitions = {} if ntm is None else {"ntm": _rounded(ntm.tolist())}
        self.lines.write(json.dumps({"step": step, **losses, **lost, **transitions}) + "\n")
        self.task.advance(1, losses)
        if due:
            _save(self.place, self.stage, trainer.adaptation, self.looks)

    def _lost(self, trainer: AdaptationTrainer) -> dict[str, list[str]]:
        """The classes that the network no longer predicts on the target, for the log; the user is told once."""
        if self.looks is None:
            return {}
        news = self.looks.look(trainer.adaptation.network)
        if news:
            self.place.progress.note(
                f"warning: {self.stage.title}, step {trainer.adaptation.step}: the network no longer predicts "
                f"{' or '.join(news)} on the target; a lower learning rate, or a method that selects labels by class, "
                "may help"
            )
        return {"vanished": self.looks.lost} if self.looks.lost else {}


def _rounded(ntm: list[list[list[float]]]) -> list[list[list[float]]]:
    """NTMs ``(L, C, C)`` as they are logged."""
    return [[[round(entry, 5) for entry in row] for row in level] for level in ntm]


def _opened_log(place: Workplace, stage: Stage, state: State) -> TextIO:
    """The log, open behind the last step done; lines of later steps, which will be done again, are gone."""
    if not place.writes:
        return Path(os.devnull).open("w", encoding="utf-8")
    log = place.log(stage.name)
    _truncate(log, state.step)
    return log.open("a", encoding="utf-8", buffering=1)


def _truncate(log: Path, step: int) -> None:
    """Drop the lines of steps that will be done again."""
    log.parent.mkdir(parents=True, exist_ok=True)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) if log.exists() else []
    kept = [line for line in lines if line.endswith("\n") and _step_of(line) <= step]
    partial = log.with_name(f".{log.name}.partial")
    partial.write_text("".join(kept), encoding="utf-8")
    partial.replace(log)


def _step_of(line: str) -> float:
    """The step of a log line; infinite where the line is damaged."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return float("inf")
