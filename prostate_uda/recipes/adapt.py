"""Floor 5: ``adapt``, told from top to bottom.

check data → source training → domain predictor → rounds of (pseudo-labels, adaptation) → evaluation on the native
grid → bundle, tables and pictures. Whatever is done is on disk, so an interrupted run is taken up where it was.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.transforms import Compose
from torch import nn

from prostate_uda.data.domains import Case
from prostate_uda.data.preprocessing import preprocessing
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
from prostate_uda.recipes.bundle_folder import network_config, preprocessing_config, write_bundle
from prostate_uda.recipes.judging import judge_run
from prostate_uda.recipes.record import Record
from prostate_uda.recipes.settings import FREE, OWN, AdaptSettings, pick_device
from prostate_uda.recipes.world import World, open_world
from prostate_uda.transforms import AUGMENTATIONS, NORMALIZATIONS

CLASSES = 3
SELECTION_RULE = "last step of the last round; no target label is read before the final evaluation"


@dataclass(frozen=True)
class Bench:
    """What every stage of a run shares."""

    settings: AdaptSettings
    place: Workplace
    world: World
    preprocessing: Compose

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
        return Segmenter(FinalLogits(network), self.preprocessing, inferer, self.place.device)


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
    bench_pre = preprocessing(settings.grid, NORMALIZATIONS[settings.normalize].build())
    world = open_world(settings, bench_pre, progress)
    record = _open_record(settings, out, world, resume)
    place = Workplace(folder=out, device=device, progress=progress, checkpoint_every=settings.checkpoint_every)
    if settings.start_from is not None:
        _start_from(settings.start_from, place)
    bench = Bench(settings, place, world, bench_pre)
    with record.timed("source_training"):
        source_only = train_source(bench)
    with record.timed("domain_predictor"):
        predictor = train_predictor(bench, source_only)
    adapted = source_only
    for number in range(1, settings.rounds + 1):
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
    channel = bench.world.target_domain.channel
    write_bundle(
        folder,
        network_config=network_config(settings.network, in_channels=settings.depth, num_classes=CLASSES),
        state_dict=FinalLogits(network).state_dict(),
        preprocessing_config=preprocessing_config(settings.grid, settings.normalize, channel=channel),
        depth=settings.depth,
        provenance=record.content,
    )


def _check_out(out: Path, resume: bool) -> None:
    begun = (out / "run.json").exists()
    if resume and not begun:
        raise SettingsError(f"{out} holds no run to resume; leave out --resume to begin one")
    if not resume and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"{out} is already in use; add --resume to go on with it, or give another --out")


def _open_record(settings: AdaptSettings, out: Path, world: World, resume: bool) -> Record:
    if settings.start_from is not None:
        Record.made_with(settings.start_from / "run.json", settings.record(), OWN | FREE)
    if resume:
        return Record.made_with(out / "run.json", settings.record(), FREE)
    out.mkdir(parents=True, exist_ok=True)
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
        target = bench.world.with_labels(labelled, bench.preprocessing)
    network = copy.deepcopy(teacher)
    stage = bench.stage(name, f"round {number}: {settings.method}", method, settings.adapt_rate, settings.steps)
    pairs = Pairs(bench.stream(f"{name}-source", bench.world.source), bench.stream(f"{name}-target", target))
    train(stage, network, pairs, bench.place, domain_predictor=predictor)
    return network


__all__ = ["AdaptSettings", "Case", "adapt"]
