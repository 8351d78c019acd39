"""Floor 2, review: a figure to a file."""

import os
from pathlib import Path

from matplotlib.figure import Figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write beside the target, then rename: a reader sees the old picture or the new one.

    Args:
        figure: What is drawn.
        path: Its suffix says the format: ``.png``, ``.pdf``, ``.svg``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        figure.savefig(half, format=path.suffix[1:].lower(), facecolor=figure.get_facecolor())
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
