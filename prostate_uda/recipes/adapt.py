"""Floor 5: ``adapt``, told from top to bottom.

check data → source training → domain predictor → rounds of (pseudo-labels, adaptation) → evaluation on the native
grid → bundle, tables and pictures. Whatever is done is on disk, so an interrupted run is taken up where it was.

Under ``torchrun`` every process goes through this file; :mod:`prostate_uda.recipes.processes` says who does what.
"""

import copy
import math
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import ignite.distributed as idist
import torch
from torch import Tensor, nn

from prostate_uda.data.domains import Case
from prostate_uda.data.slices import BatchStream, ImageSet
from prostate_uda.engines.guards import label_counts, vanished
from prostate_uda.engines.observers import Progress, Silent
from prostate_uda.engines.rounds import Labeller, count_confusion
from prostate_uda.engines.stages import Pairs, Stage, Workplace, train
from prostate_uda.methods import TEACHERS, AdaptSegNet, Method, SourceOnly
from prostate_uda.networks import DomainPredictor, FinalLogits, build_network, load_imagenet_weights
from prostate_uda.networks.synced import synced
from prostate_uda.networks.teacher import Teacher
from prostate_uda.recipes.labelling import label_target, round_rule
from prostate_uda.recipes.leftovers import sweep
from prostate_uda.recipes.opening import open_world
from prostate_uda.recipes.processes import is_first, own_name, own_share, processes, together
from prostate_uda.recipes.record import FULL, Record, claimed, writing
from prostate_uda.recipes.rehearsal import rehearse
from prostate_uda.recipes.resuming import (
    begin_anew,
    bring_over,
    check_out,
    check_same_data,
    check_shared,
    earlier_run,
)
from prostate_uda.recipes.settings import AdaptSettings
from prostate_uda.recipes.world import World

SOURCE_ONLY = "source-only"
SELECTION_RULE = "last step of the last round; no target label is used before the final evaluation"


@dataclass(frozen=True)
class Bench:
    """What every stage of a run shares."""

    settings: AdaptSettings
    place: Workplace
    world: World[Any, Any]

    def stage(self, name: str, title: str, method: Method, rate: float, steps: int) -> Stage:
        """A stretch of training."""
        return Stage(
            name=name,
            title=title,
            method=method,
            optimization=self.settings.optimization(rate, steps),
            seed=self.settings.seed,
        )

    def stream(self, name: str, images: ImageSet, augment: str | None = None) -> BatchStream:
        """This process's part of augmented batches that depend on nothing but the seed, the name and the step."""
        return BatchStream(
            images,
            batch_size=own_share(self.settings.batch_size),
            depth=self.settings.depth,
            seed=self.settings.seed,
            name=own_name(name),
            augment=self.settings.kind.augmentation(augment or self.settings.augment, self.settings.shape),
        )

    def segmenter(self, network: nn.Module, method: Method | None = None) -> Labeller:
        """The network as it is now, over whole cases of the target; as a method has it for its pseudo-labels."""
        final = FinalLogits(network)
        return cast("Labeller", self.world.segmenter(final if method is None else method.labeller(final)))


