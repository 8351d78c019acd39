"""The embedding's figure: what is near stays near, and every point has its class's colour and its domain's marker."""

import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba

from prostate_uda.review.embedding import EmbeddingPanel, embedding_figure, perplexity, tsne
from prostate_uda.review.ntm import PALETTE


def test_tsne_keeps_clusters_and_repeats_itself() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 8)).astype(np.float32)
    features[30:] += 20
    points = tsne(features, 3)
    assert points.shape == (60, 2)
    assert np.array_equal(points, tsne(features, 3))
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    assert ((apart.argmin(axis=1) >= 30) == (np.arange(60) >= 30)).all()


def test_perplexity_fits_few_points() -> None:
    assert perplexity(1000) == 30
    assert perplexity(10) == 3
    assert tsne(np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32), 0).shape == (10, 2)


def test_colour_is_the_class_and_marker_the_domain() -> None:
    points = np.arange(12, dtype=np.float32).reshape(6, 2)
    classes, target = np.array([0, 1, 2, 0, 1, 1]), np.array([False, False, False, True, True, True])
    panels = [EmbeddingPanel(title, points, classes, target) for title in ("before", "after")]
    figure = embedding_figure(panels, title="run", classes=3)
    assert [axes.get_title() for axes in figure.axes] == ["before", "after"]
    for axes in figure.axes:
        source, theirs = (found for found in axes.collections if isinstance(found, PathCollection))
        assert np.array_equal(source.get_offsets(), points[:3])
        assert np.array_equal(theirs.get_offsets(), points[3:])
        assert np.allclose(source.get_facecolors()[:, :3], [to_rgba(PALETTE[index])[:3] for index in (0, 1, 2)])
        assert np.allclose(theirs.get_edgecolors()[:, :3], [to_rgba(PALETTE[index])[:3] for index in (0, 1, 1)])
        assert len(theirs.get_facecolors()) == 0  # hollow
        assert len(source.get_paths()[0].vertices) != len(theirs.get_paths()[0].vertices)
    words = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert words == ["background", "PZ", "TZ", "source", "target"]
    assert any("no target label is used" in text.get_text() for text in figure.texts)
