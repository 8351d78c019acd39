"""Floor 5: ``plot embedding``: the features of source and target before and after adaptation, as t-SNE and a number."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from prostate_uda.data.labels import ZONES
from prostate_uda.data.slices import SliceSet
from prostate_uda.engines.observers import Progress, Silent
from prostate_uda.errors import DataError, SettingsError
from prostate_uda.metrics.separability import domain_separability
from prostate_uda.networks import Levels
from prostate_uda.recipes.adapt import SOURCE_ONLY
from prostate_uda.recipes.devices import pick_device
from prostate_uda.recipes.plot import picture_path, shortened
from prostate_uda.recipes.record import write_json, writing
from prostate_uda.recipes.recorded import load_network, read_finished, recorded_settings
from prostate_uda.recipes.resuming import check_same_data
from prostate_uda.recipes.settings import AdaptSettings
from prostate_uda.recipes.tasks import check_zones
from prostate_uda.recipes.zone_world import ZoneWorld, open_zones
from prostate_uda.review.embedding import EmbeddingPanel, embedding_figure, perplexity, tsne
from prostate_uda.review.figures import save_figure
from prostate_uda.review.ntm import class_names

CLASSES = len(ZONES)
FEWEST, MOST = 5, 2000
"""Points per domain and class that can be asked for: t-SNE of more takes hours."""
BATCH = 16
Classes = Mapping[bool, Tensor]
"""``(N, h, w)`` class of each pixel of the deepest feature map, of the source (False) and the target (True)."""


@dataclass(frozen=True)
class Embedded:
    """What was written.

    Attributes:
        picture: The two panels.
        numbers: The JSON beside it.
        separability: ``before`` and ``after``, in ``[0, 1]``; NaN where a domain has a single patient.
    """

    picture: Path
    numbers: Path
    separability: dict[str, float]


@dataclass(frozen=True)
class Drawn:
    """Pixels of the deepest feature map, equally many of each domain in each class.

    Attributes:
        features: ``(P, F)``.
        classes: ``(P,)``: the source's label, or the network's prediction on the target.
        target: ``(P,)`` bool.
        cases: Whose each is.
    """

    features: Tensor
    classes: Tensor
    target: Tensor
    cases: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """Points of each class, per domain."""
        found = torch.bincount(self.classes[self.target], minlength=CLASSES).tolist()
        return dict(zip(class_names(CLASSES), found, strict=True))


def plot_embedding(
    run: Path,
    out: Path | None = None,
    *,
    points: int = 150,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> Embedded:
    """Draw what goes into the last head of the source-only and of the adapted network, on training slices.

    No target label is used: a target pixel's class is what the network itself says.

    Args:
        run: Folder of a finished run of any method that adapts.
        out: ``.png``, ``.pdf`` or ``.svg`` to write; by default ``pictures/embedding.png`` of the run. The numbers go
            beside it, as ``<name>.separability.json``.
        points: Most pixels per domain and class, 5 to 2000; of a class that is rarer in a domain, or for one of the
            networks, there are as few everywhere.
        seed: Of the drawing and of t-SNE.
        device: See :func:`pick_device`.
        progress: Is told how far it is.

    Raises:
        SettingsError: ``out`` has another suffix or cannot be written, ``points`` is out of its range, the run adapted
            nothing, or was made from other files.
        CheckpointError: no finished run there, or a damaged one.
        DataError: the data cannot be used, or too few pixels can be drawn.
    """
    out = picture_path(out, run / "pictures" / "embedding.png")
    if not FEWEST <= points <= MOST or not 0 <= seed < 2**32:
        raise SettingsError(
            f"points {points}, seed {seed}; allowed are {FEWEST} to {MOST} points, a seed of 0 to 2³²-1"
        )
    record, progress = read_finished(run), progress or Silent()
    settings = replace(recorded_settings(record.content["settings"]), start_from=None)
    check_zones(settings.source, "plot embedding")
    if settings.method == SOURCE_ONLY:
        raise SettingsError(f"{run} is a run of {SOURCE_ONLY}: nothing was adapted; give the run of another method")
    stages = {"before": "source", "after": f"round_{settings.rounds}"}
    place = pick_device(device)
    networks = {when: load_network(run, settings, stage, place) for when, stage in stages.items()}
    world = open_zones(settings, progress)
    check_same_data(settings, world, record)
    drawn = draw_points(networks, world, settings.depth, points, seed)
    for name, count in drawn["after"].counts().items():
        if not count:
            progress.note(f"warning: no point of {name}: a network finds none in the target")
    told = {when: domain_separability(one.features, one.target, one.cases) for when, one in drawn.items()}
    panels = []
    with progress.task("t-SNE", len(drawn)) as task:
        for when, one in drawn.items():
            panels.append(_panel(when, settings, one, told[when], seed))
            task.advance()
    title = f"{shortened(run.resolve().name)}: features of the last head\n{settings.source} → {settings.target}"
    numbers = out.with_suffix(".separability.json")
    with writing(out):
        save_figure(embedding_figure(panels, title=title, classes=CLASSES), out)
        write_json(numbers, _numbers(run, settings, drawn, told, seed))
    return Embedded(out, numbers, told)


def draw_points(
    networks: Mapping[str, nn.Module], world: ZoneWorld, depth: int, most: int, seed: int
) -> dict[str, Drawn]:
    """Each network's points; of each class as many before as after, or the numbers would not compare."""
    classes = {when: point_classes(network, world, depth) for when, network in networks.items()}
    counts = _counts(classes.values(), most)
    return {
        when: _draw(network, world, depth, classes[when], counts, torch.Generator().manual_seed(seed))
        for when, network in networks.items()
    }


