"""Floor 5: a comparison in the paper's layout, with the paper's own figures beside and below ours."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from prostate_uda.recipes.comparison import published
from prostate_uda.recipes.comparison.grid import ORACLE
from prostate_uda.recipes.comparison.published import Published
from prostate_uda.recipes.comparison.scores import over_seeds, scoring_of
from prostate_uda.recipes.comparison.sheets import DASH, NAMES, Sheet, brief, headline, notes, sheet, told
from prostate_uda.review.comparison_page import Block, Cell, Line

BLOCK = "published, other data and networks"
REMARKS = {
    "adaptsegnet": "Pseudo-labels of adaptsegnet: of the adversarial warm-up, predictor_steps steps of that method; Δ "
    "is the distance to the row adaptsegnet, which had the steps of a round."
}
"""What a labeller of :data:`~prostate_uda.recipes.comparison.ablations.SCENES` is, where it is not the row itself."""


def plain_sheet(table: Mapping[str, Any]) -> Sheet:
    """All columns, and none of the paper's figures; an ablation of pseudo-labels as the paper's table 4."""
    return label_sheet(table) if "pseudo_labels" in table else sheet(table)


def full_sheet(table: Mapping[str, Any], *, little_room: bool = False) -> Sheet:
    """The table with the paper's own figures, where the two domains are the paper's.

    Args:
        table: As :func:`~prostate_uda.recipes.comparison.table.make_table` has it.
        little_room: With the main columns alone.
    """
    if "pseudo_labels" in table:
        return with_published_labels(label_sheet(table), table)
    return with_published(sheet(table, brief(table) if little_room else None), table)


def with_published(made: Sheet, table: Mapping[str, Any]) -> Sheet:
    """The sheet with the paper's rows below, and the main figure of each in our row of that method.

    Args:
        made: Of :func:`~prostate_uda.recipes.comparison.sheets.sheet`.
        table: What it was made of; where its domains are not the paper's, the sheet stays as it is.
    """
    theirs = published.TABLES.get((table["source"], table["target"]))
    if theirs is None:
        return made
    below = Block(BLOCK, tuple(Line(row.name, _cells(row.figures, made.names, theirs)) for row in theirs.rows))
    whole = replace(made, blocks=(*made.blocks, below), notes=(*made.notes, theirs.note))
    for measure in theirs.beside:
        whole = _beside(whole, measure, theirs)
    return _mechanisms(whole, theirs) if theirs.beside else whole


def _cells(figures: Mapping[str, float], names: Sequence[str], theirs: Published) -> tuple[Cell, ...]:
    return tuple(Cell(_figure(figures.get(name), theirs.digits)) for name in names)


def _figure(value: float | None, digits: int = 1, sign: str = "") -> str:
    return DASH if value is None or math.isnan(value) else f"{value:{sign}.{digits}f}"


def _beside(made: Sheet, measure: str, theirs: Published) -> Sheet:
    """A column behind a measure's own: what the paper has for the method of our row."""
    at = made.names.index(measure) + 1
    known = {row.ours: _figure(row.figures.get(measure), theirs.digits) for row in theirs.rows}
    name = f"published {made.columns[at - 1]}"
    return _with_column(made, at, name, known)


def _mechanisms(made: Sheet, theirs: Published) -> Sheet:
    """The paper's first column: adversarial learning or self-training."""
    known = {key: row.mechanism for row in theirs.rows for key in (row.ours, row.name)}
    return _with_column(made, 0, "mech.", known)


def _with_column(made: Sheet, at: int, name: str, known: Mapping[str, str]) -> Sheet:
    """A column more, whose cells are known by the rows' names; a dash in the others."""

    def put(line: Line) -> Line:
        return Line(line.name, (*line.cells[:at], Cell(known.get(line.name, DASH)), *line.cells[at:]))

    return replace(
        made,
        names=(*made.names[:at], name, *made.names[at:]),
        columns=(*made.columns[:at], name, *made.columns[at:]),
        blocks=tuple(Block(block.title, tuple(map(put, block.lines))) for block in made.blocks),
    )


