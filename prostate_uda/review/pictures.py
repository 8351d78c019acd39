"""Floor 2, review: contours over axial slices as PNG, in radiological convention.

Every picture shows the patient's right at its left and anterior at its top, whatever the storage order of the arrays.
A colour says whose contour it is, the line says what: solid is the prostate (PZ ∪ TZ), dashed the transition zone.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from prostate_uda.errors import SettingsError
from prostate_uda.review.figures import save_figure
from prostate_uda.review.views import View, prostate, transition_zone

COLOURS = {"truth": "#5fe36b", "source-only": "#ff9a3c", "adapted": "#3fc8ff"}
"""Whose contour has which colour; other names take :data:`OTHER_COLOURS` in turn."""

OTHER_COLOURS = ("#ff6fcf", "#ffe14d", "#b79bff", "#ffffff")

_INK, _DIM, _PAPER = "#f2f2f2", "#9a9a9a", "#101114"
_DPI = 150
LineStyle = str | tuple[float, tuple[float, ...]]
_DASHED: LineStyle = (0, (3, 1.6))
_PANEL, _GAP = 2.9, 0.05  # inches


@dataclass(frozen=True)
class StripCase:
    """One case of :func:`comparison_strip`.

    Attributes:
        image: ``(X, Y, Z)`` grey values, axes as stored.
        labels: Name to ``(X, Y, Z)`` labels, 1 = PZ, 2 = TZ; one panel each, in this order.
        spacing_mm: Voxel size along X, Y, Z.
        orientation: Where X, Y, Z point to (``"LPS"``), as ``nibabel.aff2axcodes`` says.
        title: What stands above the panels.
    """

    image: NDArray[Any]
    labels: Mapping[str, NDArray[Any]]
    spacing_mm: Sequence[float]
    orientation: str
    title: str


def contour_figure(
    image: NDArray[Any],
    labels: Mapping[str, NDArray[Any]],
    *,
    spacing_mm: Sequence[float],
    orientation: str,
    title: str,
    path: Path,
    max_slices: int = 6,
    scores: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Write one PNG with every label's contours on slices spread evenly through the gland, base to apex.

    The gland is the union of all labels, so a false island far away is shown, not cropped. Slice numbers count from
    1 at the inferior end. Without any label the middle of the volume is shown.

    Args:
        image: ``(X, Y, Z)`` grey values, axes as stored.
        labels: Name to ``(X, Y, Z)`` integer labels, 1 = PZ, 2 = TZ, the rest background; ``truth`` may be missing.
            The names ``truth``, ``source-only`` and ``adapted`` have fixed colours (:data:`COLOURS`).
        spacing_mm: Voxel size along X, Y, Z.
        orientation: Where X, Y, Z point to (``"LPS"``), as ``nibabel.aff2axcodes`` says.
        title: Headline, the case id.
        path: The PNG; written under another name first, so it is never half there.
        max_slices: Most panels.
        scores: Label name to zone to Dice in ``[0, 1]``, shown beside the name
            (:func:`prostate_uda.metrics.zone_dice`).

    Raises:
        ShapeError: ``image`` has not three axes or a label has another shape.
        GeometryError: ``orientation`` or ``spacing_mm`` is not one of a volume.
        SettingsError: ``max_slices`` below 1.
    """
    if max_slices < 1:
        raise SettingsError(f"max_slices {max_slices}; 1 or more is allowed; try 6")
    labels = {name: labels[name] for name in sorted(labels, key=lambda name: name != "truth")}  # truth lies beneath
    view = View.of(image, labels, spacing_mm, orientation)
    slices = view.spread(max_slices)
    rows = 1 if len(slices) <= 3 else 2 if len(slices) <= 8 else 3
    columns = math.ceil(len(slices) / rows)
    foot = 0.28 * max(len(labels), 2) + 0.2 if labels else 0.0
    canvas = _Canvas(columns * (_PANEL + _GAP) + _GAP, rows * (_PANEL + _GAP) + foot + 0.45)
    canvas.text(0.1, 0.24, title, size=13, weight="bold")
    for place, index in enumerate(slices):
        row, column = divmod(place, columns)
        axes = canvas.panel(_GAP + column * (_PANEL + _GAP), 0.45 + row * (_PANEL + _GAP))
        _draw(axes, view, index, labels)
        _note(axes, 0.09, 0.04, f"{index + 1} / {view.image.shape[2]}")
        if place == 0:
            _directions(axes)
    if labels:
        _legend(canvas, labels, scores or {}, top=canvas.height - foot)
    save_figure(canvas.figure, path)