def _panel(when: str, settings: AdaptSettings, drawn: Drawn, told: float, seed: int) -> EmbeddingPanel:
    network = SOURCE_ONLY if when == "before" else settings.method
    number = "not measured (a single patient)" if np.isnan(told) else f"{told:.2f}"
    title = f"{when}: {network}, domain separability {number}"
    points = tsne(drawn.features.numpy(), seed)
    return EmbeddingPanel(title, points, drawn.classes.numpy(), drawn.target.numpy())


def _numbers(
    run: Path, settings: AdaptSettings, drawn: dict[str, Drawn], told: dict[str, float], seed: int
) -> dict[str, object]:
    return {
        "run": str(run),
        "method": settings.method,
        "seed": seed,
        "domain_separability": told,
        "domain_separability_is": "accuracy of logistic regression, cross-validated over patients; 0.5 is chance",
        "points_per_domain": drawn["after"].counts(),
        "perplexity": perplexity(len(drawn["after"].classes)),
        "target_classes": "the network's own prediction; no target label is used",
    }


def point_classes(network: nn.Module, world: ZoneWorld, depth: int) -> Classes:
    """The source's labels and what the network says of the target, on the feature map's grid."""
    predicted = []
    for batch in torch.split(torch.arange(len(world.target)), BATCH):
        levels = _run(network, world.target, depth, batch)
        predicted.append(_coarse(levels.final.argmax(dim=1), levels.features[-1].shape[-2:]).cpu())
    return {False: _coarse(world.source.labels, predicted[0].shape[-2:]), True: torch.cat(predicted)}


def _counts(found: Iterable[Classes], most: int) -> tuple[int, ...]:
    """Pixels to draw of each class: equally many of both domains and for all networks.

    Raises:
        DataError: fewer than :data:`FEWEST` in all.
    """
    there = [torch.bincount(classes.flatten(), minlength=CLASSES) for both in found for classes in both.values()]
    counts = tuple(torch.stack(there).amin(dim=0).clamp(max=most)[:CLASSES].tolist())
    if sum(counts) < FEWEST:
        raise DataError(f"{sum(counts)} pixels of each domain share a class; {FEWEST} are needed: train longer")
    return counts


def _draw(
    network: nn.Module,
    world: ZoneWorld,
    depth: int,
    classes: Classes,
    counts: Sequence[int],
    generator: torch.Generator,
) -> Drawn:
    """So many pixels of each class, of both domains' training slices, and their features."""
    slices = {False: world.source, True: world.target}
    features, kinds, target = [], [], []
    cases: list[str] = []
    for domain, found in classes.items():
        places = torch.cat([_some(found.flatten() == kind, count, generator) for kind, count in enumerate(counts)])
        area = found[0].numel()
        features.append(_features(network, slices[domain], depth, places, area))
        kinds.append(found.flatten()[places])
        target.append(torch.full((len(places),), domain))
        cases += [slices[domain].cases[index] for index in (places // area).tolist()]
    return Drawn(torch.cat(features), torch.cat(kinds), torch.cat(target), tuple(cases))


def _some(mask: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``(count,)`` places where a ``(P,)`` mask is true, none twice."""
    places = torch.nonzero(mask).flatten()
    return places[torch.randperm(len(places), generator=generator)[:count]]


def _coarse(labels: Tensor, size: Sequence[int]) -> Tensor:
    """``(N, h, w)`` class at the middle of each feature pixel, of ``(N, H, W)`` labels."""
    return interpolate(labels[:, None].float(), size=list(size), mode="nearest-exact")[:, 0].long()


def _features(network: nn.Module, slices: SliceSet, depth: int, places: Tensor, area: int) -> Tensor:
    """``(P, F)`` at flat places of ``(N, h, w)``; ``area`` is h·w. Only slices with a place are run."""
    of, parts, order = places // area, [], []
    for batch in torch.split(torch.unique(of), BATCH):
        maps = _run(network, slices, depth, batch).features[-1].flatten(2).float().cpu()
        for index, one in zip(batch, maps, strict=True):
            mine = torch.nonzero(of == index).flatten()
            parts.append(one[:, places[mine] % area].T)
            order.append(mine)
    return torch.cat(parts)[torch.cat(order).argsort()]


@torch.inference_mode()
def _run(network: nn.Module, slices: SliceSet, depth: int, index: Tensor) -> Levels:
    device = next(network.parameters()).device
    levels: Levels = network(slices.stack(index, depth).to(device))
    return levels