def label_sheet(table: Mapping[str, Any]) -> Sheet:
    """The paper's table 4: who adapts, whose pseudo-labels, and how far that is ahead of who made them.

    Args:
        table: With ``pseudo_labels``.
    """
    scoring = scoring_of(table["source"])
    main, sources = scoring.main, table["pseudo_labels"]
    blocks = tuple(Block(NAMES[name], _label_lines(rows, sources, main)) for name, rows in table["protocols"].items())
    labellers = {source["of"] for source in sources.values()}
    said = [note for labeller, note in REMARKS.items() if labeller in labellers]
    return Sheet(
        title=headline(table),
        names=("pseudo label", main, "ahead"),
        columns=("pseudo label", scoring.measures[main].title, "Δ"),
        blocks=blocks,
        notes=(*notes(table, scoring), *said),
    )


def _label_lines(rows: Mapping[str, Any], sources: Mapping[str, Any], main: str) -> tuple[Line, ...]:
    """A labeller, then those that learn from its labels; then what is no part of that."""
    grouped = [
        name
        for labeller in published.LABELLERS
        for name in (labeller, *(row for row, source in sources.items() if source["of"] == labeller))
        if name in rows
    ]
    order = [*grouped, *(name for name in rows if name not in grouped)]
    ahead = {name: _ahead(rows, name, sources, main) for name in order}
    highest = _most({name: rows[name][main]["mean"] for name in order})
    farthest = _most({name: cell["mean"] for name, cell in ahead.items() if cell is not None})
    lines = []
    for name in order:
        cells = Cell(told(rows[name][main]), name == highest), _delta(ahead[name], best=name == farthest)
        method, labeller = name, DASH
        if name in sources:
            method, labeller = sources[name]["method"], published.LABELLERS[sources[name]["of"]]
        lines.append(Line(method, (Cell(labeller), *cells)))
    return tuple(lines)


def _ahead(rows: Mapping[str, Any], name: str, sources: Mapping[str, Any], main: str) -> dict[str, Any] | None:
    """Of each seed the distance to the labeller; None where the row has none, or the labeller is no row."""
    labeller = sources[name]["of"] if name in sources else ""
    if labeller not in rows:
        return None
    pairs = zip(rows[name][main]["seeds"], rows[labeller][main]["seeds"], strict=True)
    return over_seeds([ours - theirs for ours, theirs in pairs])


def _delta(cell: Mapping[str, Any] | None, *, best: bool) -> Cell:
    if cell is None or math.isnan(cell["mean"]):
        return Cell(DASH)
    return Cell(f"{cell['mean']:+.1f}" + ("" if math.isnan(cell["sd"]) else f" ± {cell['sd']:.1f}"), best)


def _most(means: Mapping[str, float]) -> str | None:
    """Whose mean is highest; the oracle takes no part."""
    known = {name: mean for name, mean in means.items() if name != ORACLE and math.isfinite(mean)}
    return max(known, key=lambda name: known[name]) if known else None


def with_published_labels(made: Sheet, table: Mapping[str, Any]) -> Sheet:
    """The sheet with the paper's table 4 below, and its figures in our rows of the same method and labeller.

    Args:
        made: Of :func:`label_sheet`.
        table: What it was made of; where its domains are not table 4's, the sheet stays as it is.
    """
    if (table["source"], table["target"]) != published.LABELLED_PAIR:
        return made
    known = {
        (row.ours, DASH if row.labeller is None else published.LABELLERS[row.labeller]): row
        for row in published.LABELLED
    }

    def put(line: Line) -> Line:
        label, main, delta = line.cells
        row = known.get((line.name, label.text))
        figures = (None, None) if row is None else (row.miou, row.ahead)
        return Line(line.name, (label, main, Cell(_figure(figures[0])), delta, Cell(_figure(figures[1], sign="+"))))

    below = tuple(
        Line(
            row.name,
            tuple(map(Cell, (label, _figure(row.miou), DASH, _figure(row.ahead, sign="+"), DASH))),
        )
        for (_, label), row in known.items()
    )
    _, main, delta = made.columns
    return replace(
        made,
        names=(made.names[0], made.names[1], "published", made.names[2], "published ahead"),
        columns=(made.columns[0], main, f"published {main}", delta, f"published {delta}"),
        blocks=(*(Block(block.title, tuple(map(put, block.lines))) for block in made.blocks), Block(BLOCK, below)),
        notes=(*made.notes, f"published: {published.LABELLED_SOURCE}; {published.ELSEWHERE}"),
    )
