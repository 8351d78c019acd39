"""Floor 5: a comparison's table as CSV, Markdown, LaTeX and HTML."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prostate_uda.recipes.comparison import published
from prostate_uda.recipes.comparison.grid import ORACLE, PROTOCOLS, lent
from prostate_uda.recipes.comparison.scores import MEAN, MEASURES
from prostate_uda.recipes.record import whole, write_json, write_rows
from prostate_uda.recipes.settings import GOES_WITH
from prostate_uda.review.comparison_page import Block, Cell, Line, comparison_page

GAP, DASH = "gap_closed", "-"
TITLES = {name: measure.title for name, measure in MEASURES.items()} | {GAP: "gap closed %"}
BRIEF = (*(name for name, measure in MEASURES.items() if measure.brief), GAP)
NAMES = {"paper": "the paper's protocol (plain augmentation)", "strong": "strong augmentation"}


@dataclass(frozen=True)
class Sheet:
    """A table for people.

    Attributes:
        title: Headline.
        columns: Of the cells.
        blocks: A protocol's lines each.
        notes: What a reader should know.
    """

    title: str
    columns: tuple[str, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]


def sheet(table: Mapping[str, Any], columns: Sequence[str] = tuple(TITLES)) -> Sheet:
    """What people read of ``table.json``: mean ± sd over seeds, the best of a column marked, the oracle aside.

    Args:
        table: As :func:`~prostate_uda.recipes.comparison.table.make_table` has it.
        columns: Names in :data:`TITLES`.
    """
    blocks = tuple(Block(NAMES[name], _lines(rows, columns)) for name, rows in table["protocols"].items())
    seeds = ", ".join(map(str, table["seeds"]))
    return Sheet(
        title=f"{table['source']} → {table['target']}",
        columns=tuple(TITLES[name] for name in columns),
        blocks=blocks,
        notes=(
            f"Mean ± sd over seeds {seeds}. Dice in points; HD95, ASSD and volume error of the whole prostate.",
            *_notes(table),
        ),
    )


def _lines(rows: Mapping[str, Any], columns: Sequence[str]) -> tuple[Line, ...]:
    best = {name: _best(rows, name) for name in columns}
    return tuple(
        Line(
            row,
            tuple(Cell(_told(found[name]), row != ORACLE and found[name]["mean"] == best[name]) for name in columns),
        )
        for row, found in rows.items()
    )


def _best(rows: Mapping[str, Any], column: str) -> float | None:
    """The best finite mean of a column; the oracle takes no part."""
    means = [row[column]["mean"] for name, row in rows.items() if name != ORACLE]
    known = [mean for mean in means if math.isfinite(mean)]
    higher = column == GAP or MEASURES[column].higher
    return (max if higher else min)(known) if known else None


def _told(cell: Mapping[str, Any]) -> str:
    mean, sd = cell["mean"], cell["sd"]
    if math.isnan(mean):
        return DASH
    return ("∞" if math.isinf(mean) else f"{mean:.1f}") + ("" if math.isnan(sd) else f" ± {sd:.1f}")


def _notes(table: Mapping[str, Any]) -> list[str]:
    notes = []
    for name, best in table["best"].items():
        if best is not None:
            ahead = best["difference"][MEAN]
            notes.append(
                f"{NAMES[name]}: {best['method']} is {ahead['mean']:+.1f} points [{ahead['low']:+.1f}, "
                f"{ahead['high']:+.1f}] from the runner-up {best['runner_up']} (mean of PZ, TZ and WP; 95 % paired "
                "bootstrap over the cases of all seeds)."
            )
    notes += [_of_lent(name, rows) for name, rows in table["protocols"].items() if lent("strong") in rows]
    if all(ORACLE not in rows for rows in table["protocols"].values()):
        notes.append("No oracle: the target's training cases have no labels. So there is no gap to close, either.")
    return notes + [f"Failed: {folder}: {why}" for folder, why in table["failed"].items()]


def _of_lent(protocol: str, rows: Mapping[str, Any]) -> str:
    """That some rows of a protocol are from the other one."""
    there = ", ".join([lent("strong"), *(name for name, own in GOES_WITH.items() if "augment" in own and name in rows)])
    return f"{NAMES[protocol]}: trained with strong augmentation, which closes a part of their gap: {there}."


def with_published(made: Sheet, table: Mapping[str, Any]) -> Sheet:
    """The sheet with the paper's own figures below, where the two domains are the paper's."""
    if (table["source"], table["target"]) != published.PAIR:
        return made
    empty = len(made.columns) - 3
    lines = tuple(
        Line(name, tuple(Cell(text) for text in (*(f"{value:.2f}" for value in dice), *(DASH,) * empty)))
        for name, dice in published.DICE.items()
    )
    block = Block("published, other data and networks", lines)
    return Sheet(made.title, made.columns, (*made.blocks, block), (*made.notes, published.NOTE))


def markdown(made: Sheet) -> str:
    """A GitHub table; the best of a column in bold."""
    escape = _escaper({"|": r"\|", "*": r"\*", "_": r"\_", "\\": r"\\", "<": "&lt;"})
    rows = [["", *made.columns], ["---", *("---:" for _ in made.columns)]]
    for block in made.blocks:
        rows.append([f"**{escape(block.title)}**", *("" for _ in made.columns)])
        rows += [
            [escape(line.name), *(f"**{cell.text}**" if cell.best else cell.text for cell in line.cells)]
            for line in block.lines
        ]
    lines = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([f"# {escape(made.title)}", "", *lines, "", *(f"- {escape(note)}" for note in made.notes), ""])


def latex(made: Sheet) -> str:
    """A ``tabular`` for the package booktabs."""
    escape = _escaper(
        {char: "\\" + char for char in "&%$#_{}"}
        | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
        | {"±": r"$\pm$", "→": r"$\to$", "∞": r"$\infty$"}
    )
    lines = [f"% {made.title}", *(f"% {note}" for note in made.notes)]
    lines += [rf"\begin{{tabular}}{{l{'r' * len(made.columns)}}}", r"\toprule"]
    lines.append(" & ".join(["", *map(escape, made.columns)]) + r" \\")
    for block in made.blocks:
        lines += [r"\midrule", rf"\multicolumn{{{1 + len(made.columns)}}}{{l}}{{{escape(block.title)}}} \\"]
        for line in block.lines:
            told = (rf"\textbf{{{escape(cell.text)}}}" if cell.best else escape(cell.text) for cell in line.cells)
            lines.append(" & ".join([escape(line.name), *told]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _escaper(replacements: Mapping[str, str]) -> Callable[[str], str]:
    pattern = re.compile("|".join(map(re.escape, replacements)))
    return lambda text: pattern.sub(lambda found: replacements[found[0]], text)


def csv_rows(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per protocol and method, with mean and sd of every column."""
    return [
        {"protocol": protocol, "augment": PROTOCOLS[protocol], "method": row}
        | {
            f"{name}_{what}": "" if math.isnan(found[name][what]) else round(found[name][what], 4)
            for name in TITLES
            for what in ("mean", "sd")
        }
        for protocol, rows in table["protocols"].items()
        for row, found in rows.items()
    ]


def write_tables(folder: Path, table: Mapping[str, Any]) -> None:
    """``table.json``, ``.csv``, ``.md``, ``.tex`` and ``.html``; no LaTeX or CSV has the published figures.

    Args:
        folder: Where; it is there.
        table: As :func:`~prostate_uda.recipes.comparison.table.make_table` has it.
    """
    write_json(folder / "table.json", rounded(table))
    write_rows(folder / "table.csv", csv_rows(table))
    plain = sheet(table)
    full = with_published(plain, table)
    page = comparison_page(full.title, full.columns, full.blocks, full.notes)
    for name, text in (("table.md", markdown(full)), ("table.tex", latex(plain)), ("table.html", page)):
        with whole(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")


def rounded(value: Any) -> Any:  # noqa: ANN401  JSON is any
    """Floats to four digits behind the point, everywhere."""
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value