def adapt(
    settings: AdaptSettings, out: Path, *, resume: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Adapt a network from a labelled to an unlabelled domain.

    Args:
        settings: What to do.
        out: The run's folder: ``run.json``, ``cases.csv``, ``checkpoints/``, ``pseudo_labels/``, ``predictions/``,
            ``pictures/``, ``bundle/``.
        resume: Go on with an interrupted run in ``out``; the result is the same, bit for bit on a CPU.
        progress: Is told how far it is.

    Returns:
        What ``run.json`` holds.

    Raises:
        SettingsError: ``out`` is in use, or was begun with other settings or in another number of processes.
        DataError: an image or label cannot be used; nothing has been written to ``out`` then.
        ElsewhereError: the same, of another process.
    """
    with processes(settings.device) as device:
        return _adapt(settings, out, resume, device, progress if progress and is_first() else Silent())


def _adapt(
    settings: AdaptSettings, out: Path, resume: bool, device: torch.device, progress: Progress
) -> dict[str, Any]:
    if resume:
        check_shared(out, "run.json")
    with together():
        own_share(settings.batch_size)
        check_out(out, resume)
        before = earlier_run(settings, out, resume)
    if before is not None and before.content.get("status") == "done":
        progress.note(f"{out} is finished; give another --out to begin a new run")
        return before.content
    world = open_world(settings, progress)
    with together():
        if is_first():
            check_same_data(settings, world, before)
    if before is None:
        rehearse(settings, new_network(settings, device))
    with ExitStack() as stack:
        with together():
            stack.enter_context(claimed(out) if is_first() else writing(out, FULL))
            if is_first():
                sweep(out, deep=True)
            record = (before or _begin(settings, out, world)) if is_first() else None
        stack.enter_context(settings.execution.products())
        place = Workplace(
            folder=out,
            device=device,
            progress=progress,
            checkpoint_every=settings.checkpoint_every,
            execution=settings.execution,
            guards=settings.guards,
            classes=settings.kind.classes,
            writes=is_first(),
        )
        return _run(Bench(settings, place, world), record)


def _run(bench: Bench, record: Record | None) -> dict[str, Any]:
    """All stages; the record is the first process's."""
    settings, place = bench.settings, bench.place
    rounds = {f"round_{number}": settings.build_method() for number in range(1, 1 + settings.rounds)}
    warm = settings.before_rounds
    rounds = rounds if warm is None else {"round_0": warm.build_method(), **rounds}
    with together():
        if place.writes:
            if settings.start_from is not None:
                bring_over(settings.start_from, place, settings, bench.world.target_split.train)
            begin_anew(place, {"source": SourceOnly(), "predictor": AdaptSegNet(), **rounds})
    check_shared(place.folder / "checkpoints", "*.pt")
    with _timed(record, "source_training"):
        source_only = train_source(bench)
    with _timed(record, "domain_predictor"):
        predictor = train_predictor(bench, source_only)
    with _timed(record, "warm_up"):
        adapted = warmed_up(bench, source_only, predictor)
    for number in range(1, 1 + (settings.rounds if settings.method != SOURCE_ONLY else 0)):
        with _timed(record, f"round_{number}"):
            adapted = run_round(bench, number, adapted, predictor)
    with together():
        if record is not None:
            _judge(bench, record, source_only, adapted)
    return Record.read(place.folder / "run.json").content if record is None else record.content


def _judge(bench: Bench, record: Record, source_only: nn.Module, adapted: nn.Module) -> None:
    out, progress = bench.place.folder, bench.place.progress
    with record.timed("evaluation"):
        bench.world.judge(out, record, bench.segmenter(source_only), bench.segmenter(adapted), progress)
    record.content["status"] = "done"
    bench.world.write_bundle(out / "bundle", adapted, record.content, progress)
    record.save()


def _timed(record: Record | None, name: str) -> AbstractContextManager[None]:
    return nullcontext() if record is None else record.timed(name)


def _begin(settings: AdaptSettings, out: Path, world: World[Any, Any]) -> Record:
    return Record.begin(
        out / "run.json",
        settings.record(),
        seed=settings.seed,
        selection_rule=SELECTION_RULE,
        processes=idist.get_world_size(),
        cases=world.case_ids(),
        hashes=world.hashes(),
    )


def new_network(settings: AdaptSettings, device: torch.device) -> nn.Module:
    """The network before any training, the same in all processes: the seed's, or ImageNet's where weights are given."""
    generator = torch.Generator().manual_seed(settings.seed)
    network = build_network(
        settings.network, in_channels=settings.channels, num_classes=len(settings.kind.classes), generator=generator
    )
    if settings.weights is not None:
        load_imagenet_weights(network, settings.weights)
    return synced(network).to(device)


def train_source(bench: Bench) -> nn.Module:
    """The network after supervised training on the source."""
    settings = bench.settings
    network = new_network(settings, bench.place.device)
    stage = bench.stage("source", "source training", SourceOnly(), settings.learning_rate, settings.source_steps)
    train(stage, network, Pairs(bench.stream("source", bench.world.source), None), bench.place)
    return network


def train_predictor(bench: Bench, source_only: nn.Module) -> DomainPredictor | None:
    """The frozen domain predictor, where it is asked for: discriminator and network, trained adversarially."""
    settings = bench.settings
    if not settings.trains_predictor:
        return None
    network = copy.deepcopy(source_only)
    stage = bench.stage("predictor", "domain predictor", AdaptSegNet(), settings.adapt_rate, settings.predictor_steps)
    pairs = Pairs(
        bench.stream("predictor-source", bench.world.source), bench.stream("predictor-target", bench.world.target)
    )
    state = train(stage, network, pairs, bench.place)
    return DomainPredictor(network, state.modules["discriminator"])


def warmed_up(bench: Bench, source_only: nn.Module, predictor: DomainPredictor | None) -> nn.Module:
    """What the first round starts from; source-only has no round."""
    settings, warm = bench.settings, bench.settings.before_rounds
    if warm is not None:
        return run_round(replace(bench, settings=warm), 0, source_only, None)
    if settings.method == SOURCE_ONLY or settings.warm_up == "none" or predictor is None:
        return source_only
    return copy.deepcopy(predictor.network.network).requires_grad_(True)


def run_round(bench: Bench, number: int, teacher: nn.Module, predictor: DomainPredictor | None) -> nn.Module:
    """Pseudo-labels from the teacher, frozen, and a copy of it adapted with them."""
    settings, name = bench.settings, f"round_{number}"
    method = settings.build_method()
    target, thresholds = bench.world.target, torch.zeros(len(settings.kind.classes))
    if "pseudo_labels" in method.needs:
        segmenter, cases = bench.segmenter(teacher, method), bench.world.target_split.train
        rule, source = (settings.selection(number), round_rule(settings, number)), bench.world.source_split.train
        labelled, thresholds = label_target(segmenter, cases, *rule, number, bench.place, settings.noise, source)
        with together():
            target = bench.world.with_labels(labelled)
        tell_vanished(bench, number, target)
    frozen = freeze(bench, number, method, Teacher(teacher, thresholds), target) if TEACHERS & method.needs else None
    network = copy.deepcopy(teacher)
    stage = bench.stage(name, f"round {number}: {settings.method}", method, settings.adapt_rate, settings.steps)
    pairs = Pairs(bench.stream(f"{name}-source", bench.world.source), bench.stream(f"{name}-target", target))
    train(stage, network, pairs, bench.place, domain_predictor=predictor, teacher=frozen)
    return network


def tell_vanished(bench: Bench, number: int, target: ImageSet) -> None:
    """Warn where a round's pseudo-labels, of all processes, never say a class: nothing will bring it back."""
    classes = bench.settings.kind.classes
    with together():
        counts = label_counts(target, len(classes))
    if gone := vanished(idist.all_reduce(counts), classes):
        bench.place.progress.note(f"warning: round {number}: no pseudo-label says {' or '.join(gone)}")


def freeze(bench: Bench, number: int, method: Method, teacher: Teacher, target: ImageSet) -> Teacher:
    """The round's teacher with all that the method asks of it."""
    if "confusion" in method.needs:
        teacher.confusion = ask_teacher(bench, number, teacher)
    if "survey" in method.needs:
        place, size, depth = bench.place, own_share(bench.settings.batch_size), bench.settings.depth
        on_source, on_target = (
            (batch.to(place.device) for batch in domain.in_order(size, depth))
            for domain in (bench.world.source, target)
        )
        with together(), place.progress.task(f"round {number}: survey", 1) as task:
            teacher.survey = method.survey(on_source, on_target, teacher)
            task.advance()
    return teacher


def ask_teacher(bench: Bench, number: int, teacher: Teacher) -> Tensor:
    """``(C, C)``: what the round's rule makes of the source's slices under strong augmentation, each about once."""
    settings, slices = bench.settings, bench.world.source
    stream = bench.stream(f"round_{number}-confusion", slices, "strong")
    steps = math.ceil(len(slices) / stream.batch_size)
    batches, title = map(stream.at, range(steps)), f"round {number}: confusion on the source"
    with together():
        counts = count_confusion(teacher, batches, settings.selection(number), bench.place.progress, title, steps)
    return cast("Tensor", idist.all_reduce(counts))


__all__ = ["AdaptSettings", "Case", "adapt"]