def comparison_strip(cases: Sequence[StripCase], *, path: Path) -> None:
    """Write one row of panels: for each case its labels side by side on the gland's middle slice.

    Args:
        cases: At least one case, each with at least one label.
        path: The PNG; written under another name first, so it is never half there.

    Raises:
        SettingsError: No case, or a case without label.
        ShapeError: An image has not three axes or a label has another shape.
        GeometryError: ``orientation`` or ``spacing_mm`` is not one of a volume.
    """
    if not cases or not all(case.labels for case in cases):
        raise SettingsError("a strip of no case or without labels; one or more of each is allowed; add a case")
    between, side = 0.2, 0.62 * _PANEL
    count = sum(len(case.labels) for case in cases)
    width = count * (side + _GAP) + (len(cases) - 1) * between + _GAP
    canvas, left = _Canvas(width, side + 0.62), _GAP
    for case in cases:
        view = View.of(case.image, case.labels, case.spacing_mm, case.orientation)
        middle = view.spread(1)[0]
        canvas.text(left + 0.03, 0.16, case.title, size=10, weight="bold")
        for position, name in enumerate(case.labels):
            axes = canvas.panel(left, 0.32, side)
            _draw(axes, view, middle, [name], fill=True)
            colour = _colours(case.labels)[name]
            canvas.text(left + 0.03, canvas.height - 0.15, name, size=9, color=colour)
            left += side + _GAP + (between if position == len(case.labels) - 1 else 0)
    save_figure(canvas.figure, path)


def _draw(axes: Axes, view: View, index: int, names: Iterable[str], *, fill: bool = False) -> None:
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
    colours = _colours(view.labels)
    for name in names:
        label = view.labels[name][:, :, index]
        for mask, style in ((prostate(label), "-"), (transition_zone(label), _DASHED)):
            for across, down in view.outlines(mask):
                axes.plot(across, down, color=colours[name], lw=1.3 if fill else _weight(name), ls=style)
                if fill:
                    axes.fill(across, down, color=colours[name], alpha=0.15, lw=0)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)


class _Canvas:
    """A dark figure measured in inches from its top left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=_PAPER)
        FigureCanvasAgg(self.figure)

    def panel(self, left: float, top: float, side: float = _PANEL) -> Axes:
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
        color: str = _INK,
        weight: str = "normal",
        family: str = "sans-serif",
    ) -> None:
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
        ends, height = [left / self.width, (left + 0.35) / self.width], 1 - top / self.height
        self.figure.add_artist(Line2D(ends, [height, height], color=color, ls=style, lw=width))


def _legend(
    canvas: _Canvas, labels: Mapping[str, Any], scores: Mapping[str, Mapping[str, float]], *, top: float
) -> None:
    """Bottom lines: colour, name and Dice of each label; at the right what solid and dashed mean."""
    colours = _colours(labels)
    longest = max((len(name) for name in labels), default=0)
    for line, name in enumerate(labels):
        height = top + 0.22 + 0.28 * line
        numbers = "  ".join(f"{zone} {value:.2f}" for zone, value in scores.get(name, {}).items())
        canvas.stroke(0.1, height, color=colours[name], style="-", width=_weight(name) + 0.5)
        words = f"{name:<{longest}}" + (f"   Dice  {numbers}" if numbers else "")
        canvas.text(0.55, height, words, size=9, family="monospace")
    right = canvas.width - 0.1
    kinds: tuple[tuple[str, LineStyle], ...] = (("prostate", "-"), ("transition zone", _DASHED))
    for line, (meaning, style) in enumerate(kinds):
        height = top + 0.22 + 0.28 * line
        canvas.stroke(right - 1.55, height, color=_DIM, style=style, width=1.5)
        canvas.text(right - 1.1, height, meaning, size=9, color=_DIM)


def _directions(axes: Axes) -> None:
    """R, L, A and P at the borders of a panel."""
    for letter, across, up in (("R", 0.03, 0.5), ("L", 0.97, 0.5), ("A", 0.5, 0.97), ("P", 0.5, 0.03)):
        _note(axes, across, up, letter)


def _note(axes: Axes, across: float, up: float, words: str) -> None:
    """Words over the image, centred on a place counted in fractions of the panel."""
    rim = [withStroke(linewidth=2, foreground="black")]  # readable on bright fat, too
    axes.text(
        *(across, up, words), transform=axes.transAxes, color=_INK, size=8, ha="center", va="center", path_effects=rim
    )


def _colours(labels: Mapping[str, Any]) -> dict[str, str]:
    others = [name for name in labels if name not in COLOURS]
    extra = {name: OTHER_COLOURS[place % len(OTHER_COLOURS)] for place, name in enumerate(others)}
    return COLOURS | extra


def _weight(name: str) -> float:
    """Truth is broader, so that it can be seen beneath a contour that matches it."""
    return 2.2 if name == "truth" else 1.3
