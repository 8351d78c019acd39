"""What a sheet shows, where, and in whose colour."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from numpy.typing import NDArray

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.review import contact_page as page_module
from prostate_uda.review.contact_page import contact_page
from prostate_uda.review.contact_sheet import PLACES, Seen, SheetRow, contact_sheet

GREEN = (0x5F, 0xE3, 0x6B)


def seen(count: int = 1, offset: float = 0.0) -> Seen:
    rng = np.random.default_rng(0)
    return Seen(tuple(rng.uniform(0, 100, (60, 50)) + offset for _ in range(count)), rng.gamma(2, 20, 500) + offset)


def row(place: str = "here", *, label: bool = True, slices: int = 1, title: str = "p1") -> SheetRow:
    mask = np.zeros((60, 50), dtype=np.uint8)
    mask[20:40, 20:35] = 1
    columns = {"as stored": seen(slices), "zscore": seen(slices, 1000.0)}
    return SheetRow(title, place, (1.0, 1.0), columns, (mask,) * slices if label else ())


def pixels(path: Path) -> NDArray[np.uint8]:
    return (matplotlib.image.imread(path)[..., :3] * 255).round().astype(np.uint8)


def near(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    return int((np.abs(picture.astype(int) - colour).max(axis=2) < 40).sum())


def rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return red, green, blue


def test_a_row_per_case_and_a_column_per_way_to_see(tmp_path):
    sizes = {}
    for name, rows in (("one", [row()]), ("two", [row()] * 2), ("wide", [row(slices=3)])):
        contact_sheet(rows, path=tmp_path / f"{name}.png")
        sizes[name] = pixels(tmp_path / f"{name}.png").shape
    assert sizes["two"][1] == sizes["one"][1] < sizes["wide"][1]
    assert sizes["two"][0] > 1.6 * sizes["one"][0]


def test_contours_only_where_there_are_labels(tmp_path):
    contact_sheet([row()], path=tmp_path / "with.png")
    contact_sheet([row(label=False)], path=tmp_path / "without.png")
    assert near(pixels(tmp_path / "with.png"), GREEN) > 200
    assert near(pixels(tmp_path / "without.png"), GREEN) == 0


def test_each_place_has_its_colour(tmp_path):
    contact_sheet([row("here"), row("there")], path=tmp_path / "two.png", title="t")
    contact_sheet([row("here")], path=tmp_path / "one.png", title="t")
    second = rgb(PLACES[1])
    assert near(pixels(tmp_path / "two.png"), second) > near(pixels(tmp_path / "one.png"), second) + 100


def test_the_panel_is_centred_on_the_gland(tmp_path):
    centred = replace(row(), centre=(30.0, 27.5))
    contact_sheet([centred], path=tmp_path / "sheet.png", field_mm=40.0)
    picture = pixels(tmp_path / "sheet.png")
    where = np.nonzero(np.abs(picture.astype(int) - GREEN).max(axis=2) < 40)
    left = where[1] < picture.shape[1] // 2  # the first column
    middle = (where[1][left].min() + where[1][left].max()) / 2
    assert middle == pytest.approx((0.06 + 1.9 / 2) * 130, abs=3)


def test_rows_that_do_not_fit(tmp_path):
    with pytest.raises(SettingsError, match="no case"):
        contact_sheet([], path=tmp_path / "x.png")
    with pytest.raises(SettingsError, match="other columns"):
        contact_sheet([row(), replace(row(), columns={"as stored": seen()})], path=tmp_path / "x.png")
    with pytest.raises(ShapeError, match=r"label of shape \(3, 3\)"):
        contact_sheet([replace(row(), labels=(np.zeros((3, 3)),))], path=tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_a_constant_column_can_be_drawn(tmp_path):
    flat = Seen((np.zeros((60, 50)),), np.zeros(500))
    contact_sheet([replace(row(), columns={"as stored": flat, "none": flat})], path=tmp_path / "x.png")
    assert (tmp_path / "x.png").is_file()


def test_an_interrupted_write_leaves_nothing_half(tmp_path):
    taken = tmp_path / "x.png"
    taken.mkdir()
    with pytest.raises(OSError, match=r"x\.png"):
        contact_sheet([row()], path=taken)
    assert list(tmp_path.iterdir()) == [taken]


def test_a_page_holds_its_picture_and_escapes_names(tmp_path):
    contact_sheet([row()], path=tmp_path / "sheet.png")
    out = tmp_path / "new" / "sheet.html"
    contact_page(tmp_path / "sheet.png", [{"case": "<b>p1</b>"}], path=out, title="A & B", legend={"zscore": "mean 0"})
    text = out.read_text(encoding="utf-8")
    assert "&lt;b&gt;p1&lt;/b&gt;" in text
    assert "A &amp; B" in text
    assert "<script" not in text
    assert "http" not in text
    assert list(out.parent.iterdir()) == [out]
    with pytest.raises(SettingsError, match="no case"):
        contact_page(tmp_path / "sheet.png", [], path=out, title="", legend={})


def test_without_jinja2_the_page_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install jinja2"):
        contact_page(tmp_path / "x.png", [{"case": "p"}], path=tmp_path / "x.html", title="", legend={})
    assert importlib.util.find_spec("jinja2")
