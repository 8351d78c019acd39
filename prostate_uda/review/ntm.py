"""Floor 2, review: the noise transition matrices (NTM) of a run: where they ended, and how they came there.

A row is a feature level. Left the matrix after the last step; beside it one panel per true class j with the curves of
``T[j, k] = p(pseudo-label = k | true = j)`` over the steps of all rounds, one colour per pseudo-label k.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from prostate_uda.errors import ShapeError

PALETTE = ("#6f6f6f", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colours of the pseudo-label classes, told apart by the colour-blind (Okabe and Ito); grey is background."""

POINTS = 2000
"""Most points that a curve is drawn with, over all rounds."""

WINDOW = 15
"""Steps that the rolling mean of noisy curves runs over at least; of long rounds, over a fortieth."""

_INK, _DIM, _GRID = "#222222", "#6a6a6a", "#c9c9c9"
_DPI, _WIDTH, _ROW, _HEAD = 130, 11.5, 2.9, 0.75  # inches
_WORDS, _DIGITS = 0.2, 0.06  # of a panel's width


@dataclass(frozen=True)
class NtmRound:
    """The NTMs of one round.

    Attributes:
        number: Of the round, from 1.
        matrices: ``(S, L, C, C)``: after each of S ≥ 1 steps, levels shallow to deep; rows are true classes, columns
            pseudo-labels.
    """

    number: int
    matrices: NDArray[np.float64]


def class_names(count: int) -> tuple[str, ...]:
    """Names of the classes: those of the prostate's zones where there are three."""
    return ("background", "PZ", "TZ") if count == 3 else tuple(f"class {index}" for index in range(count))


def level_names(count: int) -> tuple[str, ...]:
    """Names of the feature levels, shallow to deep."""
    return ("layer3 head", "layer4 head") if count == 2 else tuple(f"level {index + 1}" for index in range(count))


def ntm_figure(rounds: Sequence[NtmRound], *, title: str, levels: Sequence[str], noisy: bool = False) -> Figure:
    """Draw the NTMs; the axes are, level by level, the matrix and then a panel per true class.

    Args:
        rounds: At least one, in their order; they share L and C.
        title: Headline, of one line or two.
        levels: Name of each level.
        noisy: Draw a rolling mean over the curves: for NTMs that begin anew at every step.

    Raises:
        ShapeError: no round, no step in a round, or shapes that do not fit one another.
    """
    _check(rounds, levels)
    names = class_names(rounds[0].matrices.shape[-1])
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)  # inches: the last step's number keeps off the next 0
    figure = Figure(figsize=(_WIDTH, _HEAD + _ROW * len(levels)), dpi=_DPI, layout=layout)
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", size=11, weight="bold", color=_INK, parse_math=False)
    _legend(figure, names)
    rows = figure.subfigures(len(levels), 1, squeeze=False)[:, 0]
    for level, (row, name) in enumerate(zip(rows, levels, strict=True)):
        _draw_level(row, rounds, level, name, names, noisy=noisy)
    return figure


def _check(rounds: Sequence[NtmRound], levels: Sequence[str]) -> None:
    shapes = sorted({one.matrices.shape[1:] for one in rounds})
    fit = len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][0] == len(levels) and shapes[0][1] == shapes[0][2]
    if not fit or not all(len(one.matrices) for one in rounds):
        raise ShapeError(
            f"NTMs of shape {', '.join(map(str, shapes)) or 'none'} for {len(levels)} levels; allowed are rounds of "
            "(S, L, C, C) with one L and C, and a step or more in each"
        )


def _legend(figure: Figure, names: Sequence[str]) -> None:
    marks = [Line2D([], [], color=_colour(index), lw=2.5, label=name) for index, name in enumerate(names)]
    place: dict[str, Any] = {"loc": "outside upper right", "ncols": len(marks), "frameon": False}
    figure.legend(handles=marks, title="curves: pseudo-label", fontsize=9, title_fontsize=9, **place)


