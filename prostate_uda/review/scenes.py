"""Floor 2, review: street scenes with the colours of their classes, as arrays and as one picture with a legend.

Nobody's colours are known here: they are given, with the names, one for each class.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from prostate_uda.errors import DataError, SettingsError, ShapeError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.review.canvas import DIM, GAP, Canvas
from prostate_uda.review.figures import save_figure

Colours = Sequence[Sequence[int]]
UNKNOWN = "not labelled"
HEIGHT, HEAD, LINE, SWATCH = 2.4, 0.3, 0.24, 0.16
"""Of a panel, the titles above it, a line of the legend and a colour in it, in inches."""
LETTER = 0.085
"""Width of a letter of the legend, in inches, generously."""


def colour_label(label: NDArray[Any], colours: Colours) -> NDArray[np.uint8]:
    """A label as a picture.

    Args:
        label: ``(H, W)`` integer classes, IGNORE where nothing is known: black.
        colours: Red, green and blue of each class, 0 to 255.

    Returns:
        ``(H, W, 3)`` RGB.

    Raises:
        ShapeError: ``label`` has not two axes, or is not of an integer type.
        DataError: A class without a colour.
        SettingsError: Not such colours.
    """
    _check_label(label, len(colours))
    table = np.zeros((IGNORE + 1, 3), dtype=np.uint8)
    table[: len(colours)] = _palette(colours)
    table[IGNORE] = 0
    painted: NDArray[np.uint8] = table[label]
    return painted


def overlay(image: NDArray[Any], label: NDArray[Any], colours: Colours, alpha: float = 0.5) -> NDArray[np.uint8]:
    """The colours of a label over its image; where nothing is known, the image alone.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        label: ``(H, W)`` integer classes, IGNORE where nothing is known.
        colours: Red, green and blue of each class, 0 to 255.
        alpha: Share of the colours from 0, the image, to 1.

    Returns:
        ``(H, W, 3)`` RGB.

    Raises:
        ShapeError: Image or label has another shape or type.
        DataError: A class without a colour.
        SettingsError: Not such colours or share.
    """
    if not 0 <= alpha <= 1:
        raise SettingsError(f"alpha {alpha}; 0 to 1 is allowed; try 0.5")
    _check_image(image)
    painted = colour_label(label, colours)
    _check_same_size("the label", label, image)
    share = np.where(label == IGNORE, np.float32(0), np.float32(alpha))[..., None]
    mixed = image + share * (painted - image.astype(np.float32))
    return np.rint(mixed).astype(np.uint8)


def scene_figure(
    image: NDArray[Any], labels: Mapping[str, NDArray[Any]], colours: Colours, names: Sequence[str], path: Path
) -> None:
    """Write a row of pictures: the scene, each label in its colours, and below them the classes that are there.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        labels: Title to ``(H, W)`` integer classes, IGNORE where nothing is known; one picture each, in this order.
        colours: Red, green and blue of each class, 0 to 255.
        names: Of the classes.
        path: ``.png``, ``.pdf`` or ``.svg``; written under another name first, so it is never half there.

    Raises:
        ShapeError: The image or a label has another shape or type.
        DataError: A class without a colour.
        SettingsError: Not such colours, or not as many names.
    """
    if len(names) != len(colours):
        raise SettingsError(f"{len(names)} names for {len(colours)} colours; one for each class is allowed")
    _check_image(image)
    pictures = {"image": image, **{title: colour_label(label, colours) for title, label in labels.items()}}
    for title, picture in pictures.items():
        _check_same_size(f"label {title!r}", picture, image)
    present = sorted({int(value) for label in labels.values() for value in np.unique(label)})
    entries = [(_colour(place, colours), _name(place, names)) for place in present]
    width = HEIGHT * image.shape[1] / image.shape[0]
    across = len(pictures) * (width + GAP) + GAP
    columns, lines = _legend_grid(entries, across)
    canvas = Canvas(across, HEAD + HEIGHT + GAP + (lines * LINE + 0.1 if lines else 0))
    for place, (title, picture) in enumerate(pictures.items()):
        _panel(canvas, GAP + place * (width + GAP), width, title, picture)
    for place, (colour, name) in enumerate(entries):
        line, column = divmod(place, columns)
        _entry(canvas, GAP + column * across / columns, HEAD + HEIGHT + GAP + (line + 0.6) * LINE, colour, name)
    save_figure(canvas.figure, path)


def _panel(canvas: Canvas, left: float, width: float, title: str, picture: NDArray[Any]) -> None:
    """One picture; no colour is invented between two pixels."""
    bottom = canvas.height - HEAD - HEIGHT
    place = (left / canvas.width, bottom / canvas.height, width / canvas.width, HEIGHT / canvas.height)
    axes = canvas.figure.add_axes(place)
    axes.set_axis_off()
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    canvas.text(left + 0.03, HEAD / 2, title, size=10, weight="bold")


def _entry(canvas: Canvas, left: float, top: float, colour: tuple[float, ...], name: str) -> None:
    """One class of the legend, with a rim, so that black can be seen."""
    corner = left / canvas.width, 1 - (top + SWATCH / 2) / canvas.height
    size = SWATCH / canvas.width, SWATCH / canvas.height
    patch = Rectangle(
        corner, *size, facecolor=colour, edgecolor=DIM, linewidth=0.5, transform=canvas.figure.transFigure
    )
    canvas.figure.add_artist(patch)
    canvas.text(left + SWATCH + 0.08, top, name, size=9)


def _legend_grid(entries: Sequence[tuple[tuple[float, ...], str]], across: float) -> tuple[int, int]:
    """Columns and lines that hold all entries."""
    longest = max((len(name) for _, name in entries), default=1)
    columns = max(int(across / (SWATCH + 0.2 + LETTER * longest)), 1)
    return columns, -(-len(entries) // columns)


def _colour(place: int, colours: Colours) -> tuple[float, ...]:
    return (0.0, 0.0, 0.0) if place == IGNORE else tuple(part / 255 for part in colours[place])


def _name(place: int, names: Sequence[str]) -> str:
    return UNKNOWN if place == IGNORE else names[place]


def _palette(colours: Colours) -> NDArray[np.uint8]:
    table = np.array(colours)
    fine = table.ndim == 2 and table.shape[1] == 3 and 1 <= len(table) <= IGNORE and table.dtype.kind in "iu"
    if not (fine and table.min() >= 0 and table.max() <= 255):
        raise SettingsError(f"colours {colours!r}; 1 to {IGNORE} of red, green and blue from 0 to 255 are allowed")
    return table.astype(np.uint8)


def _check_image(image: NDArray[Any]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ShapeError(f"image of shape {image.shape} and type {image.dtype}; (H, W, 3) of uint8, RGB, is allowed")


def _check_label(label: NDArray[Any], classes: int) -> None:
    if label.ndim != 2 or label.dtype.kind not in "iu":
        raise ShapeError(f"label of shape {label.shape} and type {label.dtype}; (H, W) of integers is allowed")
    wrong = label[((label < 0) | (label >= classes)) & (label != IGNORE)]
    if wrong.size:
        raise DataError(f"class {int(wrong.min())} has no colour; 0 to {classes - 1} and {IGNORE} are allowed")


def _check_same_size(what: str, picture: NDArray[Any], image: NDArray[Any]) -> None:
    if picture.shape[:2] != image.shape[:2]:
        raise ShapeError(
            f"{what} of {picture.shape[:2]} pixels over an image of {image.shape[:2]}; bring it to that size"
        )
