"""The table as people read it: what is bold, what is a dash, what is escaped, and where the paper's figures stand."""

import csv
import json
import math
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from prostate_uda.display import comparison_tables
from prostate_uda.recipes.comparison.references import full_sheet, with_published
from prostate_uda.recipes.comparison.sheets import sheet
from prostate_uda.recipes.comparison.table import protocol_table
from prostate_uda.recipes.comparison.texts import csv_rows, latex, markdown, write_tables
from tests.recipes.comparison.test_scores import case

NASTY = "dmlc?a_b=<b>&c=|x|"


def table(source: str = "phantom-3t", target: str = "phantom-1.5t") -> dict:
    found = {
        "source-only": [{"a": case(0.2, 0.5, 0.2, away=8)}, {"a": case(0.4, 0.5, 0.2, away=8)}],
        NASTY: [{"a": case(0.5, 0.4, 0.5, away=2)}, {"a": case(0.5, 0.4, 0.5, away=math.inf)}],
        "broken": [{"a": case(1, 1, 1)}, None],
        "oracle": [{"a": case(0.9, 0.9, 0.9, away=1)}] * 2,
    }
    rows, best = protocol_table(found, [{}, {}])
    return {
        "command": "prostate-uda compare",
        "source": source,
        "target": target,
        "seeds": [0, 1],
        "protocols": {"paper": rows},
        "best": {"paper": best},
        "failed": {"paper/seed-1/broken": "no room"},
    }


def test_the_best_is_bold_the_oracle_is_not_and_a_failed_row_is_dashes() -> None:
    made = sheet(table(), ("PZ", "TZ", "HD95", "gap_closed"))
    (block,) = made.blocks
    told = {line.name: [(cell.text, cell.best) for cell in line.cells] for line in block.lines}
    assert told["source-only"] == [
        ("30.0 ± 14.1", False),
        ("50.0 ± 0.0", True),
        ("8.0 ± 0.0", True),
        ("0.0 ± 0.0", False),
    ]
    assert told[NASTY][:3] == [("50.0 ± 0.0", True), ("40.0 ± 0.0", False), ("∞", False)]
    assert told["broken"] == [("-", False)] * 4
    assert not any(best for _, best in told["oracle"])
    assert "Failed: paper/seed-1/broken: no room" in made.notes
    assert any(f"{NASTY} is +" in note and "from the runner-up source-only" in note for note in made.notes)


def test_nobody_is_best_where_all_are_level_and_one_seed_has_no_sd() -> None:
    level = table()
    for name, found in level["protocols"]["paper"].items():
        if name != "broken":  # which has no number
            found["TZ"] = {"mean": 0.0, "sd": math.nan}
    made = sheet({**level, "seeds": [4]}, ("PZ", "TZ"))
    marked = [[cell.best for cell in line.cells] for line in made.blocks[0].lines]
    assert any(pz for pz, _ in marked)
    assert not any(tz for _, tz in marked)
    assert made.notes[0].startswith("Of one seed, 4: no sd. ")
    assert sheet(level).notes[0].startswith("Mean ± sd over seeds 0, 1. ")