def _draw_level(
    row: SubFigure, rounds: Sequence[NtmRound], level: int, title: str, names: Sequence[str], *, noisy: bool
) -> None:
    row.suptitle(title, x=0.01, ha="left", size=10, weight="bold", color=_INK)
    axes = row.subplots(1, 1 + len(names), width_ratios=[1.15, *[1] * len(names)])
    _draw_matrix(axes[0], rounds[-1].matrices[-1, level], names)
    for true, panel in enumerate(axes[1:]):
        _draw_curves(panel, rounds, level, true, noisy=noisy)
        panel.set_title(f"true {names[true]}", size=9, color=_INK, pad=6 if len(rounds) == 1 else 15)
        panel.tick_params(labelleft=true == 0)
    axes[1].set_ylabel("T[true, pseudo-label]", size=8, color=_DIM)


def _draw_matrix(axes: Axes, matrix: NDArray[np.float64], names: Sequence[str]) -> None:
    """The matrix as a heat map with its numbers."""
    axes.imshow(matrix, cmap="Greys", vmin=0, vmax=1.25)  # dark grey, not black, is 1
    for (true, pseudo), value in np.ndenumerate(matrix):
        axes.text(pseudo, true, f"{value:.3f}", ha="center", va="center", size=9, color="w" if value > 0.7 else _INK)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names, rotation=90, va="center")
    axes.tick_params(length=0, labelsize=8, labelcolor=_INK)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("pseudo-label", size=8, color=_DIM)
    axes.set_ylabel("true", size=8, color=_DIM)
    axes.set_title("after the last step", size=9, color=_INK)


def _draw_curves(axes: Axes, rounds: Sequence[NtmRound], level: int, true: int, *, noisy: bool) -> None:
    """Row ``true`` of the matrix over the steps of all rounds, one round after another."""
    total = sum(len(one.matrices) for one in rounds)
    stride, before = -(-total // POINTS), 0
    whole: dict[str, Any] = {"clip_on": False, "solid_capstyle": "butt"}  # also at 0 and 1
    for one in rounds:
        row = one.matrices[:, level, true]
        count = len(row)
        kept = np.unique(np.append(np.arange(0, count, stride), count - 1))
        steps, marker = before + 1 + kept, "." if count == 1 else ""
        mean = _rolling_mean(row, max(WINDOW, count // 40)) if noisy else row
        for pseudo in range(row.shape[1]):
            colour, width = _colour(pseudo), 1.4 + 0.6 * max(0, 2 - pseudo)  # of equal curves each shows
            if noisy:
                axes.plot(steps, row[kept, pseudo], color=colour, lw=0.5, alpha=0.35)
            axes.plot(steps, mean[kept, pseudo], color=colour, lw=width, marker=marker, **whole)
        _mark_round(axes, one.number, before, count / total)
        before += count
    axes.set_xlim(0, total)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1])
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(axis="y", color=_GRID, lw=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, color=_GRID, labelcolor=_INK)
    axes.set_xlabel("step", size=8, color=_DIM)


def _mark_round(axes: Axes, number: int, start: int, share: float) -> None:
    """A thin line where a round begins and its number above, where its share of the steps leaves room for it."""
    if start:
        axes.axvline(start, color=_DIM, lw=0.6)
    words = f"round {number}" if share > _WORDS else str(number) if share > _DIGITS else ""
    if words and share < 1:
        axes.annotate(words, (start, 1), xytext=(1, 3), textcoords="offset points", size=7, color=_DIM)


def _rolling_mean(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Mean over ``length`` steps around each step, at the ends over as many of them as there are."""
    sums = uniform_filter1d(values, length, axis=0, mode="constant")
    weights = uniform_filter1d(np.ones((len(values), 1)), length, axis=0, mode="constant")
    return np.asarray(sums / weights)


def _colour(index: int) -> str:
    return PALETTE[index % len(PALETTE)]
