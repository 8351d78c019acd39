"""Floor 6: the tables of a run, of scores, of corrections, of findings and of NTMs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from prostate_uda.data.domains import get_domain
from prostate_uda.data.findings import Finding
from prostate_uda.data.scene_classes import SCENE_CLASSES, SYNTHIA_ABSENT

ZONES = ("PZ", "TZ", "WP", "WP_pooled")


def run_table(record: Mapping[str, Any]) -> Table:
    """What a run came to: Dice where the target's test cases have labels, volumes where they have none."""
    method = str(record["settings"]["method"])
    if "mIoU" in record["results"]["adapted"]:
        return scenes_table(record["results"], method, str(record["settings"]["source"]))
    if any(value is not None for value in record["results"]["adapted"].values()):
        return results_table(record["results"], method)
    table = volumes_table(record["volumes_mL"], method)
    on_source = zip(ZONES[:3], _cells(record["results"]["source_only_on_source"]), strict=False)
    table.caption = "source only, on the source's held-out cases, Dice (%): "
    table.caption += ", ".join(f"{zone} {value}" for zone, value in on_source)
    return table


def scenes_table(results: Mapping[str, Mapping[str, float | None]], method: str, source: str) -> Table:
    """IoU in percent, a row per class, source-only beside adapted; driving scenes have too many classes for columns.

    Classes that the source never labels are left out; from SYNTHIA, mIoU* stands below mIoU.
    """
    absent = get_domain(source).absent
    table = Table(title="IoU on the target's test pictures (over all pictures, %)", title_justify="left")
    stages = ("source_only_on_source", "source_only", "adapted")
    for name in ("", "source only, on the source", "source only", f"adapted ({method})", "change"):
        table.add_column(name, justify="right" if name else "left")
    classes = [name for place, name in enumerate(SCENE_CLASSES) if place not in absent]
    means = {"mIoU": "mIoU", "mIoU_13": "mIoU* (13)"} if absent == SYNTHIA_ABSENT else {"mIoU": "mIoU"}
    for name in (*classes, *means):
        found = [results[stage].get(name) for stage in stages]
        told = ["-" if value is None else f"{100 * value:.1f}" for value in found]
        before, after = found[1:]
        change = "-" if before is None or after is None else f"{100 * (after - before):+.1f}"
        style = "bold" if name in means else ""
        table.add_row(means.get(name, name), *told, change, end_section=name == classes[-1], style=style)
    return table


def volumes_table(volumes: Mapping[str, Mapping[str, Mapping[str, float]]], method: str) -> Table:
    """Volumes in mL: no label says how good the contours are, but these say whether they are plausible."""
    table = Table(title="Volumes on the target, mL: mean (range); it has no labels to judge by", title_justify="left")
    table.add_column("")
    for zone in ZONES[:3]:
        table.add_column(zone, justify="right")
    for stage, name in (("source_only", "source only"), ("adapted", f"adapted ({method})")):
        found = [volumes[stage][zone] for zone in ZONES[:3]]
        table.add_row(name, *(f"{v['mean']:.1f} ({v['min']:.1f}-{v['max']:.1f})" for v in found))
    return table


def results_table(results: Mapping[str, Mapping[str, float | None]], method: str) -> Table:
    """Dice in percent: source-only beside adapted, the change, and where source-only came from."""
    table = Table(title="Dice on the target's test cases (mean over cases, %)", title_justify="left")
    table.add_column("")
    for zone in ZONES:
        table.add_column(zone.replace("_", " "), justify="right")
    for stage, name in (("source_only", "source only"), ("adapted", f"adapted ({method})")):
        table.add_row(name, *_cells(results[stage]))
    table.add_row("change", *_changes(results["source_only"], results["adapted"]), style="dim")
    table.add_section()
    table.add_row("source only, on the source", *_cells(results["source_only_on_source"]), style="dim")
    return table


def scores_table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """Dice in percent, HD95 in mm and volume in mL, a row per name."""
    table = Table(title="Dice (%), HD95 and volume of the whole prostate", title_justify="left")
    table.add_column("")
    for zone in (*(zone.replace("_", " ") for zone in ZONES), "HD95 mm", "mL"):
        table.add_column(zone, justify="right")
    for name, scores in rows.items():
        more = [scores.get(key) for key in ("WP_hd95_mm", "WP_mL")]
        told = ["-" if value is None or value != value else f"{value:.1f}" for value in more]
        table.add_row(name, *_cells(scores), *told)
    return table


def corrections_table(
    rows: Sequence[Mapping[str, Any]], counts: Mapping[str, int], **summed: Mapping[str, float | None]
) -> Table:
    """What a reviewer changed, a row per case and per summary; the CSV has every zone's distances and volumes."""
    columns = {"PZ_dice": "PZ %", "TZ_dice": "TZ %", "WP_dice": "WP %", "WP_apl_mm": "path mm"}
    columns |= {"WP_added_mL": "+ mL", "WP_removed_mL": "- mL", "slices_touched": "slices"}
    told = ", ".join(f"{number} {name}" for name, number in counts.items())
    told += "; Dice with the prediction, and of the whole prostate: added path, added and removed volume"
    table = Table(title="Corrections", title_justify="left", caption=told, caption_justify="left")
    for name in ("", "outcome"):
        table.add_column(name, overflow="fold")
    for name in columns.values():
        table.add_column(name, justify="right")
    lines = [(str(row["case"]), str(row["outcome"]), row) for row in rows]
    for number, (name, outcome, found) in enumerate([*lines, *((key, "", summed[key]) for key in summed)], start=1):
        values = [(found.get(key), 100 if key.endswith("_dice") else 1) for key in columns]
        cells = ["-" if value in ("", None) or value != value else f"{one * value:.1f}" for value, one in values]
        table.add_row(Text(name), outcome, *cells, end_section=number == len(lines))
    return table


def findings_table(findings: Sequence[Finding]) -> Table:
    """What the doctor found, the worst first."""
    table = Table(title="What was found", title_justify="left", show_lines=True)
    for column in ("", "where", "what", "what to do"):
        table.add_column(column, overflow="fold")
    colours = {"error": "bold red", "warning": "yellow", "ok": "green"}
    for finding in findings:
        level = Text(finding.level, style=colours[finding.level])
        table.add_row(level, *(Text(part) for part in (finding.where, finding.what, finding.mend)))
    return table


def ntm_table(levels: Sequence[str], classes: Sequence[str], last: NDArray[np.float64]) -> Table:
    """The noise transition matrices ``(L, C, C)`` after the last step, a block per level."""
    table = Table(title="Noise transition matrices after the last step: true by pseudo-label", title_justify="left")
    table.add_column("level", overflow="fold")
    table.add_column("true")
    for name in classes:
        table.add_column(name, justify="right")
    for level, matrix in zip(levels, last, strict=True):
        columns = ("\n".join(f"{value:.3f}" for value in column) for column in matrix.T)
        table.add_row(level, "\n".join(classes), *columns, end_section=True)
    return table


def _changes(before: Mapping[str, float | None], after: Mapping[str, float | None]) -> list[str]:
    pairs = [(before.get(zone), after.get(zone)) for zone in ZONES]
    return ["-" if a is None or b is None else f"{100 * (b - a):+.1f}" for a, b in pairs]


def _cells(scores: Mapping[str, float | None]) -> list[str]:
    values = [scores.get(zone) for zone in ZONES]
    return ["-" if value is None or value != value else f"{100 * value:.1f}" for value in values]
