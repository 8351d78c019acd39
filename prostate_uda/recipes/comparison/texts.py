"""Floor 5: a comparison's table as CSV, Markdown, LaTeX and HTML."""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prostate_uda.recipes.comparison.grid import PROTOCOLS
from prostate_uda.recipes.comparison.references import full_sheet, plain_sheet
from prostate_uda.recipes.comparison.scores import scoring_of, units
from prostate_uda.recipes.comparison.sheets import Sheet
from prostate_uda.recipes.record import whole, write_json, write_rows
from prostate_uda.review.comparison_page import comparison_page


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
    names = units(scoring_of(table["source"]))
    return [
        {"protocol": protocol, "augment": PROTOCOLS[protocol], "method": row}
        | {
            f"{name}_{what}": "" if math.isnan(found[name][what]) else round(found[name][what], 4)
            for name in names
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
    plain, full = plain_sheet(table), full_sheet(table)
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
