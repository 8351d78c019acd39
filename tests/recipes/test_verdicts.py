"""What the page of a review writes is what ``evaluate --corrected`` reads."""

from importlib.resources import files
from pathlib import Path

import pytest

from prostate_uda.recipes.verdicts import FORMAT, read_verdicts


def test_the_format_is_the_pages() -> None:
    store = files("prostate_uda.review").joinpath("templates/store.js").read_text(encoding="utf-8")
    assert f'const FORMAT = "{FORMAT}' in store
    assert "cases:" in store


@pytest.mark.parametrize(("cell", "case"), [("'=a", "=a"), ("'-a", "-a"), ("'a", "'a"), ("a'=", "a'=")])
def test_a_guarded_cell_of_the_csv_is_read_as_it_was(tmp_path: Path, cell: str, case: str) -> None:
    (tmp_path / "review.csv").write_text(f'case,verdict\r\n"{cell}",accept\r\n', encoding="utf-8", newline="")
    assert list(read_verdicts(tmp_path / "review.csv")) == [case]


def test_a_case_that_nobody_looked_at_is_left_out(tmp_path: Path) -> None:
    rows = '[{"case": "a", "verdict": null}, {"case": "b", "verdict": "reject"}]'
    text = f'{{"format": "{FORMAT}1", "cases": {rows}}}'
    (tmp_path / "review.json").write_text(text, encoding="utf-8")
    assert {case: one.verdict for case, one in read_verdicts(tmp_path / "review.json").items()} == {"b": "reject"}
