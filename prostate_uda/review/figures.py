"""Floor 2, review: a figure to a file."""

from pathlib import Path

from matplotlib.figure import Figure

from prostate_uda.review.files import whole


def save_figure(figure: Figure, path: Path) -> None:
    """Write beside the target, then rename: a reader sees the old picture or the new one.

    Args:
        figure: What is drawn.
        path: Its suffix says the format: ``.png``, ``.pdf``, ``.svg``.
    """
    with whole(path) as half:
        figure.savefig(half, format=path.suffix[1:].lower(), facecolor=figure.get_facecolor())
