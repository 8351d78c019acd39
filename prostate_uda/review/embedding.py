"""Floor 2, review: features of source and target as points of a plane (t-SNE), a panel per network."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from prostate_uda.review.ntm import PALETTE, class_names

PERPLEXITY = 30.0
"""Of t-SNE, as van der Maaten and Hinton (JMLR 2008) have it; a third of the points where they are few."""

_INK, _DIM, _FRAME = "#222222", "#6a6a6a", "#c9c9c9"
_DPI, _WIDTH, _HEIGHT = 130, 11.0, 6.3  # inches
_SIZE = 26.0
_NOTE = (
    "Each panel is a t-SNE of its own, of both domains together: distances compare within a panel alone. "
    "Colour: of a source point the source's label,\nof a target point the network's own prediction; "
    "no target label is used."
)


@dataclass(frozen=True)
class EmbeddingPanel:
    """One network's points.

    Attributes:
        title: Above the panel.
        points: ``(P, 2)``, from :func:`tsne`.
        classes: ``(P,)`` class of each point.
        target: ``(P,)`` bool: of the target, else of the source.
    """

    title: str
    points: NDArray[np.float32]
    classes: NDArray[np.int64]
    target: NDArray[np.bool_]


def perplexity(count: int) -> float:
    """What t-SNE is run with for so many points."""
    return min(PERPLEXITY, (count - 1) / 3)


def tsne(features: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """``(P, 2)`` from ``(P, F)`` features, the same for the same seed."""
    from sklearn.manifold import TSNE  # here: who draws no figure need not wait for it

    embedding = TSNE(init="pca", perplexity=perplexity(len(features)), random_state=seed)
    return np.asarray(embedding.fit_transform(features), dtype=np.float32)


def embedding_figure(panels: Sequence[EmbeddingPanel], *, title: str, classes: int) -> Figure:
    """Draw the panels side by side: source filled circles, target hollow triangles, a colour per class.

    Args:
        panels: At least one.
        title: Headline, of one line or two.
        classes: Number C of classes, background included.
    """
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08, rect=(0, 0.08, 1, 0.92))
    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI, layout=layout)
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", size=11, weight="bold", color=_INK, parse_math=False)
    _legend(figure, class_names(classes))
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw(axes, panel)
    figure.text(0.01, 0.015, _NOTE, size=8, color=_DIM, va="bottom")
    return figure


def _draw(axes: Axes, panel: EmbeddingPanel) -> None:
    colours = np.array([PALETTE[index % len(PALETTE)] for index in panel.classes])
    for domain, marker in ((False, "o"), (True, "^")):
        mine = panel.target == domain
        across, down = panel.points[mine].T
        face = "none" if domain else colours[mine]
        axes.scatter(
            across,
            down,
            s=_SIZE,
            marker=marker,
            facecolors=face,
            edgecolors=colours[mine] if domain else "white",
            linewidths=0.9 if domain else 0.3,
            alpha=0.85,
        )
    axes.set_title(panel.title, size=10, color=_INK)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    for spine in axes.spines.values():
        spine.set_color(_FRAME)


def _legend(figure: Figure, names: Sequence[str]) -> None:
    colours = [PALETTE[index % len(PALETTE)] for index in range(len(names))]
    marks = [
        Line2D([], [], ls="", marker="s", ms=7, color=colour, label=name)
        for colour, name in zip(colours, names, strict=True)
    ]
    marks.append(Line2D([], [], ls="", marker="o", ms=6, color=_INK, label="source"))
    marks.append(Line2D([], [], ls="", marker="^", ms=6, color=_INK, mfc="none", label="target"))
    figure.legend(handles=marks, loc="outside upper right", ncols=len(marks), frameon=False, fontsize=9)
