"""Floor 2, review: cases below one another, what each method found in them side by side."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prostate_uda.errors import SettingsError
from prostate_uda.review.canvas import DASHED, DIM, GAP, INK, PANEL, Canvas, LineStyle, colours_of, draw_slice, note
from prostate_uda.review.figures import save_figure
from prostate_uda.review.pictures import StripCase
from prostate_uda.review.views import View

IMAGE, TRUTH = "image", "truth"
_SIDE = 0.62 * PANEL
_WORDS, _SIZE, _LINE = 24, 8.5, 0.15  # letters that a column's name has room for in a line, points, inches
_HEAD, _SCORE = 0.42, 0.24  # inches


@dataclass(frozen=True)
class GridCase:
    """A row of :func:`case_grid`.

    Attributes:
        case: Its image and labels; ``truth`` may be missing.
        dice: Label name to Dice of the whole prostate in ``[0, 1]``; NaN, or no entry, is not shown.
    """

    case: StripCase
    dice: Mapping[str, float]


def case_grid(rows: Sequence[GridCase], *, columns: Sequence[str], title: str, path: Path) -> None:
    """Write a row per case: the bare slice, then the same slice with the contours of each column, Dice below.

    The slice is the middle of the truth, and the crop goes around it; without a truth, of all labels together.

    Args:
        rows: At least one.
        columns: Names of labels, in their order; the bare slice comes before them. Where a row has no truth, its
            panel says so.
        title: Headline.
        path: Its suffix says the format; written under another name first, so it is never half there.

    Raises:
        SettingsError: no row, or a row that lacks another label than the truth.
        ShapeError: An image has not three axes or a label has another shape.
        GeometryError: ``orientation`` or ``spacing_mm`` is not one of a volume.
    """
    if not rows or not all({*columns} - {TRUTH} <= row.case.labels.keys() for row in rows):
        raise SettingsError("a grid of no case or without labels; one or more of each is allowed; add a case")
    names = (IMAGE, *columns)
    words = {name: textwrap.wrap(name.replace(",", ", "), _WORDS) for name in names}
    head = _HEAD + _LINE * max(map(len, words.values()))
    tall = _SIDE + _SCORE + GAP
    canvas = Canvas(len(names) * (_SIDE + GAP) + GAP, head + len(rows) * tall + 0.25)
    canvas.text(0.08, 0.2, title, size=11, weight="bold")
    colours = colours_of(dict.fromkeys(columns))
    for place, name in enumerate(names):
        for line, part in enumerate(reversed(words[name])):
            left, height = GAP + place * (_SIDE + GAP), head - 0.12 - _LINE * line
            canvas.text(left + 0.03, height, part, size=_SIZE, color=colours.get(name, INK))
    for place, row in enumerate(rows):
        _draw_row(canvas, row, names, head + place * tall)
    _legend(canvas)
    save_figure(canvas.figure, path)


def _draw_row(canvas: Canvas, row: GridCase, names: Sequence[str], top: float) -> None:
    case = row.case
    around = [TRUTH] if TRUTH in case.labels else None
    labels = {name: case.labels[name] for name in names if name in case.labels}
    view = View.of(case.image, labels, case.spacing_mm, case.orientation, around=around)
    middle = view.spread(1)[0]
    for place, name in enumerate(names):
        left = GAP + place * (_SIDE + GAP)
        axes = canvas.panel(left, top, _SIDE)
        if name not in labels and name != IMAGE:
            note(axes, 0.5, 0.5, f"no {name}")
            continue
        draw_slice(axes, view, middle, [name] if name in labels else [], fill=True)
        score = row.dice.get(name, math.nan)
        below = case.title if name == IMAGE else "" if math.isnan(score) else f"Dice WP {score:.2f}"
        canvas.text(left + 0.03, top + _SIDE + 0.1, below, size=8, color=DIM)


def _legend(canvas: Canvas) -> None:
    kinds: tuple[tuple[str, LineStyle], ...] = (("prostate (PZ and TZ)", "-"), ("transition zone (TZ)", DASHED))
    for place, (meaning, style) in enumerate(kinds):
        left, height = 0.1 + 2.0 * place, canvas.height - 0.14
        canvas.stroke(left, height, color=DIM, style=style, width=1.5)
        canvas.text(left + 0.45, height, meaning, size=8, color=DIM)
