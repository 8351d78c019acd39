"""Verdicts outlive the report they were given in: they are kept under what was judged, case by case."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.review.report_cases import SHAPE, Opened, a_case, write


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    made = browser.new_context()
    yield made
    made.close()


def opened(context: Any, path: Path, cases: list[dict[str, Any]], **changes: Any) -> Opened:
    write(path, cases, **changes)
    return Opened(context, path)


def verdicts(page: Opened) -> dict[str, str | None]:
    return {row["case"]: row["verdict"] for row in json.loads(page.saved("#save-json")[1])["cases"]}


def test_a_report_with_another_scan_has_the_verdicts_of_the_others(context: Any, tmp_path: Path) -> None:
    one, two, new = a_case("one"), a_case("two"), a_case("new", attention=1.0)
    page = opened(context, tmp_path / "report.html", [one, two])
    page.page.fill("#reviewer", "Dr. A")
    page.press("Enter", "a", "j", "r", "m", *"why", "Escape")
    page.page.close()
    again = opened(context, tmp_path / "report.html", [one, two, new], title="Another")
    assert again.text("#progress") == "2 of 3 reviewed"
    assert again.page.input_value("#reviewer") == "Dr. A"
    assert again.page.get_attribute("#save-json", "class") == "wanted", "nothing was downloaded yet"
    assert verdicts(again) == {"new": None, "one": "accept", "two": "reject"}
    assert json.loads(again.saved("#save-json")[1])["cases"][2]["comment"] == "why"
    again.page.reload()
    assert again.dialogs == [], "everything was saved"
    assert not again.page.get_attribute("#save-json", "class")
    assert again.complaints == []


def test_a_case_is_found_again_on_another_page(context: Any, tmp_path: Path) -> None:
    one, two = a_case("one"), a_case("two")
    page = opened(context, tmp_path / "report.html", [one, two])
    page.press("a", "j", "r")
    page.page.close()
    first = opened(context, tmp_path / "report.html", [one], page=1, pages=2)
    second = opened(context, tmp_path / "report_2.html", [two], page=2, pages=2)
    assert (verdicts(first), verdicts(second)) == ({"one": "accept"}, {"two": "reject"})


def test_other_cases_and_other_contours_begin_anew(context: Any, tmp_path: Path) -> None:
    same = a_case("same")
    page = opened(context, tmp_path / "report.html", [same, a_case("one"), a_case("two")])
    page.press("a", "j", "a", "j", "a")
    page.page.close()
    larger = a_case("one", label=np.ones(SHAPE, dtype=np.uint8))
    again = opened(
        context, tmp_path / "b" / "report.html", [same, larger, a_case("three"), a_case("two", source="x.nii")]
    )
    assert verdicts(again) == {"same": "accept", "one": None, "two": None, "three": None}


def test_another_report_of_other_cases_knows_no_reviewer(context: Any, tmp_path: Path) -> None:
    page = opened(context, tmp_path / "report.html", [a_case("one")])
    page.page.fill("#reviewer", "Dr. A")
    page.press("Enter", "a")
    other = opened(context, tmp_path / "other.html", [a_case("two")])
    assert other.page.input_value("#reviewer") == ""
    assert other.text("#progress") == "0 of 1 reviewed"
    other.press("r")
    page.page.reload()
    assert verdicts(page) == {"one": "accept"}


def test_a_saved_review_is_loaded_where_its_cases_are_now(context: Any, browser: Any, tmp_path: Path) -> None:
    cases = [a_case(name) for name in ("one", "two", "three")]
    page = opened(context, tmp_path / "report.html", cases)
    page.press("a", "j", "r", "j", "c")
    saved = json.loads(page.saved("#save-json")[1])
    (tmp_path / "saved.json").write_text(json.dumps(saved), encoding="utf-8")
    elsewhere = browser.new_context()
    second = opened(elsewhere, tmp_path / "report_2.html", [a_case("new"), cases[1]], page=2, pages=2)
    second.page.set_input_files("#file", tmp_path / "saved.json")
    second.page.locator("#progress", has_text="1 of 2 reviewed").wait_for()
    told = "saved.json: 1 verdict taken; 2 are of other pages or of other contours."
    assert second.text("#message") == told
    judged = {row["case"]: row["verdict"] for row in saved["cases"]}
    second.press("u")
    assert second.text("#progress") == "0 of 2 reviewed"
    second.page.set_input_files("#file", tmp_path / "saved.json")
    second.page.locator("#progress", has_text="1 of 2 reviewed").wait_for()
    assert verdicts(second) == {"new": None, "two": judged["two"]}
    elsewhere.close()


def test_two_pages_with_one_case_tell_each_other(context: Any, tmp_path: Path) -> None:
    one, two = a_case("one"), a_case("two")
    left = opened(context, tmp_path / "report.html", [one, two])
    right = opened(context, tmp_path / "other.html", [one])
    right.press("r")
    left.page.locator("#progress", has_text="1 of 2 reviewed").wait_for()
    left.press("j", "a")
    assert verdicts(left) == {"one": "reject", "two": "accept"}
    assert verdicts(right) == {"one": "reject"}


def test_an_undone_verdict_is_not_there_again(context: Any, tmp_path: Path) -> None:
    page = opened(context, tmp_path / "report.html", [a_case("one")])
    page.press("a")
    page.saved("#save-json")
    page.press("u")
    page.page.reload()
    assert page.dialogs == ["beforeunload"], "the saved file says otherwise"
    assert page.text("#progress") == "0 of 1 reviewed"
