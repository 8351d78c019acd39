"""The grid of cases: a panel per case and column, the slice in the middle of the truth, contours where labels are."""

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from prostate_uda.errors import SettingsError
from prostate_uda.review.case_grid import GridCase, case_grid
from prostate_uda.review.pictures import StripCase
from tests.review.test_pictures import anatomy, box

SPACING = (2.0, 2.0, 3.0)
COLUMNS = ("source-only", "mine", "truth")


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Those that are saved."""
    seen, really = [], Figure.savefig

    def keep(figure: Figure, path: Path, **options: object) -> None:
        seen.append(figure)
        really(figure, path, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return seen


def row(*, truth: bool = True) -> GridCase:
    image, labels = anatomy()
    image[:, :, 3] = 7.0 * (1 + np.arange(50)[:, None])  # the middle slice of the truth, without any noise
    found = {"source-only": np.zeros_like(labels["truth"]), "mine": box((2, 2, 0), (8, 8, 1), 1) + labels["truth"]}
    case = StripCase(image, found | ({"truth": labels["truth"]} if truth else {}), SPACING, "LPS", "case_$1")
    return GridCase(case, {"source-only": math.nan, "mine": 0.5})


def test_a_row_is_the_bare_slice_and_each_columns_contours(tmp_path: Path, figures: list[Figure]) -> None:
    case_grid([row(), row()], columns=COLUMNS, title="cmp", path=tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    panels = figures[0].axes
    assert len(panels) == 2 * 4
    assert [len(panel.lines) for panel in panels[:4]] == [0, 0, 2, 2]  # image, nothing found, gland and TZ twice
    for mine, true in zip(panels[2].lines, panels[3].lines, strict=True):  # the island of another slice is not there
        assert np.array_equal(mine.get_xydata(), true.get_xydata())
        assert mine.get_color() != true.get_color()
    for panel in panels[:4]:
        shown = np.asarray(panel.images[0].get_array())
        assert (np.ptp(shown, axis=0) == 0).all()  # slice 3
        assert np.array_equal(shown, np.asarray(panels[0].images[0].get_array()))
    words = [text.get_text() for text in figures[0].texts]
    assert words.count("Dice WP 0.50") == 2
    assert not any("nan" in word for word in words)
    assert words.count("case_$1") == 2


def test_the_crop_goes_around_the_truth_or_around_everything(tmp_path: Path, figures: list[Figure]) -> None:
    case_grid([row(), row(truth=False)], columns=COLUMNS, title="cmp", path=tmp_path / "a.png")
    with_truth, without = figures[0].axes[:4], figures[0].axes[4:]
    assert without[2].images[0].get_extent()[1] > with_truth[2].images[0].get_extent()[1]
    assert [text.get_text() for text in without[3].texts] == ["no truth"]


def test_long_names_are_broken_and_lose_no_letter(tmp_path: Path, figures: list[Figure]) -> None:
    case = row().case
    name = "metacorrection,ntm_mode=learned,epsilon=0.25"
    labels = {name: case.labels["mine"]}
    long = GridCase(StripCase(case.image, labels, SPACING, "LPS", "#1"), {})
    case_grid([long], columns=[name], title="cmp", path=tmp_path / "a.png")
    words = [text.get_text() for text in figures[0].texts]
    pieces = [word for word in words if word and word in name.replace(",", ", ")]
    assert len(pieces) > 1
    assert "".join(reversed(pieces)).replace(" ", "") == name


def test_a_row_without_a_method_is_refused(tmp_path: Path) -> None:
    for rows in ([], [GridCase(StripCase(row().case.image, {}, SPACING, "LPS", "#1"), {})]):
        with pytest.raises(SettingsError, match="no case or without labels"):
            case_grid(rows, columns=COLUMNS, title="cmp", path=tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
