"""Floor 5: ``adapt``, told from top to bottom.

check data → source training → domain predictor → rounds of (pseudo-labels, adaptation) → evaluation on the native
grid → bundle, tables and pictures. Whatever is done is on disk, so an interrupted run is taken up where it was.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prostate_uda.data.domains import Case
from prostate_uda.data.slices import BatchStream, SliceSet
from prostate_uda.engines import checkpoints
from prostate_uda.engines.evaluation import Segmenter
from prostate_uda.engines.inference import SliceStackInferer
from prostate_uda.engines.observers import Progress, Silent
from prostate_uda.engines.rounds import label_cases
from prostate_uda.engines.stages import Pairs, Stage, Workplace, train
from prostate_uda.errors import SettingsError
from prostate_uda.methods import AdaptSegNet, Method, SourceOnly
from prostate_uda.networks import DomainPredictor, FinalLogits, build_network, load_imagenet_weights
from prostate_uda.recipes.bundle_folder import network_config, write_bundle
from prostate_uda.recipes.judging import judge_run
from prostate_uda.recipes.record import Record, claimed
from prostate_uda.recipes.rehearsal import rehearse
from prostate_uda.recipes.settings import FREE, OWN, AdaptSettings, pick_device
from prostate_uda.recipes.world import World, open_world
from prostate_uda.transforms import AUGMENTATIONS

CLASSES = 3
SOURCE_ONLY = "source-only"
SELECTION_RULE = "last step of the last round; no target label is used before the final evaluation"


@dataclass(frozen=True)
class Bench:
    """What every stage of a run shares."""

    settings: AdaptSettings
    place: Workplace
    world: World

    def stage(self, name: str, title: str, method: Method, rate: float, steps: int) -> Stage:
        """A stretch of training."""
        return Stage(
            name=name,
            title=title,
            method=method,
            optimization=self.settings.optimization(rate, steps),
            seed=self.settings.seed,
        )

    def stream(self, name: str, slices: SliceSet) -> BatchStream:
        """Augmented batches that depend on nothing but the seed, the name and the step."""
        return BatchStream(
            slices,
            batch_size=self.settings.batch_size,
            depth=self.settings.depth,
            seed=self.settings.seed,
            name=name,
            augment=AUGMENTATIONS[self.settings.augment](),
        )

    def segmenter(self, network: nn.Module) -> Segmenter:
        """The network as it is now, over whole volumes of the target."""
        inferer = SliceStackInferer(self.settings.depth, batch_size=16)
        return Segmenter(FinalLogits(network), self.world.pipeline.preprocessing, inferer, self.place.device)


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
        SettingsError: ``out`` is in use, or was begun with other settings.
        DataError: an image or label cannot be used; nothing has been written to ``out`` then.
    """
    progress = progress or Silent()
    device = pick_device(settings.device)
    _check_out(out, resume)
    before = _earlier(settings, out, resume)
    if before is not None and before.content.get("status") == "done":
        progress.note(f"{out} is finished; give another --out to begin a new run")
        return before.content
    world = open_world(settings, progress)
    _check_same_data(settings, world, before)
    if before is None:
        rehearse(settings, new_network(settings, device))
    with claimed(out):
        record = before or _begin(settings, out, world)
        return _run(settings, out, world, record, device, progress)


def _run(
    settings: AdaptSettings, out: Path, world: World, record: Record, device: torch.device, progress: Progress
) -> dict[str, Any]:
    place = Workplace(folder=out, device=device, progress=progress, checkpoint_every=settings.checkpoint_every)
    if settings.start_from is not None:
        _start_from(settings.start_from, place)
    bench = Bench(settings, place, world)
    with record.timed("source_training"):
        source_only = train_source(bench)
    with record.timed("domain_predictor"):
        predictor = train_predictor(bench, source_only)
    adapted = source_only
    for number in range(1, 1 + (settings.rounds if settings.method != SOURCE_ONLY else 0)):
        with record.timed(f"round_{number}"):
            adapted = run_round(bench, number, adapted, predictor)
    with record.timed("evaluation"):
        judge_run(out, record, world, bench.segmenter(source_only), bench.segmenter(adapted), progress)
    record.content["status"] = "done"
    _write_bundle(out / "bundle", bench, adapted, record)
    record.save()
    return record.content


def _write_bundle(folder: Path, bench: Bench, network: nn.Module, record: Record) -> None:
    settings = bench.settings
    write_bundle(
        folder,
        network_config=network_config(settings.network, in_channels=settings.depth, num_classes=CLASSES),
        state_dict=FinalLogits(network).state_dict(),
        preprocessing_config=bench.world.pipeline.config,
        depth=settings.depth,
        provenance=record.content,
    )


