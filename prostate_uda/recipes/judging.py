"""Floor 5: the end of a run: predictions, tables, pictures and the bundle."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prostate_uda.data.domains import Case
from prostate_uda.data.reading import read_truth
from prostate_uda.data.volumes import Volume
from prostate_uda.data.writing import write_label
from prostate_uda.engines.evaluation import SCORES, Segmenter, judge, mean_scores
from prostate_uda.engines.observers import Progress
from prostate_uda.recipes.record import Record, write_rows
from prostate_uda.recipes.world import World
from prostate_uda.review.pictures import StripCase, comparison_strip, contour_figure

STAGES = ("source_only", "adapted")
STRIP_CASES = 2


def judge_run(
    out: Path, record: Record, world: World[Any, Any], source_only: Segmenter, adapted: Segmenter, progress: Progress
) -> None:
    """Predict every shown case with both networks and judge it where it has a label; this is where labels are read.

    Writes ``predictions/<stage>/<case>.nii.gz``, ``pictures/<case>.png``, ``pictures/strip.png`` and ``cases.csv``,
    and puts the means into ``record``.
    """
    segmenters = dict(zip(STAGES, (source_only, adapted), strict=True))
    rows: list[dict[str, Any]] = []
    strips: list[StripCase] = []
    cases = world.shown()
    if not world.target_split.test:
        progress.note("the target has no labelled test case: shown are the scans that were adapted to")
    with progress.task("evaluation", len(cases)) as task:
        for case in cases:
            volume, truth, predicted = _predict(out, case, segmenters)
            found = {stage: judge(label, truth, volume.grid.spacing) for stage, label in predicted.items()}
            rows += [{"case": case.id, "stage": stage, **scores} for stage, scores in found.items()]
            strip = _draw(out, case, volume, truth, predicted, found)
            if len(strips) < STRIP_CASES:
                strips.append(strip)
            task.advance()
    comparison_strip(strips, path=out / "pictures" / "strip.png")
    rows += _on_source(world, segmenters["source_only"], progress)
    write_rows(out / "cases.csv", rows)
    _tell_empty(rows, progress)
    record.save(
        volumes_mL={stage: _volumes([row for row in rows if row["stage"] == stage]) for stage in STAGES},
        results={
            stage: mean_scores([row for row in rows if row["stage"] == stage])
            for stage in (*STAGES, "source_only_on_source")
        },
    )


def _volumes(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and range of each zone's volume in mL: all there is to compare where no case has a label."""
    found = {zone: [float(row[f"{zone}_mL"]) for row in rows] for zone in SCORES[:3]}
    return {
        zone: {"mean": float(np.mean(values)), "min": min(values), "max": max(values)} for zone, values in found.items()
    }


def _tell_empty(rows: list[dict[str, Any]], progress: Progress) -> None:
    """Say where the adapted network found no gland or not both zones: such a result is to be looked at, not used."""
    adapted = [row for row in rows if row["stage"] == STAGES[1]]
    for zone in SCORES[:2]:
        missing = [str(row["case"]) for row in adapted if row[f"{zone}_mL"] == 0]
        if missing:
            named = ", ".join(missing[:4]) + (", …" if len(missing) > 4 else "")
            progress.note(
                f"warning: no {zone} in {len(missing)} of {len(adapted)} adapted predictions ({named}); look at "
                "pictures/, and train longer or choose another --normalize"
            )


def _predict(
    out: Path, case: Case, segmenters: dict[str, Segmenter]
) -> tuple[Volume, NDArray[np.uint8] | None, dict[str, NDArray[np.uint8]]]:
    predicted = {}
    for stage, segmenter in segmenters.items():
        volume, label = segmenter(case.image)
        predicted[stage] = label
        folder = out / "predictions" / stage
        folder.mkdir(parents=True, exist_ok=True)
        write_label(folder / f"{case.id}.nii.gz", label, volume)
    return volume, read_truth(case, volume), predicted


def _draw(
    out: Path,
    case: Case,
    volume: Volume,
    truth: NDArray[np.uint8] | None,
    predicted: dict[str, NDArray[np.uint8]],
    found: dict[str, dict[str, Any]],
) -> StripCase:
    names = {stage: stage.replace("_", "-") for stage in predicted}
    labels = {names[stage]: label for stage, label in predicted.items()}
    if truth is not None:
        labels["truth"] = truth
    scores = (
        {}
        if truth is None
        else {names[stage]: {zone: row[zone] for zone in SCORES[:3]} for stage, row in found.items()}
    )
    (out / "pictures").mkdir(exist_ok=True)
    grid = volume.grid
    contour_figure(
        volume.array,
        labels,
        spacing_mm=grid.spacing,
        orientation=grid.orientation,
        title=case.id,
        path=out / "pictures" / f"{case.id}.png",
        scores=scores,
    )
    return StripCase(volume.array, labels, grid.spacing, grid.orientation, case.id)


def _on_source(world: World[Any, Any], segmenter: Segmenter, progress: Progress) -> list[dict[str, Any]]:
    """The source-only network on the source's own held-out cases: where it comes from, and how far it falls."""
    rows = []
    cases = world.source_split.test
    with progress.task("evaluation on the source", len(cases)) as task:
        for case in cases:
            volume, label = segmenter(case.image)
            scores = judge(label, read_truth(case, volume), volume.grid.spacing)
            rows.append({"case": case.id, "stage": "source_only_on_source", **scores})
            task.advance()
    return rows
