"""Floor 2, review: a dark figure measured in inches, and slices with contours drawn on it.

A colour says whose contour it is, the line says what: solid is the prostate (PZ ∪ TZ), dashed the transition zone.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from prostate_uda.review.views import View, prostate, transition_zone

COLOURS = {"truth": "#5fe36b", "source-only": "#ff9a3c", "adapted": "#3fc8ff"}
"""Whose contour has which colour; other names take :data:`OTHER_COLOURS` in turn."""

OTHER_COLOURS = ("#ff6fcf", "#ffe14d", "#b79bff", "#ffffff")

INK, DIM, _PAPER = "#f2f2f2", "#9a9a9a", "#101114"
_DPI = 150
LineStyle = str | tuple[float, tuple[float, ...]]
DASHED: LineStyle = (0, (3, 1.6))
PANEL, GAP = 2.9, 0.05
"""Side of a panel and room between panels, in inches."""


def draw_slice(axes: Axes, view: View, index: int, names: Iterable[str], *, fill: bool = False) -> None:
    """One slice with the contours of the named labels; ``axes`` count millimetres."""
    width, height = view.size_mm
    axes.imshow(
        view.image[:, :, index].T,
        cmap="gray",
        vmin=view.window[0],
        vmax=view.window[1],
        extent=(0, width, height, 0),
        interpolation="bicubic",
    )
    colours = colours_of(view.labels)
    for name in names:
        label = view.labels[name][:, :, index]
        for mask, style in ((prostate(label), "-"), (transition_zone(label), DASHED)):
            for across, down in view.outlines(mask):
                axes.plot(across, down, color=colours[name], lw=1.3 if fill else line_width(name), ls=style)
                if fill:
                    axes.fill(across, down, color=colours[name], alpha=0.15, lw=0)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)


class Canvas:
    """A dark figure measured in inches from its top left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=_PAPER)
        FigureCanvasAgg(self.figure)

    def panel(self, left: float, top: float, side: float = PANEL) -> Axes:
        """A black square without axes, ``left`` and ``top`` inches from the corner."""
        bottom = self.height - top - side
        place = (left / self.width, bottom / self.height, side / self.width, side / self.height)
        axes = self.figure.add_axes(place, facecolor="black")
        axes.set_axis_off()
        return axes

    def text(
        self,
        left: float,
        top: float,
        words: str,
        *,
        size: float,
        color: str = INK,
        weight: str = "normal",
        family: str = "sans-serif",
    ) -> None:
        """A line of words, vertically centred on ``top``; ``size`` in points."""
        self.figure.text(
            left / self.width,
            1 - top / self.height,
            words,
            size=size,
            color=color,
            weight=weight,
            family=family,
            va="center",
            parse_math=False,
        )

    def stroke(self, left: float, top: float, *, color: str, style: LineStyle, width: float) -> None:
        """A short horizontal line, as a legend's; ``width`` in points."""
        ends, height = [left / self.width, (left + 0.35) / self.width], 1 - top / self.height
        self.figure.add_artist(Line2D(ends, [height, height], color=color, ls=style, lw=width))


def directions(axes: Axes) -> None:
    """R, L, A and P at the borders of a panel."""
    for letter, across, up in (("R", 0.03, 0.5), ("L", 0.97, 0.5), ("A", 0.5, 0.97), ("P", 0.5, 0.03)):
        note(axes, across, up, letter)


def note(axes: Axes, across: float, up: float, words: str) -> None:
    """Words over the image, centred on a place counted in fractions of the panel."""
    rim = [withStroke(linewidth=2, foreground="black")]  # readable on bright fat, too
    axes.text(
        *(across, up, words), transform=axes.transAxes, color=INK, size=8, ha="center", va="center", path_effects=rim
    )


def colours_of(labels: Mapping[str, Any]) -> dict[str, str]:
    """Colour of each name."""
    others = [name for name in labels if name not in COLOURS]
    extra = {name: OTHER_COLOURS[place % len(OTHER_COLOURS)] for place, name in enumerate(others)}
    return COLOURS | extra


def line_width(name: str) -> float:
    """Truth is broader, so that it can be seen beneath a contour that matches it."""
    return 2.2 if name == "truth" else 1.3
