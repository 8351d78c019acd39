"""Floor 5: the end of a run of driving scenes: label maps, IoU over all pictures, and a few pictures to look at."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prostate_uda.data.domains import Case, get_domain
from prostate_uda.data.scene_classes import COLOURS, SCENE_CLASSES, SYNTHIA_13, SYNTHIA_16
from prostate_uda.data.scene_images import read_scene_label, write_scene_colours
from prostate_uda.engines.observers import Progress
from prostate_uda.engines.scenes import INTERSECTION, UNION, SceneSegmenter, column, judge_scene
from prostate_uda.metrics import mean_iou
from prostate_uda.recipes.record import Record, write_rows
from prostate_uda.recipes.settings import AdaptSettings
from prostate_uda.review.scenes import scene_figure

STAGES = ("source_only", "adapted")
ON_SOURCE = "source_only_on_source"
PICTURES = 8
"""Test cases that are drawn; of all there are label maps."""


def judge_scenes(
    out: Path,
    record: Record,
    cases: Sequence[Case],
    segmenters: tuple[SceneSegmenter, SceneSegmenter],
    held_out: tuple[Sequence[Case], SceneSegmenter],
    progress: Progress,
    settings: AdaptSettings,
) -> None:
    """Predict every case with both networks and judge it where it has a label; this is where labels are read.

    Writes ``predictions/<stage>/<case>.png`` (train ids in Cityscapes' palette), ``pictures/<case>.png`` of a few, and
    ``cases.csv`` with the pixels of intersection and union, and puts the IoUs into ``record``.

    Args:
        out: The run's folder.
        record: Of the run.
        cases: Of the target.
        segmenters: The source-only and the adapted network.
        held_out: The source's labelled cases and the source-only network as it sees them.
        progress: Is told.
        settings: Of the run: which classes its source labels.
    """
    rows: list[dict[str, Any]] = []
    with progress.task("evaluation", len(cases)) as task:
        for number, case in enumerate(cases):
            rows += _judge_case(out, case, dict(zip(STAGES, segmenters, strict=True)), draw=number < PICTURES)
            task.advance()
    rows += _on_source(*held_out, progress)
    write_rows(out / "cases.csv", rows)
    counted = [place for place in range(len(SCENE_CLASSES)) if place not in get_domain(settings.source).absent]
    record.save(
        results={
            stage: scene_scores([row for row in rows if row["stage"] == stage], counted)
            for stage in (*STAGES, ON_SOURCE)
        }
    )


def scene_scores(rows: Sequence[Mapping[str, Any]], counted: Sequence[int]) -> dict[str, float | None]:
    """IoU of each class over all these pictures, and their means: over the classes counted, SYNTHIA's 16 and its 13.

    Args:
        rows: Of :func:`~prostate_uda.engines.scenes.judge_scene`; those without a truth have no part in it.
        counted: Train ids of the classes that ``mIoU`` is over.

    Returns:
        Fractions; None where no picture tells.
    """
    known = [row for row in rows if row[column(SCENE_CLASSES[0], UNION)] != ""]
    both, either = (
        np.array([sum(int(row[column(name, what)]) for row in known) for name in SCENE_CLASSES], dtype=np.float64)
        for what in (INTERSECTION, UNION)
    )
    found = torch.from_numpy(np.divide(both, either, out=np.full(len(both), math.nan), where=either > 0))
    means = {"mIoU": counted, "mIoU_16": SYNTHIA_16, "mIoU_13": SYNTHIA_13}
    told = dict(zip(SCENE_CLASSES, found.tolist(), strict=True))
    told |= {name: mean_iou(found, list(of)) for name, of in means.items()}
    return {name: None if math.isnan(value) else value for name, value in told.items()}


def _judge_case(out: Path, case: Case, segmenters: Mapping[str, SceneSegmenter], *, draw: bool) -> list[dict[str, Any]]:
    rows, shown, pixels = [], dict[str, NDArray[np.uint8]](), None
    truth = None if case.label is None else read_scene_label(case.label, case.values)
    for stage, segmenter in segmenters.items():
        pixels, label = segmenter(case.image)
        write_scene_colours(out / "predictions" / stage / f"{case.id}.png", label)
        rows.append({"case": case.id, "stage": stage, **judge_scene(label, truth)})
        shown[stage.replace("_", "-")] = label
    if draw and pixels is not None:
        if truth is not None:
            shown["truth"] = truth
        scene_figure(pixels, shown, COLOURS, SCENE_CLASSES, out / "pictures" / f"{case.id}.png")
    return rows


def _on_source(cases: Sequence[Case], segmenter: SceneSegmenter, progress: Progress) -> list[dict[str, Any]]:
    """The source-only network on the source's own held-out pictures: where it comes from, and how far it falls."""
    rows = []
    with progress.task("evaluation on the source", len(cases)) as task:
        for case in cases:
            _, label = segmenter(case.image)
            truth = None if case.label is None else read_scene_label(case.label, case.values)
            rows.append({"case": case.id, "stage": ON_SOURCE, **judge_scene(label, truth)})
            task.advance()
    return rows
