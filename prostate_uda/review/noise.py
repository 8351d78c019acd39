"""Floor 2, review: what noise in the pseudo-labels does: Dice, and the error of the learned NTM, against its rate.

A block is a protocol and a column is a kind of noise. Above, the mean Dice of PZ, TZ and WP of each method; below, the
mean absolute error ``|T - T_true|`` of the learned NTM at each level, beside that of the identity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure

from prostate_uda.errors import ShapeError
from prostate_uda.review.ntm import PALETTE, level_names

MEAN = "mean"
"""Name of the mean over PZ, TZ and WP in :attr:`NoiseRun.dice`."""
_INK, _DIM, _GRID = "#222222", "#6a6a6a", "#c9c9c9"
_DPI, _COLUMN, _BLOCK, _HEAD = 130, 3.6, 5.2, 0.6  # inches
_ASIDE = 0.006
"""Of the rate, between curves: bars that would lie on one another."""
Points = Mapping[float, Sequence[float]]
"""Rate to one number per seed."""


@dataclass(frozen=True)
class NoiseRun:
    """One finished run.

    Attributes:
        protocol: Of the comparison.
        seed: Of the run.
        kind: Of the noise.
        rate: Of the noise.
        method: Its name in the legend.
        dice: In points, mean over the test cases: ``PZ``, ``TZ``, ``WP`` and their ``mean``.
        ntm_error: Mean absolute error of the learned NTM at each level, shallow to deep; None where nothing is learned
            or no truth is known.
        identity_error: Likewise of the identity; None where no truth is known.
    """

    protocol: str
    seed: int
    kind: str
    rate: float
    method: str
    dice: Mapping[str, float]
    ntm_error: tuple[float, ...] | None
    identity_error: float | None


def noise_figure(runs: Sequence[NoiseRun]) -> Figure:
    """Draw the curves, mean ± sd over seeds (divisor n - 1); the axes are, block by block, Dice and then errors.

    Args:
        runs: At least one; of a protocol, kind, rate and method as many as there are seeds.

    Raises:
        ShapeError: no run.
    """
    if not runs:
        raise ShapeError("no runs to draw; give one or more")
    protocols, kinds = (list(dict.fromkeys(names)) for names in zip(*((r.protocol, r.kind) for r in runs), strict=True))
    size = (max(_COLUMN * len(kinds), 2 * _COLUMN), _HEAD + _BLOCK * len(protocols))
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    seeds = ", ".join(map(str, sorted({run.seed for run in runs})))
    figure.suptitle(
        f"noise in the pseudo-labels: mean ± sd over seeds {seeds}",
        x=0.01,
        ha="left",
        size=11,
        weight="bold",
        color=_INK,
    )
    blocks = figure.subfigures(len(protocols), 1, squeeze=False)[:, 0]
    for block, protocol in zip(blocks, protocols, strict=True):
        _draw_block(block, [run for run in runs if run.protocol == protocol], protocol, kinds)
    return figure


def _draw_block(block: SubFigure, runs: Sequence[NoiseRun], protocol: str, kinds: Sequence[str]) -> None:
    block.suptitle(f"protocol {protocol}", x=0.01, ha="left", size=10, weight="bold", color=_INK)
    axes = block.subplots(2, len(kinds), squeeze=False, sharex=True, sharey="row")
    for column, kind in enumerate(kinds):
        mine = [run for run in runs if run.kind == kind]
        axes[0, column].set_title(kind, size=10, color=_INK)
        _draw_dice(axes[0, column], mine)
        _draw_errors(axes[1, column], mine)
        axes[1, column].set_xlabel("rate of the noise", size=9, color=_DIM)
    for row, title in zip(axes[:, 0], ("Dice, mean of PZ TZ WP (points)", "mean |T - T true|"), strict=True):
        row.set_ylabel(title, size=9, color=_DIM)
    axes[0, 0].set_xticks(sorted({run.rate for run in runs}))  # of all: they share it
    for row in axes:
        told = {name: mark for one in row for mark, name in zip(*one.get_legend_handles_labels(), strict=True)}
        if told:
            row[0].legend(told.values(), told.keys(), fontsize=8, frameon=False)


def _draw_dice(axes: Axes, runs: Sequence[NoiseRun]) -> None:
    for index, method in enumerate(sorted({run.method for run in runs}, reverse=True)):
        found = {run.rate: [r.dice[MEAN] for r in runs if (r.method, r.rate) == (method, run.rate)] for run in runs}
        _draw_curve(axes, found, index, label=method, color=PALETTE[1 + index])
    _tidy(axes)


def _draw_errors(axes: Axes, runs: Sequence[NoiseRun]) -> None:
    """The learned NTMs' errors, and the identity's for the pseudo-labels of the same runs."""
    learned = [run for run in runs if run.ntm_error is not None]
    known = learned or [run for run in runs if run.identity_error is not None]
    identity = {run.rate: [r.identity_error for r in known if r.rate == run.rate] for run in known}
    _draw_curve(axes, identity, 0, label="identity", color=PALETTE[0], linestyle="--")  # type: ignore[arg-type]  # known
    names = level_names(len(learned[0].ntm_error or ())) if learned else ()
    for level, name in enumerate(names):
        found = {run.rate: [(r.ntm_error or ())[level] for r in learned if r.rate == run.rate] for run in learned}
        _draw_curve(axes, found, 1 + level, label=f"learned, {name}", color=PALETTE[3 + level])
    if not known:
        axes.text(0.5, 0.5, "no truth of the training cases", transform=axes.transAxes, ha="center", color=_DIM)
    _tidy(axes)


def _draw_curve(axes: Axes, points: Points, place: int, **style: Any) -> None:  # noqa: ANN401  matplotlib's
    rates = sorted(rate for rate, numbers in points.items() if numbers)
    if rates:
        means = [float(np.mean(points[rate])) for rate in rates]
        spread = [float(np.std(points[rate], ddof=1)) if len(points[rate]) > 1 else 0.0 for rate in rates]
        axes.errorbar(
            [rate + _ASIDE * place for rate in rates],
            means,
            yerr=spread,
            marker="o",
            markersize=4,
            capsize=3,
            lw=1.5,
            **style,
        )


def _tidy(axes: Axes) -> None:
    axes.grid(axis="y", color=_GRID, lw=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, color=_GRID, labelcolor=_INK)