def test_markdown_has_as_many_cells_in_every_row() -> None:
    text = markdown(sheet(table()))
    lines = [line.replace(r"\|", "") for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert r"dmlc?a\_b=&lt;b>&c=\|x\|" in text
    assert "**50.0 ± 0.0**" in text


def test_latex_escapes_and_ends_its_rows() -> None:
    text = latex(sheet(table(), ("PZ", "volume_error_percent")))
    assert r"dmlc?a\_b=<b>\&c=|x|" in text
    assert r"volume error \%" in text
    assert r"\textbf{50.0 $\pm$ 0.0}" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    body = [line for line in text.splitlines() if "&" in line and not line.startswith("%")]
    assert all(line.endswith(r" \\") for line in body)
    assert {line.replace(r"\&", "").count("&") for line in body} == {2}


def test_csv_has_numbers_and_no_words_for_none() -> None:
    rows = {row["method"]: row for row in csv_rows(table())}
    assert rows["source-only"]["PZ_mean"] == pytest.approx(30)
    assert rows["broken"]["PZ_mean"] == ""
    assert rows["source-only"]["augment"] == "plain"


class Page(HTMLParser):
    """Rows of cells, and tags that were opened and not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.best: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.bold = ("class", "best") in attributes
        self.links += [value or "" for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1] and data.strip():
            self.rows[-1][-1] += data.strip()
            if self.bold:
                self.best.append(data)


def test_files_are_written_whole_and_html_shows_what_markdown_does(tmp_path: Path) -> None:
    write_tables(tmp_path, table())
    assert {path.name for path in tmp_path.iterdir()} == {
        f"table.{end}" for end in ("json", "csv", "md", "tex", "html")
    }
    page = Page()
    page.feed((tmp_path / "table.html").read_text(encoding="utf-8"))
    assert not page.links
    assert [row[0] for row in page.rows if len(row) > 1][1:] == ["source-only", NASTY, "broken", "oracle"]
    assert "50.0 ± 0.0" in page.best
    content = json.loads((tmp_path / "table.json").read_text())
    assert content["protocols"]["paper"]["source-only"]["PZ"] == {"mean": 30, "sd": 14.1421, "seeds": [20, 40]}
    assert content["protocols"]["paper"]["broken"]["PZ"] == {"mean": None, "sd": None, "seeds": [100, None]}
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 4


def test_the_papers_figures_stand_beside_its_own_domains_alone() -> None:
    ours, papers = table(), table("decathlon", "nci-isbi13")
    assert with_published(sheet(ours), ours) == sheet(ours)
    text = markdown(with_published(sheet(papers), papers))
    assert "**published, other data and networks**" in text
    assert "| MetaCorrection | 43.25 | 74.31 | 70.87 | - |" in text
    assert "43.25" not in latex(sheet(papers))
    assert full_sheet(papers, little_room=True).columns == ("PZ", "TZ", "WP", "HD95 mm", "gap closed %")


def test_without_an_oracle_it_is_said() -> None:
    made = table()
    del made["protocols"]["paper"]["oracle"]
    assert any(note.startswith("No oracle") for note in sheet(made).notes)


def test_the_terminal_shows_a_name_with_brackets_as_it_is() -> None:
    made = table()
    made["protocols"]["paper"]["dmlc?w=[0.1,1]"] = made["protocols"]["paper"][NASTY]
    console = Console(width=160, file=StringIO(), record=True)
    console.print(comparison_tables(made, console.width))
    text = console.export_text()
    assert "dmlc?w=[0.1,1]" in text
    assert NASTY in text


def wide(names: tuple[str, ...]) -> dict:
    """Figures as wide as they come, in these columns."""
    made = table()
    for found in made["protocols"]["paper"].values():
        found |= {name: {"mean": -55.52, "sd": 10.44} for name in names}
    rows = made["protocols"]["paper"]
    rows["metacorrection-balanced"] = rows["source-only"]
    return made


@pytest.mark.parametrize("width", [110, 80, 60])
def test_a_narrow_terminal_folds_names_then_leaves_out_sds_and_loses_nothing_else(width: int) -> None:
    console = Console(width=width, file=StringIO(), record=True)
    console.print(comparison_tables(wide(("PZ", "TZ", "WP", "HD95", "gap_closed")), width))
    text = console.export_text()
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in text
    assert any(line.startswith("metacorrection") for line in lines)
    assert text.count("-55.5 ± 10.4") == (5 * 5 if width == 110 else 0)
    assert text.count("-55.5") == 5 * 5
    assert ("Without sd for want of room" in text) is (width < 110)
    assert any("the paper's protocol" in line for line in lines)
