"""Floor 5: ``rank``: the networks of a comparison in an order that needs no target label, and how good that order is.

What is asked: does a network say the same of a scan and of that scan as another scanner would have seen it; is it sure
where it says gland; does it find the volumes that the source's men have. Only training scans of the target are looked
at, without their labels. Where its test cases have labels, the order is compared with that of their Dice, afterwards.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import Tensor

from prostate_uda.data.domains import Case
from prostate_uda.engines.evaluation import Segmenter
from prostate_uda.engines.observers import Progress, Silent, Task
from prostate_uda.errors import CheckpointError
from prostate_uda.maths.entropy import normalized_entropy
from prostate_uda.metrics import summarize
from prostate_uda.metrics.label_free import certainty, consistency, mean_rank, plausibility
from prostate_uda.recipes.bundle_reading import load_segmenter
from prostate_uda.recipes.comparison.grid import ORACLE
from prostate_uda.recipes.comparison.queue import finished_runs
from prostate_uda.recipes.comparison.scores import MEAN, cells, read_cases
from prostate_uda.recipes.devices import pick_device
from prostate_uda.recipes.record import Record, check_file_place, write_json, writing
from prostate_uda.recipes.recorded import recorded_settings
from prostate_uda.recipes.resuming import check_same_files
from prostate_uda.recipes.tasks import check_zones
from prostate_uda.recipes.world import case_hashes, splits
from prostate_uda.recipes.zone_world import zone_volumes
from prostate_uda.transforms.augmentation import other_scanner

CRITERIA = ("consistency", "certainty", "plausibility")
ALL, ANY = "mean_rank", "rank_in_any"
"""Mean rank over the criteria, within a protocol and seed; and within a seed, among the networks of all protocols."""
ANYWHERE = "any"
"""What :func:`agreement` calls all protocols together."""


def rank(
    comparison: Path,
    out: Path | None = None,
    *,
    device: str = "auto",
    command: str = "prostate_uda.recipes.rank",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Order a comparison's finished networks without target labels.

    Args:
        comparison: Folder of the comparison, finished or not.
        out: JSON to write; by default ``rank.json`` of the comparison.
        device: See :func:`~prostate_uda.recipes.devices.pick_device`.
        command: What is written down as the origin.
        progress: Is told.

    Returns:
        ``rows``: protocol, seed, row, each of :data:`CRITERIA`, :data:`ALL`, :data:`ANY` and ``dice``, the mean of PZ,
        TZ and WP in points or None; ``agreement``: protocol, or ``any`` where there are several, → criterion →
        ``spearman`` and its ``seeds``, what is ``chosen`` of each seed (the first, of several that are level), and
        ``regret``, how many points the chosen ones lie below the best, in the mean (``regrets``: of each seed).

    Raises:
        CheckpointError: no finished run is there, or one is damaged.
        DataError: the data of a run cannot be used.
        SettingsError: ``out`` cannot be written, or training scans are not those that a run was made from.
    """
    out, progress, where = out or comparison / "rank.json", progress or Silent(), pick_device(device)
    runs = [run for run in finished_runs(comparison) if run.name != ORACLE]
    if not runs:
        raise CheckpointError(f"{comparison} holds no finished run of a comparison; give the --out of compare")
    check_file_place(out)
    groups: dict[Path, list[Path]] = defaultdict(list)
    for run in runs:
        groups[run.parent].append(run)
    with progress.task("ranking", len(runs)) as task:
        rows = ranked([row for group in groups.values() for row in _ask_seed(group, where, task)])
    table = {"command": command, "rows": rows, "agreement": agreement(rows)}
    with writing(out):
        write_json(out, table)
    return table


def _ask_seed(runs: Sequence[Path], device: torch.device, task: Task) -> list[dict[str, Any]]:
    """The rows of a protocol and seed, without their ranks."""
    settings = recorded_settings(Record.read(runs[0] / "run.json").content["settings"])
    check_zones(settings.source, "rank")
    source, target, _ = splits(settings)
    expected = zone_volumes(source.train)[1:]
    training = {"source/train": source.train, "target/train": target.train}
    asked: list[dict[str, float]] = []
    scans: list[Scan] = []
    for run in runs:
        record = Record.read(run / "run.json")
        for part, cases in training.items():
            check_same_files(record, case_hashes(part, cases), part)
        segmenter = load_segmenter(run, device)
        scans = scans or read_scans(segmenter, target.train, settings.seed)  # all runs preprocess alike
        asked.append(ask(segmenter, scans, expected))
        task.advance()
    at = {"protocol": runs[0].parent.parent.name, "seed": settings.seed}
    return [{**at, "row": run.name, **scores, "dice": _dice(run)} for run, scores in zip(runs, asked, strict=True)]


