"""Floor 2, review: many cases on one sheet, each before and after every normalization, one colour per place.

A row is a case, a column a way to see its grey values. A normalized column has one grey window for every row: where two
scanners still look unlike there, a network will see it, too. Above all: what the grey values of each place are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from skimage.measure import find_contours

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.review.figures import save_figure
from prostate_uda.review.views import prostate, transition_zone

STORED = "as stored"
PLACES = ("#ff9a3c", "#3fc8ff", "#ff6fcf", "#ffe14d", "#b79bff", "#5fe36b")
"""Colours of the places, in turn."""

_INK, _DIM, _PAPER, _LABEL = "#f2f2f2", "#9a9a9a", "#101114", "#5fe36b"
_DPI, _BINS = 130, 72
_PANEL, _CURVE, _GAP, _TOP, _SIDE = 1.9, 0.62, 0.06, 0.62, 0.06  # inches
_SMOOTH = np.array([1, 4, 7, 4, 1]) / 17
_SHOWN = (1.0, 99.5)  # percentiles that are black and white


@dataclass(frozen=True)
class Seen:
    """A case's grey values in one column.

    Attributes:
        slices: ``(X, Y)`` each, LPS: rows of pixels run to the patient's left, columns to his back.
        body: ``(N,)`` grey values of the body, a sample of the whole volume.
    """

    slices: tuple[NDArray[Any], ...]
    body: NDArray[Any]


@dataclass(frozen=True)
class SheetRow:
    """One case.

    Attributes:
        title: Its id.
        place: Whose case it is; rows of one place share a colour.
        spacing_mm: Pixel size along X and Y.
        columns: Column to what is seen there; the first is drawn with all its slices, the others with the middle one.
        labels: ``(X, Y)`` of each slice, 1 = PZ, 2 = TZ; empty where there is none.
        centre: Pixel that the panels are centred on.
        note: Small print below the title.
    """

    title: str
    place: str
    spacing_mm: tuple[float, float]
    columns: Mapping[str, Seen]
    labels: tuple[NDArray[Any], ...] = ()
    centre: tuple[float, float] | None = None
    note: str = ""


@dataclass
class _Sheet:
    """The figure, measured in inches from its top left corner."""

    width: float
    height: float
    figure: Figure = field(init=False)

    def __post_init__(self) -> None:
        self.figure = Figure(figsize=(self.width, self.height), dpi=_DPI, facecolor=_PAPER)
        FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        place = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(place, facecolor="black")
        axes.set_axis_off()
        return axes

    def text(self, left: float, top: float, words: str, *, size: float, **more: str) -> None:
        style: dict[str, Any] = {"color": _INK, "va": "center", **more}
        self.figure.text(left / self.width, 1 - top / self.height, words, size=size, parse_math=False, **style)


def contact_sheet(rows: Sequence[SheetRow], *, path: Path, title: str = "", field_mm: float = 130.0) -> None:
    """Write one PNG: a row per case, a column per normalization, grey values above and below.

    Under each panel: the histogram of that case's body, over those of the places. Contours: solid is the prostate
    (PZ ∪ TZ), dashed the transition zone.

    Args:
        rows: At least one; all with the same columns, and as many slices in the first.
        path: The PNG; written under another name first, so it is never half there.
        title: Headline.
        field_mm: Side of the square that is shown.

    Raises:
        SettingsError: No row, or rows with other columns.
        ShapeError: A label has another shape than its slice.
    """
    _check(rows)
    first, *others = rows[0].columns
    wide = len(rows[0].columns[first].slices)
    step = _PANEL + _GAP
    sheet = _Sheet(
        2 * _SIDE + (wide + len(others)) * step, _TOP + _CURVE + 2 * _GAP + len(rows) * (step + _CURVE + 0.3)
    )
    sheet.text(_SIDE + 0.03, 0.18, title, size=12, weight="bold")
    colours = _colours(rows)
    _legend(sheet, colours)
    lefts = {first: _SIDE, **{name: _SIDE + (wide + place) * step for place, name in enumerate(others)}}
    scales = {name: _scale(rows, name) for name in lefts}
    for name, left in lefts.items():
        sheet.text(left + 0.03, _TOP - 0.14, name, size=10, weight="bold")
        width = wide * step - _GAP if name == first else _PANEL
        axes = sheet.axes(left, _TOP, width, _CURVE)
        _curves(axes, rows, name, scales[name], colours)
        _ends(axes, scales[name])
    top = _TOP + _CURVE + 2 * _GAP
    for row in rows:
        _row(sheet, row, rows, top, lefts=lefts, scales=scales, colours=colours, field_mm=field_mm)
        top += step + _CURVE + 0.3
    save_figure(sheet.figure, path)


def _row(
    sheet: _Sheet,
    row: SheetRow,
    rows: Sequence[SheetRow],
    top: float,
    *,
    lefts: Mapping[str, float],
    scales: Mapping[str, tuple[float, float]],
    colours: Mapping[str, str],
    field_mm: float,
) -> None:
    sheet.text(_SIDE + 0.03, top + 0.13, row.title, size=9, weight="bold", color=colours[row.place])
    sheet.text(sheet.width - _SIDE - 0.03, top + 0.13, row.note, size=8, color=_DIM, ha="right")
    for name, left in lefts.items():
        seen, stored = row.columns[name], left == _SIDE
        middle = len(seen.slices) // 2
        for place, index in enumerate(range(len(seen.slices)) if stored else [middle]):
            axes = sheet.axes(left + place * (_PANEL + _GAP), top + 0.27, _PANEL, _PANEL)
            window = _window(seen.body) if stored else scales[name]
            _panel(axes, row, seen.slices[index], row.labels[index] if row.labels else None, window, field_mm)
        width = (len(seen.slices) if stored else 1) * (_PANEL + _GAP) - _GAP
        axes = sheet.axes(left, top + 0.27 + _PANEL, width, _CURVE)
        scale = window if stored else scales[name]
        _own(axes, row, rows, name, scale, colours, alone=stored)


def _panel(
    axes: Axes,
    row: SheetRow,
    image: NDArray[Any],
    label: NDArray[Any] | None,
    window: tuple[float, float],
    field_mm: float,
) -> None:
    """A square of ``field_mm`` around the row's centre; what lies outside the image is black."""
    across, down = row.spacing_mm
    x, y = row.centre or (image.shape[0] / 2, image.shape[1] / 2)
    axes.imshow(
        image.T,
        cmap="gray",
        vmin=window[0],
        vmax=window[1],
        extent=(0, image.shape[0] * across, image.shape[1] * down, 0),
        interpolation="bicubic",
    )
    if label is not None:
        for mask, style in ((prostate(label), "-"), (transition_zone(label), "--")):
            for curve in find_contours(np.pad(mask, 1).astype(np.float64), 0.5):
                points = (curve - 0.5) * row.spacing_mm
                axes.plot(points[:, 0], points[:, 1], color=_LABEL, lw=0.9, ls=style)
    axes.set_xlim(x * across - field_mm / 2, x * across + field_mm / 2)
    axes.set_ylim(y * down + field_mm / 2, y * down - field_mm / 2)


