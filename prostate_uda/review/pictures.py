"""Floor 2, review: contours over axial slices as PNG, in radiological convention.

Every picture shows the patient's right at its left and anterior at its top, whatever the storage order of the arrays.
A colour says whose contour it is, the line says what: solid is the prostate (PZ ∪ TZ), dashed the transition zone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from prostate_uda.errors import SettingsError
from prostate_uda.review.canvas import (
    DASHED,
    DIM,
    GAP,
    PANEL,
    Canvas,
    LineStyle,
    colours_of,
    directions,
    draw_slice,
    line_width,
    note,
)
from prostate_uda.review.figures import save_figure
from prostate_uda.review.views import View


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
            The names ``truth``, ``source-only`` and ``adapted`` have fixed colours
            (:data:`~prostate_uda.review.canvas.COLOURS`).
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
    canvas = Canvas(columns * (PANEL + GAP) + GAP, rows * (PANEL + GAP) + foot + 0.45)
    canvas.text(0.1, 0.24, title, size=13, weight="bold")
    for place, index in enumerate(slices):
        row, column = divmod(place, columns)
        axes = canvas.panel(GAP + column * (PANEL + GAP), 0.45 + row * (PANEL + GAP))
        draw_slice(axes, view, index, labels)
        note(axes, 0.09, 0.04, f"{index + 1} / {view.image.shape[2]}")
        if place == 0:
            directions(axes)
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
    between, side = 0.2, 0.62 * PANEL
    count = sum(len(case.labels) for case in cases)
    width = count * (side + GAP) + (len(cases) - 1) * between + GAP
    canvas, left = Canvas(width, side + 0.62), GAP
    for case in cases:
        view = View.of(case.image, case.labels, case.spacing_mm, case.orientation)
        middle = view.spread(1)[0]
        canvas.text(left + 0.03, 0.16, case.title, size=10, weight="bold")
        for position, name in enumerate(case.labels):
            axes = canvas.panel(left, 0.32, side)
            draw_slice(axes, view, middle, [name], fill=True)
            colour = colours_of(case.labels)[name]
            canvas.text(left + 0.03, canvas.height - 0.15, name, size=9, color=colour)
            left += side + GAP + (between if position == len(case.labels) - 1 else 0)
    save_figure(canvas.figure, path)


def _legend(
    canvas: Canvas, labels: Mapping[str, Any], scores: Mapping[str, Mapping[str, float]], *, top: float
) -> None:
    """Bottom lines: colour, name and Dice of each label; at the right what solid and dashed mean."""
    colours = colours_of(labels)
    longest = max((len(name) for name in labels), default=0)
    for line, name in enumerate(labels):
        height = top + 0.22 + 0.28 * line
        numbers = "  ".join(f"{zone} {value:.2f}" for zone, value in scores.get(name, {}).items())
        canvas.stroke(0.1, height, color=colours[name], style="-", width=line_width(name) + 0.5)
        words = f"{name:<{longest}}" + (f"   Dice  {numbers}" if numbers else "")
        canvas.text(0.55, height, words, size=9, family="monospace")
    right = canvas.width - 0.1
    kinds: tuple[tuple[str, LineStyle], ...] = (("prostate", "-"), ("transition zone", DASHED))
    for line, (meaning, style) in enumerate(kinds):
        height = top + 0.22 + 0.28 * line
        canvas.stroke(right - 1.55, height, color=DIM, style=style, width=1.5)
        canvas.text(right - 1.1, height, meaning, size=9, color=DIM)