def ranked(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with their ranks, :data:`ALL` and :data:`ANY`.

    Args:
        rows: Protocol, seed and each of :data:`CRITERIA`.
    """
    found = [dict(row) for row in rows]
    for name, keys in ((ALL, ("protocol", "seed")), (ANY, ("seed",))):
        for group in _groups(found, *keys):
            places = mean_rank(torch.tensor([[float(row[key]) for row in group] for key in CRITERIA]))
            for row, place in zip(group, places.tolist(), strict=True):
                row[name] = place
    return found


def _groups(rows: Sequence[dict[str, Any]], *keys: str) -> list[list[dict[str, Any]]]:
    """The rows that have the same of all these, in the order of the first ones."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in keys)].append(row)
    return [*groups.values()]


def _dice(run: Path) -> float | None:
    value = cells([read_cases(run)])[MEAN]["mean"]
    return None if math.isnan(value) else float(value)


@dataclass(frozen=True)
class Scan:
    """An unlabelled scan on the working grid.

    Attributes:
        image: ``(X, Y, Z)``.
        otherwise: ``(X, Y, Z)``, the man's mirror image as another scanner would have seen it.
        voxel_ml: Volume of a voxel.
    """

    image: Tensor
    otherwise: Tensor
    voxel_ml: float


def read_scans(segmenter: Segmenter, cases: Sequence[Case], seed: int) -> list[Scan]:
    """The cases through the segmenter's preprocessing; their labels are not read.

    Args:
        segmenter: Of any of the networks.
        cases: The target's training cases.
        seed: Of what the other scanner does.
    """
    scans = []
    for number, case in enumerate(cases):
        image = segmenter.preprocessing({"image": case.image})["image"]
        voxel_ml = float(torch.as_tensor(image.affine)[:3, :3].double().det().abs()) / 1000
        volume = image.as_tensor()[0]
        scans.append(Scan(volume, _otherwise(volume, seed, number), voxel_ml))
    return scans


def ask(segmenter: Segmenter, scans: Sequence[Scan], expected: Tensor) -> dict[str, float]:
    """:data:`CRITERIA` of one network, NaN or -∞ where it finds no gland.

    Args:
        segmenter: Of the network.
        scans: Of the target.
        expected: ``(C - 1,)`` mean mL of each zone in the source.
    """
    agreed, sure, volumes = [], [], []
    for scan in scans:
        logits = segmenter.logits(scan.image)
        labels = logits.argmax(dim=0)
        mirrored = segmenter.logits(scan.otherwise).argmax(dim=0)
        agreed.append(consistency(mirrored.flip(0), labels))
        sure.append(certainty(normalized_entropy(logits[None])[0], labels))
        volumes.append(labels.flatten().bincount(minlength=len(logits))[1:] * scan.voxel_ml)
    return {
        "consistency": summarize(agreed).mean,
        "certainty": summarize(sure).mean,
        "plausibility": plausibility(torch.stack(volumes).mean(dim=0), expected),
    }


def _otherwise(volume: Tensor, seed: int, number: int) -> Tensor:
    """``(X, Y, Z)`` as another scanner would have seen the man's mirror image, each slice with a draw of its own."""
    scanner, slices = other_scanner(), []
    for place, piece in enumerate(volume.flip(0).permute(2, 1, 0)):
        scanner.set_random_state(seed=(seed * 1009 + number) * 1009 + place)
        slices.append(torch.as_tensor(scanner({"image": piece[None]})["image"])[0])
    return torch.stack(slices).as_subclass(Tensor).permute(2, 1, 0)


def agreement(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """How far each criterion's order is that of the Dice: see :func:`rank`.

    Seeds without labels, or with fewer than three networks, are left out.

    Args:
        rows: As :func:`ranked` has them, with ``dice``.
    """
    found: dict[str, dict[str, Any]] = {}
    protocols = [*dict.fromkeys(row["protocol"] for row in rows)]
    for protocol in (*protocols, *([ANYWHERE] if len(protocols) > 1 else [])):
        mine = [row for row in rows if protocol in (row["protocol"], ANYWHERE)]
        judged = [
            group for group in _groups(mine, "seed") if len(group) > 2 and all(row["dice"] is not None for row in group)
        ]
        if judged:
            order = ANY if protocol == ANYWHERE else ALL
            found[protocol] = {name: _agreement(judged, name) for name in CRITERIA} | {ALL: _agreement(judged, order)}
    return found


def _agreement(groups: Sequence[Sequence[Mapping[str, Any]]], name: str) -> dict[str, Any]:
    correlations, chosen, regret = [], [], []
    for group in groups:
        scores = [-math.inf if math.isnan(row[name]) else row[name] for row in group]
        dice = [row["dice"] for row in group]
        varied = len({*scores}) > 1 and len({*dice}) > 1
        correlations.append(float(spearmanr(scores, dice).statistic) if varied else math.nan)
        best = group[max(range(len(group)), key=scores.__getitem__)]
        several = len({row["protocol"] for row in group}) > 1
        chosen.append(f"{best['row']} ({best['protocol']})" if several else best["row"])
        regret.append(max(dice) - best["dice"])
    return {
        "spearman": summarize(correlations).mean,
        "seeds": correlations,
        "chosen": chosen,
        "regret": summarize(regret).mean,
        "regrets": regret,
    }
