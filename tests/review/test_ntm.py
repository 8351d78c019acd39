"""The NTM figure: what its axes hold is what the rounds hold."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

from prostate_uda.errors import ShapeError
from prostate_uda.review.ntm import PALETTE, POINTS, NtmRound, class_names, level_names, ntm_figure


def matrices(steps: int, *, levels: int = 2, classes: int = 3, seed: int = 0) -> NDArray[np.float64]:
    """``(S, L, C, C)`` row-stochastic, no two entries alike."""
    return np.random.default_rng(seed).dirichlet(np.ones(classes), (steps, levels, classes))


def figure(*steps: int, levels: int = 2, classes: int = 3, noisy: bool = False) -> tuple[Figure, list[NtmRound]]:
    rounds = [
        NtmRound(place + 1, matrices(count, levels=levels, classes=classes, seed=place))
        for place, count in enumerate(steps)
    ]
    return ntm_figure(rounds, title="run_$1", levels=level_names(levels), noisy=noisy), rounds


def curves(axes: Axes) -> list[tuple[NDArray[np.float64], NDArray[np.float64], str]]:
    """Steps, values and colour of each curve; not the lines between rounds, which are vertical."""
    lines = ((np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), line.get_color()) for line in axes.lines)
    return [line for line in lines if len(line[0]) != 2 or line[0][0] != line[0][1]]


@pytest.mark.parametrize(("levels", "classes"), [(1, 3), (2, 3), (3, 3), (2, 4)])
def test_a_row_per_level_and_a_panel_per_true_class(levels: int, classes: int) -> None:
    drawn, _ = figure(5, levels=levels, classes=classes)
    assert len(drawn.axes) == levels * (1 + classes)
    assert [row.get_suptitle() for row in drawn.subfigs] == list(level_names(levels))
    panels = [axes.get_title() for axes in drawn.axes[1 : 1 + classes]]
    assert panels == [f"true {name}" for name in class_names(classes)]
    assert level_names(2) == ("layer3 head", "layer4 head")
    assert class_names(3) == ("background", "PZ", "TZ")


def test_every_curve_is_an_entry_over_the_steps_of_all_rounds() -> None:
    drawn, rounds = figure(6, 4)
    for level in range(2):
        for true in range(3):
            found = curves(drawn.axes[level * 4 + 1 + true])
            wanted = [(place, pseudo) for place in range(2) for pseudo in range(3)]
            for (steps, values, colour), (place, pseudo) in zip(found, wanted, strict=True):
                assert steps.tolist() == ([1, 2, 3, 4, 5, 6], [7, 8, 9, 10])[place]
                assert np.array_equal(values, rounds[place].matrices[:, level, true, pseudo])
                assert same_color(colour, PALETTE[pseudo])


def test_the_heat_map_is_the_last_matrix_with_its_numbers() -> None:
    drawn, rounds = figure(6, 4)
    for level in range(2):
        axes, last = drawn.axes[level * 4], rounds[1].matrices[-1, level]
        assert np.array_equal(axes.images[0].get_array(), last)
        cells = {text.get_position(): text.get_text() for text in axes.texts}
        assert cells == {(k, j): f"{last[j, k]:.3f}" for j in range(3) for k in range(3)}  # x is the pseudo-label
        assert (axes.get_ylabel(), axes.get_xlabel()) == ("true", "pseudo-label")
        for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
            assert [text.get_text() for text in ticks] == ["background", "PZ", "TZ"]


def test_a_thin_line_stands_between_rounds_and_none_elsewhere() -> None:
    for steps, borders in (((5,), []), ((5, 7, 4), [5, 12])):
        panel = figure(*steps)[0].axes[1]
        upright = [line.get_xdata() for line in panel.lines if np.ptp(line.get_xdata()) == 0]
        assert [x[0] for x in upright] == borders
        assert panel.get_xlim() == (0, sum(steps))
        assert panel.get_ylim() == (0, 1)
    assert [text.get_text() for text in panel.texts] == ["round 1", "round 2", "round 3"]


@pytest.mark.parametrize("noisy", [False, True])
def test_long_runs_are_thinned_out_and_keep_their_ends(noisy: bool) -> None:
    drawn, rounds = figure(30_000, 20_001, noisy=noisy)
    panel = drawn.axes[1]
    for pseudo in range(3):
        mine = [(x, y) for x, y, colour in curves(panel) if same_color(colour, PALETTE[pseudo])]
        mine = mine[::2] if noisy else mine  # beside each its mean
        assert POINTS / 2 < sum(len(x) for x, _ in mine) <= POINTS + len(rounds)
        assert [(x[0], x[-1]) for x, _ in mine] == [(1, 30_000), (30_001, 50_001)]
        assert [y[-1] for _, y in mine] == [one.matrices[-1, 0, 0, pseudo] for one in rounds]


@pytest.mark.parametrize(("steps", "half"), [(5, 7), (120, 7), (1000, 12)])
def test_the_rolling_mean_is_the_mean_of_the_steps_around(steps: int, half: int) -> None:
    drawn, rounds = figure(steps, noisy=True)
    row = rounds[0].matrices[:, 1, 2]
    for pseudo in range(3):
        raw, mean = [y for _, y, colour in curves(drawn.axes[7]) if same_color(colour, PALETTE[pseudo])]
        assert np.array_equal(raw, row[:, pseudo])
        around = [row[max(0, step - half) : step + half + 1, pseudo].mean() for step in range(steps)]
        assert mean == pytest.approx(np.array(around), abs=1e-12)


def words_of(drawn: Figure) -> list[Text]:
    """All words that are drawn: a tick behind the end of its axis is not."""
    ticks = [(label, axes) for axes in drawn.axes for label in axes.get_xticklabels()]
    beyond = {label for label, axes in ticks if label.get_position()[0] > axes.get_xlim()[1]}
    shown = [text for text in drawn.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [text for text in shown if text not in beyond]


@pytest.mark.parametrize("steps", [(1,), (300, 300, 300), (300, 1), (20_000,) * 6, (3,) * 15, (3,) * 30])
def test_no_words_lie_on_others(steps: tuple[int, ...]) -> None:
    """Nor outside the picture."""
    drawn, _ = figure(*steps)
    drawn.draw_without_rendering()
    words = words_of(drawn)
    boxes = [text.get_window_extent() for text in words]
    for place, (text, box) in enumerate(zip(words, boxes, strict=True)):
        assert drawn.bbox.containsx(box.x0), text
        assert drawn.bbox.containsx(box.x1), text
        for other, rival in zip(words[place + 1 :], boxes[place + 1 :], strict=True):
            assert not box.overlaps(rival), (text, other)


def test_rounds_that_do_not_fit() -> None:
    two, three = NtmRound(1, matrices(2)), NtmRound(2, matrices(2, levels=3))
    for rounds in ([], [two, three], [three], [NtmRound(1, matrices(0))], [NtmRound(1, matrices(2)[0])]):
        with pytest.raises(ShapeError, match="for 2 levels"):
            ntm_figure(rounds, title="t", levels=level_names(2))