def _check_out(out: Path, resume: bool) -> None:
    begun = (out / "run.json").exists()
    if resume and not begun:
        raise SettingsError(f"{out} holds no run to resume; leave out --resume to begin one")
    if (
        not resume
        and out.exists()
        and (not out.is_dir() or any(not path.name.startswith(".") for path in out.iterdir()))
    ):
        raise SettingsError(f"{out} is already in use; add --resume to go on with it, or give another --out")


def _earlier(settings: AdaptSettings, out: Path, resume: bool) -> Record | None:
    """The record of the run that is taken up, once it and the run that is started from have these settings."""
    if settings.start_from is not None:
        Record.made_with(settings.start_from / "run.json", settings.record(), OWN | FREE)
    return Record.made_with(out / "run.json", settings.record(), FREE) if resume else None


def _check_same_data(settings: AdaptSettings, world: World, before: Record | None) -> None:
    """Refuse to go on with other files than those that the earlier run read.

    Raises:
        SettingsError: a file has changed, come or gone; the message names it.
    """
    now = world.hashes()
    if before is not None:
        _compare(before, now, "")
    if settings.start_from is not None:
        earlier = Record.read(settings.start_from / "run.json")
        for part in ("source/", "target/train/"):
            _compare(earlier, now, part)


def _compare(earlier: Record, now: Mapping[str, str], part: str) -> None:
    before = earlier.content.get("hashes", {})
    names = sorted(name for name in {*before, *now} if name.startswith(part) and before.get(name) != now.get(name))
    if names:
        what = "is new" if names[0] not in before else "is gone" if names[0] not in now else "has changed"
        raise SettingsError(
            f"{earlier.path} was made from other files: {names[0]} {what} ({len(names)} in all); bring them back, or "
            "begin a new run"
        )


def _begin(settings: AdaptSettings, out: Path, world: World) -> Record:
    return Record.begin(
        out / "run.json",
        settings.record(),
        seed=settings.seed,
        selection_rule=SELECTION_RULE,
        cases=world.case_ids(),
        hashes=world.hashes(),
    )


def _start_from(earlier: Path, place: Workplace) -> None:
    """Bring over what an earlier run has of the stages before the rounds."""
    for stage in ("source", "predictor"):
        theirs, ours = earlier / "checkpoints" / f"{stage}.pt", place.checkpoint(stage)
        if theirs.exists() and not ours.exists():
            checkpoints.save(ours, checkpoints.load(theirs))


def new_network(settings: AdaptSettings, device: torch.device) -> nn.Module:
    """The network before any training: the seed's, or ImageNet's where weights are given."""
    generator = torch.Generator().manual_seed(settings.seed)
    network = build_network(settings.network, in_channels=settings.depth, num_classes=CLASSES, generator=generator)
    if settings.weights is not None:
        load_imagenet_weights(network, settings.weights)
    return network.to(device)


def train_source(bench: Bench) -> nn.Module:
    """The network after supervised training on the source."""
    settings = bench.settings
    network = new_network(settings, bench.place.device)
    stage = bench.stage("source", "source training", SourceOnly(), settings.learning_rate, settings.source_steps)
    train(stage, network, Pairs(bench.stream("source", bench.world.source), None), bench.place)
    return network


def train_predictor(bench: Bench, source_only: nn.Module) -> nn.Module | None:
    """The frozen domain predictor, where the method asks for one: discriminator and network, trained adversarially."""
    settings = bench.settings
    if "domain_predictor" not in settings.build_method().needs or settings.predictor_steps == 0:
        return None
    network = copy.deepcopy(source_only)
    stage = bench.stage("predictor", "domain predictor", AdaptSegNet(), settings.adapt_rate, settings.predictor_steps)
    pairs = Pairs(
        bench.stream("predictor-source", bench.world.source), bench.stream("predictor-target", bench.world.target)
    )
    state = train(stage, network, pairs, bench.place)
    return DomainPredictor(network, state.modules["discriminator"])


def run_round(bench: Bench, number: int, teacher: nn.Module, predictor: nn.Module | None) -> nn.Module:
    """Pseudo-labels from the teacher, frozen, and a copy of it adapted with them."""
    settings, name = bench.settings, f"round_{number}"
    method = settings.build_method()
    target = bench.world.target
    if "pseudo_labels" in method.needs:
        labelled = label_cases(
            bench.segmenter(teacher),
            bench.world.target_split.train,
            bench.place.folder / "pseudo_labels" / name,
            settings.pseudo_threshold,
            bench.place.progress,
            f"round {number}: pseudo-labels",
        )
        target = bench.world.with_labels(labelled)
    network = copy.deepcopy(teacher)
    stage = bench.stage(name, f"round {number}: {settings.method}", method, settings.adapt_rate, settings.steps)
    pairs = Pairs(bench.stream(f"{name}-source", bench.world.source), bench.stream(f"{name}-target", target))
    train(stage, network, pairs, bench.place, domain_predictor=predictor)
    return network


__all__ = ["AdaptSettings", "Case", "adapt"]
