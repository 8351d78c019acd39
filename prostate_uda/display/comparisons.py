"""Floor 6: a comparison's table and its ranking, in a terminal of any width."""

from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from prostate_uda.recipes.comparison.references import full_sheet
from prostate_uda.recipes.comparison.sheets import Sheet
from prostate_uda.review.comparison_page import Block

NAME_WIDTH = 14
"""Columns of a terminal that a row's name is not to have less than."""


def comparison_tables(table: Mapping[str, Any], width: int) -> Group:
    """A protocol below the other, in a comparison's main columns, with the paper's where it has the domains.

    The files have all columns. Where there is no room names are folded, and then figures are without their sd.

    Args:
        table: ``table.json``.
        width: Columns of the terminal.
    """
    made = full_sheet(table, little_room=True)
    found = [_comparison_table(made, block, width, "") for block in made.blocks]
    cramped = None in found
    if cramped:
        found = [_comparison_table(made, block, width, " ±") for block in made.blocks]
    notes = (*made.notes, *(["Without sd for want of room; the files have it."] if cramped else []))
    spaced = [part for one in found if one is not None for part in (one, Text())]
    return Group(*spaced, *(Text(note, style="dim") for note in notes))


def _comparison_table(made: Sheet, block: Block, width: int, until: str) -> Table | None:
    """A protocol's table, of each cell what is before ``until``; None where that leaves no room for names."""
    told = [[cell.text.split(until)[0] if until else cell.text for cell in line.cells] for line in block.lines]
    longest = max(len(line.name) for line in block.lines)
    for headings in ([[title] for title in made.columns], [title.split() for title in made.columns]):
        columns = zip(headings, zip(*told, strict=True), strict=True)
        taken = [max(map(len, (*words, *cells))) for words, cells in columns]
        room = width - sum(taken) - 2 * len(taken) - 1
        if room >= longest:
            break
    if room < NAME_WIDTH and not until:
        return None
    shown = Table(title=f"{made.title}, {block.title}", title_justify="left", box=SIMPLE_HEAD)
    shown.show_edge, shown.pad_edge, shown.padding = False, False, (0, 1, 0, 0)
    shown.add_column("", overflow="fold", width=max(1, min(room, longest)))
    for title, cells in zip(made.columns, taken, strict=True):
        shown.add_column(title, justify="right", width=cells)
    for line, texts in zip(block.lines, told, strict=True):
        pairs = zip(line.cells, texts, strict=True)
        shown.add_row(Text(line.name), *(Text(text, style="bold" if cell.best else "") for cell, text in pairs))
    return shown


def rank_tables(ranked: Mapping[str, Any]) -> list[Table]:
    """A comparison's networks by their mean rank, and how far each criterion's order is that of the Dice."""
    rows = Table(title="Networks by the mean rank of three criteria without labels", title_justify="left")
    rows.add_column("", overflow="fold")
    several = len({row["protocol"] for row in ranked["rows"]}) > 1
    names = ("consistency", "certainty", "plausibility", "mean_rank", *(["rank_in_any"] if several else []), "dice")
    for name in names:
        rows.add_column(name.replace("_", " "), justify="right")
    ordered = sorted(ranked["rows"], key=lambda row: (row["protocol"], row["seed"], -row["mean_rank"]))
    for (protocol, seed), group in groupby(ordered, key=itemgetter("protocol", "seed")):
        rows.add_section()
        rows.add_row(Text(f"{protocol}, seed {seed}", style="italic"))
        for row in group:
            rows.add_row(Text(row["row"]), *(_number(row[name]) for name in names))
    found = Table(title="How far the order is that of the Dice, mean over seeds", title_justify="left")
    for name in ("protocol", "criterion", "Spearman", "regret", "chosen"):
        found.add_column(name, overflow="fold")
    for protocol, criteria in ranked["agreement"].items():
        for name, told in criteria.items():
            numbers = _number(told["spearman"]), _number(told["regret"])
            found.add_row(protocol, name.replace("_", " "), *numbers, ", ".join(dict.fromkeys(told["chosen"])))
    return [rows, found] if ranked["agreement"] else [rows]


def _number(value: object) -> Text:
    """A float to three digits; of a name it is the name."""
    return Text("-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value))