def _curves(
    axes: Axes, rows: Sequence[SheetRow], name: str, scale: tuple[float, float], colours: Mapping[str, str]
) -> None:
    """Every case's histogram thin, its place's mean thick."""
    centres = _centres(scale)
    for place, colour in colours.items():
        heights = [_heights(row.columns[name].body, scale) for row in rows if row.place == place]
        for height in heights:
            axes.plot(centres, height, color=colour, lw=0.6, alpha=0.6)
        axes.plot(centres, np.mean(heights, axis=0), color=colour, lw=1.6)
    axes.set_xlim(*scale)
    axes.set_ylim(bottom=0)


def _own(
    axes: Axes,
    row: SheetRow,
    rows: Sequence[SheetRow],
    name: str,
    scale: tuple[float, float],
    colours: Mapping[str, str],
    *,
    alone: bool,
) -> None:
    """A case's own histogram, filled; over the places' means where the scale is common to all."""
    centres, own = _centres(scale), _heights(row.columns[name].body, scale)
    axes.fill_between(centres, own, color=colours[row.place], alpha=0.45, lw=0)
    if not alone:
        for place, colour in colours.items():
            heights = [_heights(other.columns[name].body, scale) for other in rows if other.place == place]
            axes.plot(centres, np.mean(heights, axis=0), color=colour, lw=0.8)
    axes.set_xlim(*scale)
    axes.set_ylim(bottom=0)
    if alone:
        _ends(axes, scale)


def _centres(scale: tuple[float, float]) -> NDArray[np.float64]:
    edges = np.linspace(*scale, _BINS + 1)
    return np.asarray((edges[1:] + edges[:-1]) / 2)


def _heights(body: NDArray[Any], scale: tuple[float, float]) -> NDArray[np.float64]:
    """Share of the body in each bin, smoothed: stored whole numbers would comb; beyond the scale lies no bin."""
    counts = np.histogram(body, bins=_BINS, range=scale)[0]
    return np.asarray(np.convolve(counts, _SMOOTH, mode="same") / max(1, body.size))


def _scale(rows: Sequence[SheetRow], name: str) -> tuple[float, float]:
    """Grey values that are black and white in a column: what three quarters of the cases have room in."""
    windows = np.array([_window(row.columns[name].body) for row in rows])
    return float(np.percentile(windows[:, 0], 25)), float(np.percentile(windows[:, 1], 75))


def _window(body: NDArray[Any]) -> tuple[float, float]:
    low, high = (float(value) for value in np.percentile(body, _SHOWN))
    return (low, high) if high > low else (low, low + 1.0)


def _ends(axes: Axes, scale: tuple[float, float]) -> None:
    """What black and white are, above a histogram's tail."""
    words = f"{_number(scale[0])} to {_number(scale[1])}"
    axes.text(0.99, 0.86, words, transform=axes.transAxes, color=_DIM, size=7, ha="right", va="center")


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _legend(sheet: _Sheet, colours: Mapping[str, str]) -> None:
    right = sheet.width - _SIDE - 0.03
    words = "   ".join(colours)
    left = right - 0.095 * len(words)
    for place, colour in colours.items():
        sheet.text(left, 0.18, place, size=10, color=colour, weight="bold")
        left += 0.095 * (len(place) + 3)


def _colours(rows: Iterable[SheetRow]) -> dict[str, str]:
    places = dict.fromkeys(row.place for row in rows)
    return {place: PLACES[number % len(PLACES)] for number, place in enumerate(places)}


def _check(rows: Sequence[SheetRow]) -> None:
    if not rows:
        raise SettingsError("a contact sheet of no case; one or more are allowed; add a case")
    first = rows[0]
    shape = [(name, len(seen.slices)) for name, seen in first.columns.items()]
    for row in rows:
        if [(name, len(seen.slices)) for name, seen in row.columns.items()] != shape or not shape:
            raise SettingsError(
                f"case {row.title!r} has other columns or slices than {first.title!r}; all rows need the same"
            )
        for label, image in zip(row.labels, next(iter(row.columns.values())).slices, strict=False):
            if label.shape != image.shape:
                raise ShapeError(f"label of shape {label.shape} on a slice of shape {image.shape} of {row.title!r}")
