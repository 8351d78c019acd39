"""The review page in a browser that opens it from the disk."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.review.report_cases import HOSTILE, Opened, a_case, the_cases, write


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Opened]:
    write(tmp_path / "report.html", the_cases(), title=f"Report {HOSTILE}", failures=[(HOSTILE, "why")])
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = Opened(context, tmp_path / "report.html")
    page.on_slice(3)
    yield page
    assert page.complaints == []
    assert [url for url in page.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert page.page.title() == f"Report {HOSTILE}"
    assert page.page.locator("img").count() == 0
    context.close()


def test_cases_are_listed_by_need_and_filtered(opened: Opened) -> None:
    hostile = f"=hostile {HOSTILE}"
    assert opened.listed() == [hostile, "alpha", "beta"]
    assert opened.text("#name") == hostile
    assert opened.text("#flags li:last-child").endswith(HOSTILE)
    opened.page.click("[data-filter=look]")
    assert opened.listed() == [hostile]
    opened.page.click("[data-filter=all]")
    opened.press("/", *"HIGH ent", "Enter")
    assert opened.listed() == [hostile]
    opened.page.fill("#search", "nobody")
    assert opened.listed() == []
    assert opened.page.is_visible("#nothing")
    opened.page.fill("#search", "")
    opened.press("Escape", "j", "a")
    opened.page.click("[data-filter=open]")
    assert opened.listed() == [hostile, "alpha", "beta"], "the open case stays until one leaves it"
    opened.press("j")
    assert opened.listed() == [hostile, "beta"]
    assert opened.text("#name") == "beta"
    assert opened.text("#progress") == "1 of 3 reviewed"


def test_slices_scroll_by_keys_wheel_and_slider(opened: Opened) -> None:
    opened.press("ArrowUp")
    opened.on_slice(4)
    opened.press("Home")
    opened.on_slice(6)
    opened.press("ArrowUp", "ArrowDown")
    opened.on_slice(5)
    assert opened.page.locator("#lines path.TZ").count() == 0
    assert opened.page.locator("#lines path.PZ").count() == 1
    opened.page.hover("#stage")
    opened.page.mouse.wheel(0, 120)
    opened.on_slice(4)
    assert opened.page.locator("#lines path.TZ").count() == 1
    opened.page.fill("#slice", "1")
    opened.on_slice(1)
    assert opened.text("#where").startswith("1 / 6 · 3 mm")
    opened.press("g")
    opened.on_slice(3)
    opened.page.click("#slice", position={"x": 1, "y": 5})
    opened.on_slice(1)
    opened.press("ArrowUp")
    opened.on_slice(2)


def test_pixels_and_contours_share_a_place_and_have_their_shape(opened: Opened) -> None:
    opened.press("z")
    box, stage = opened.page.locator("#lines").get_attribute("viewBox"), opened.page.locator("#stage").bounding_box()
    _, _, width, height = (float(number) for number in box.split())
    assert width / height == pytest.approx(stage["width"] / stage["height"], rel=0.01), "a millimetre is one both ways"
    assert height == pytest.approx(80)
    assert opened.grey_at(55, 10)[:3] > [150] * 3, "the patient's left and front"
    assert max(opened.grey_at(5, 10)[:3] + opened.grey_at(55, 60)[:3]) < 120
    drawn = opened.page.locator("#lines path.PZ").bounding_box()
    per_mm = stage["width"] / width
    assert drawn["width"] / per_mm == pytest.approx(20, abs=0.7)
    assert drawn["height"] / per_mm == pytest.approx(26, abs=0.7)
    bar = opened.page.locator("#scale-bar").bounding_box()["width"]
    assert opened.text("#scale-words") == f"{round(bar / per_mm)} mm"


def test_overlays_can_be_switched(opened: Opened) -> None:
    lines = opened.page.locator("#lines g")
    before = opened.grey_at(22, 44)
    opened.press("e")
    painted = opened.grey_at(22, 44)
    assert painted[0] - painted[1] > 40, "magenta over grey"
    opened.press("Space")
    assert opened.grey_at(22, 44) == before
    assert lines.evaluate("node => getComputedStyle(node).opacity") == "0"
    opened.press("Space", "1", "3", "o", "f")
    assert sorted(opened.page.locator("#lines path").evaluate_all("nodes => nodes.map(n => n.classList[0])")) == [
        "TZ",
        "WP",
    ]
    assert lines.get_attribute("class") == "fill"
    opened.page.fill("#opacity", "40")
    assert lines.evaluate("node => getComputedStyle(node).opacity") == "0.4"
    opened.press("j")
    assert opened.page.is_disabled("[data-toggle=uncertainty]")


def test_the_window_is_dragged_and_reset(opened: Opened) -> None:
    opened.press("z")
    words, colour = opened.text("#grey"), opened.grey_at(50, 10)
    opened.page.mouse.move(600, 300)
    opened.page.mouse.down()
    opened.page.mouse.move(600, 420, steps=4)
    opened.page.mouse.up()
    assert opened.text("#grey") != words
    assert opened.grey_at(50, 10)[0] < colour[0]
    opened.page.click("#reset")
    opened.press("z")
    assert opened.text("#grey") == words
    assert opened.grey_at(50, 10) == colour


def test_verdicts_are_saved_kept_and_loaded(opened: Opened, browser: Any, tmp_path: Path) -> None:
    opened.page.fill("#reviewer", "-Dr. Ä")
    opened.press("Enter", "a", "m", *"cards, a jar", "Escape")
    assert opened.text("#name").startswith("=hostile"), "keys do nothing while one writes"
    assert opened.text("#progress") == "1 of 3 reviewed"
    opened.press("j", "c", "m", *'@say "x"', "Shift+Enter", *"more", "Escape")
    name, text = opened.saved("#save-json")
    saved = json.loads(text)
    assert (name, saved["format"], saved["reviewer"]) == ("report_review.json", "prostate-uda-review/1", "-Dr. Ä")
    assert [(row["verdict"], row["comment"]) for row in saved["cases"]] == [
        ("accept", "cards, a jar"),
        ("correct", '@say "x"\nmore'),
        (None, ""),
    ]
    name, table = opened.saved("#save-csv")
    rows = list(csv.DictReader(io.StringIO(table, newline="")))
    assert name == "report_review.csv"
    assert list(rows[0]) == ["case", "verdict", "comment", "reviewer", "reviewed_at", "flags", "digest"]
    assert (rows[0]["case"], rows[0]["reviewer"]) == (f"'=hostile {HOSTILE}", "'-Dr. Ä")
    assert rows[0]["flags"] == "high_entropy; =1+1"
    assert rows[1]["comment"] == '\'@say "x"\nmore'
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", rows[1]["reviewed_at"])
    assert [row["digest"] for row in rows] == [row["digest"] for row in saved["cases"]]
    assert rows[2] == {"case": "beta"} | dict.fromkeys(list(rows[2])[1:-1], "") | {"digest": rows[2]["digest"]}
    opened.page.reload()
    opened.on_slice(3)
    assert opened.dialogs == [], "everything was saved"
    assert opened.text("#progress") == "2 of 3 reviewed"
    assert opened.page.input_value("#comment") == "cards, a jar"
    (tmp_path / "saved.json").write_text(text, encoding="utf-8")
    fresh = Opened(browser.new_context(), tmp_path / "report.html")
    assert fresh.text("#progress") == "0 of 3 reviewed"
    fresh.page.set_input_files("#file", tmp_path / "saved.json")
    fresh.page.locator("#progress", has_text="2 of 3 reviewed").wait_for()
    assert fresh.page.input_value("#reviewer") == "-Dr. Ä"
    assert json.loads(fresh.saved("#save-json")[1])["cases"] == saved["cases"]


def test_loading_leaves_out_what_does_not_belong(opened: Opened, tmp_path: Path) -> None:
    opened.press("a")
    saved = json.loads(opened.saved("#save-json")[1])
    saved["cases"][0]["reviewed_at"] = "2001-01-01T00:00:00.000Z"
    saved["cases"][0]["verdict"] = "reject"
    saved["cases"][1] |= {"verdict": "accept", "digest": "of other contours"}
    saved["cases"][2] |= {"verdict": "accept", "reviewed_at": "2001-01-01T00:00:00.000Z"}
    saved["cases"].append({"case": "nobody", "verdict": "accept"})
    (tmp_path / "saved.json").write_text(json.dumps(saved), encoding="utf-8")
    opened.page.set_input_files("#file", tmp_path / "saved.json")
    opened.page.locator("#progress", has_text="2 of 3 reviewed").wait_for()
    assert opened.text("#message") == (
        "saved.json: 1 verdict taken; 1 is older than yours; 2 are of other pages or of other contours."
    )
    assert [row["verdict"] for row in json.loads(opened.saved("#save-json")[1])["cases"]] == ["accept", None, "accept"]
    (tmp_path / "bad.json").write_text("[1, 2]", encoding="utf-8")
    opened.page.set_input_files("#file", tmp_path / "bad.json")
    opened.page.locator("#message", has_text="bad.json cannot be loaded: not a review").wait_for()


def test_undo_and_the_warning_before_one_leaves(opened: Opened) -> None:
    opened.press("r", "u")
    assert opened.text("#progress") == "0 of 3 reviewed"
    opened.press("a", "r", "j", "Control+z")
    assert opened.text("#name").startswith("=hostile")
    assert opened.page.get_attribute("[data-verdict=accept]", "aria-pressed") == "true"
    opened.page.reload()
    opened.on_slice(3)
    assert opened.dialogs == ["beforeunload"]
    assert opened.text("#progress") == "1 of 3 reviewed"


def test_keys_help_and_going_on(opened: Opened) -> None:
    opened.press("?")
    assert opened.page.is_visible("#keys[open]")
    opened.press("a")
    opened.press("Escape")
    assert opened.text("#progress") == "0 of 3 reviewed", "keys do nothing behind a dialog"
    opened.page.check("#advance")
    opened.press("a")
    assert opened.text("#name") == "alpha"
    assert opened.text(".state.accept") == "✓ accepted"
    opened.page.click("#failures-open")
    assert opened.text("#failures th") == HOSTILE
    opened.press("Escape")
    opened.press("p", "n", "n", "j")
    assert opened.text("#message") == "This is the last case of the list."


def test_a_browser_that_keeps_nothing_still_works(browser: Any, tmp_path: Path) -> None:
    write(tmp_path / "report.html", [a_case("one")])
    context = browser.new_context()
    context.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('blocked'); } })")
    page = Opened(context, tmp_path / "report.html")
    page.on_slice(3)
    assert "keeps nothing" in page.text("#message")
    page.press("a")
    assert page.text("#progress") == "1 of 1 reviewed"
    assert json.loads(page.saved("#save-json")[1])["cases"][0]["verdict"] == "accept"
    assert page.complaints == []
    context.close()


def test_a_slice_that_cannot_be_decoded_leaves_no_other_in_its_place(browser: Any, tmp_path: Path) -> None:
    broken = a_case("two")
    broken["slices"][2] |= {"crop": "AAAA"}
    write(tmp_path / "report.html", [a_case("one"), broken])
    context = browser.new_context()
    page = Opened(context, tmp_path / "report.html")
    page.on_slice(3)
    page.press("j")
    page.page.locator("#where", has_text="cannot show").wait_for()
    assert page.page.locator("#lines path").count() == 0
    assert page.grey_at(30, 40)[3] == 0
    page.press("ArrowUp")
    page.on_slice(4)
    assert page.complaints == []
    context.close()


def test_no_case_and_one_slice(browser: Any, tmp_path: Path) -> None:
    context = browser.new_context()
    write(tmp_path / "report.html", [])
    page = Opened(context, tmp_path / "report.html")
    assert page.page.is_visible("#empty")
    page.press("a", "j", "k", "ArrowUp", "e", "1", "z", "+", "w", "g", "u", "Space")
    page.page.hover("#stage")
    page.page.mouse.wheel(0, 100)
    assert page.text("#progress") == "0 of 0 reviewed"
    flat = (30, 20, 1)
    one = a_case(
        "one", image=np.random.default_rng(0).random(flat), label=np.ones(flat, dtype=np.uint8), uncertainty=None
    )
    write(tmp_path / "report_2.html", [one], page=2, pages=2)
    second = Opened(context, tmp_path / "report_2.html")
    second.on_slice(1)
    second.press("ArrowUp", "ArrowDown")
    assert second.page.is_disabled("#slice")
    assert page.complaints == second.complaints == []
    context.close()


@pytest.mark.parametrize("size", [(1280, 800), (1920, 1080)])
def test_long_names_and_many_flags_fit(browser: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    flags = [(f"a_flag_with_a_long_code_{number}", "A sentence of some length, again. " * 4) for number in range(12)]
    cases = [a_case("n" * 200 + str(number), flags=flags, source="s" * 300) for number in range(30)]
    write(tmp_path / "report.html", cases, title="t" * 300, pages=40)
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    page = Opened(context, tmp_path / "report.html")
    page.on_slice(3)
    outside = """() => [
      ...document.querySelectorAll("header *, footer *, .judge *, .controls *, #stage, .find *")
    ].filter((node) => {
        const box = node.getBoundingClientRect();
        return box.width && (box.right > innerWidth + 1 || box.bottom > innerHeight + 1 || box.left < -1); }
    ).map((node) => node.outerHTML)"""
    assert page.page.evaluate(outside) == []
    assert page.page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    stage = page.page.locator("#stage").bounding_box()
    assert min(stage["width"], stage["height"]) > 0.5 * size[1]
    context.close()
