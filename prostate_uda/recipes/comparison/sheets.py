"""Floor 5: a comparison's table as people read it: what is rounded how, what is bold, what is said below."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prostate_uda.recipes.comparison.grid import ORACLE, lent
from prostate_uda.recipes.comparison.scores import GAP, Scoring, scoring_of, units
from prostate_uda.recipes.settings import GOES_WITH
from prostate_uda.review.comparison_page import Block, Cell, Line

DASH = "-"
NAMES = {"paper": "the paper's protocol (plain augmentation)", "strong": "strong augmentation"}


@dataclass(frozen=True)
class Sheet:
    """A table for people.

    Attributes:
        title: Headline.
        names: Of the columns, as ``table.json`` has them.
        columns: Their headlines.
        blocks: A protocol's lines each.
        notes: What a reader should know.
    """

    title: str
    names: tuple[str, ...]
    columns: tuple[str, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]


def brief(table: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that are shown where there is little room."""
    measures = scoring_of(table["source"]).measures
    return (*(name for name, measure in measures.items() if measure.brief), GAP)


def sheet(table: Mapping[str, Any], columns: Sequence[str] | None = None) -> Sheet:
    """What people read of ``table.json``: mean ± sd over seeds, the best of a column marked, the oracle aside.

    Args:
        table: As :func:`~prostate_uda.recipes.comparison.table.make_table` has it.
        columns: Names of measures and :data:`~prostate_uda.recipes.comparison.scores.GAP`; by default all.
    """
    scoring = scoring_of(table["source"])
    titles = units(scoring)
    columns = tuple(titles) if columns is None else tuple(columns)
    return Sheet(
        title=headline(table),
        names=columns,
        columns=tuple(titles[name] for name in columns),
        blocks=tuple(Block(NAMES[name], _lines(rows, columns, scoring)) for name, rows in table["protocols"].items()),
        notes=notes(table, scoring),
    )


def headline(table: Mapping[str, Any]) -> str:
    """From where to where."""
    return f"{table['source']} → {table['target']}"


def _lines(rows: Mapping[str, Any], columns: Sequence[str], scoring: Scoring) -> tuple[Line, ...]:
    best = {name: _best(rows, name, scoring) for name in columns}
    return tuple(
        Line(
            row,
            tuple(Cell(told(found[name]), row != ORACLE and found[name]["mean"] == best[name]) for name in columns),
        )
        for row, found in rows.items()
    )


def _best(rows: Mapping[str, Any], column: str, scoring: Scoring) -> float | None:
    """The best finite mean of a column, if any is behind it; the oracle takes no part."""
    means = [row[column]["mean"] for name, row in rows.items() if name != ORACLE]
    known = [mean for mean in means if math.isfinite(mean)]
    higher = column == GAP or scoring.measures[column].higher
    different = len({mean for mean in means if not math.isnan(mean)}) > 1
    return (max if higher else min)(known) if known and different else None


def told(cell: Mapping[str, Any]) -> str:
    """A cell's mean ± sd."""
    mean, sd = cell["mean"], cell["sd"]
    if math.isnan(mean):
        return DASH
    return ("∞" if math.isinf(mean) else f"{mean:.1f}") + ("" if math.isnan(sd) else f" ± {sd:.1f}")


def notes(table: Mapping[str, Any], scoring: Scoring) -> tuple[str, ...]:
    """What a reader should know of the whole table."""
    seeds = ", ".join(map(str, table["seeds"]))
    over = f"Mean ± sd over seeds {seeds}" if len(table["seeds"]) > 1 else f"Of one seed, {seeds}: no sd"
    said = [f"{over}. {scoring.units}"]
    for name, best in table["best"].items():
        if best is not None:
            ahead = best["difference"][scoring.main]
            said.append(
                f"{NAMES[name]}: {best['method']} is {ahead['mean']:+.1f} points [{ahead['low']:+.1f}, "
                f"{ahead['high']:+.1f}] from the runner-up {best['runner_up']} ({scoring.main_told}; 95 % paired "
                f"bootstrap over {scoring.resampled})."
            )
    said += [_of_lent(name, rows) for name, rows in table["protocols"].items() if lent("strong") in rows]
    if all(ORACLE not in rows for rows in table["protocols"].values()):
        said.append("No oracle: the target's training cases have no labels. So there is no gap to close, either.")
    return (*said, *(f"Failed: {folder}: {why}" for folder, why in table["failed"].items()))


def _of_lent(protocol: str, rows: Mapping[str, Any]) -> str:
    """That some rows of a protocol are from the other one."""
    there = ", ".join([lent("strong"), *(name for name, own in GOES_WITH.items() if "augment" in own and name in rows)])
    return f"{NAMES[protocol]}: trained with strong augmentation, which closes a part of their gap: {there}."
