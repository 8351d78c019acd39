"""The paper's tables 1, 2 and 4 as they are printed: its columns, and its figures beside ours."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from prostate_uda.display import comparison_tables
from prostate_uda.recipes import ablation
from prostate_uda.recipes.comparison.grid import Variant
from prostate_uda.recipes.comparison.references import full_sheet, plain_sheet
from prostate_uda.recipes.comparison.sheets import Sheet
from prostate_uda.recipes.comparison.texts import latex, markdown, write_tables
from tests.recipes.comparison.test_scene_scores import scenes_table

DMLC, MRENT = Variant("dmlc", "dmlc"), Variant("mrent", "mrent")
TABLE_1 = (
    "road sidewalk building wall fence pole traffic_lgt traffic_sgn veg. terrain sky person rider car truck bus train"
)
TABLE_2 = "road sidewalk building wall* fence* pole* light sign veg. sky person rider car bus mbike bike"


def cells(made: Sheet, block: int) -> dict[str, list[str]]:
    return {line.name: [cell.text for cell in line.cells] for line in made.blocks[block].lines}


def test_table_1_in_the_papers_columns(tmp_path: Path) -> None:
    table = scenes_table(tmp_path / "runs", DMLC, MRENT, Variant("dmlc?epsilon=0.1", "dmlc", {"epsilon": 0.1}))
    made = full_sheet(table)
    classes = [name.replace("_", " ") for name in [*TABLE_1.split(), "motor", "bike"]]
    assert list(made.columns) == ["mech.", *classes, "mIoU", "published mIoU", "gap closed %"]
    ours, theirs = cells(made, 0), cells(made, 1)
    at = made.columns.index("published mIoU")
    assert {name: (row[0], row[at]) for name, row in ours.items()} == {
        "source-only": ("-", "36.6"),
        "mrent": ("ST", "47.1"),
        "dmlc": ("ST", "51.2"),
        "dmlc?epsilon=0.1": ("-", "-"),
    }
    assert ours["dmlc"][at - 1] == plain_cell(table, "dmlc")
    assert len(theirs) == 13
    assert theirs["LTIR [20]"][:3] == ["AL", "92.9", "55.0"]
    assert theirs["LTIR [20]"][-3:] == ["50.2", "-", "-"]
    assert made.blocks[1].title.startswith("published")
    assert any("table 1; other splits" in note for note in made.notes)
    assert any("19 classes that gta5 labels" in note for note in made.notes)
    assert not any(theirs in latex(plain_sheet(table)) for theirs in ("published", "mech.", "CBST"))
    write_tables(tmp_path, table)
    for name in ("table.md", "table.html"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "published mIoU" in text
        assert "IntraDA [30]" in text


def plain_cell(table: dict, row: str) -> str:
    made = plain_sheet(table)
    return cells(made, 0)[row][made.columns.index("mIoU")]


def test_table_2_has_both_means_beside_ours(tmp_path: Path) -> None:
    table = scenes_table(tmp_path, DMLC, Variant("ltir", "ltir"), source="synthia")
    made = full_sheet(table)
    last = ["mIoU", "published mIoU", "mIoU*", "published mIoU*", "gap closed %"]
    assert list(made.columns) == ["mech.", *TABLE_2.split(), *last]
    ours = cells(made, 0)
    assert (ours["dmlc"][-4], ours["dmlc"][-2]) == ("44.6", "52.1")
    assert (ours["ltir"][-4], ours["ltir"][-2]) == ("-", "49.3")
    assert cells(made, 1)["LTIR [20]"][4:7] == ["-", "-", "-"]
    assert any("16 classes that synthia labels, without" in note and "mIoU*" in note for note in made.notes)
    text = markdown(made)
    counts = {line.replace(r"\|", "").count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(counts) == 1


def test_other_pairs_have_no_published_figure(tmp_path: Path) -> None:
    table = scenes_table(tmp_path, DMLC, source="cityscapes", target="gta5")
    assert full_sheet(table) == plain_sheet(table)
    assert full_sheet(table).columns[-2:] == ("mIoU", "gap closed %")


def test_the_terminal_shows_the_means_with_the_papers(tmp_path: Path) -> None:
    table = scenes_table(tmp_path, DMLC, source="synthia")
    console = Console(width=160, file=StringIO(), record=True)
    console.print(comparison_tables(table, console.width))
    text = console.export_text()
    assert "sidewalk" not in text
    assert all(name in text for name in ("published mIoU*", "MetaCorrection", "52.1"))
    narrow = Console(width=80, file=StringIO(), record=True)
    narrow.print(comparison_tables(table, 80))
    folded = narrow.export_text()
    assert {"source-only", "dmlc"} <= {line.split(" ")[0] for line in folded.splitlines()}
    assert "52.1" in folded
    assert "…" not in folded


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return scenes_table(tmp_path_factory.mktemp("runs"), *ablation("pseudo-labels", "gta5"))


def test_table_4_in_the_papers_layout(labelled: dict) -> None:
    made = full_sheet(labelled)
    assert made.columns == ("pseudo label", "mIoU", "published mIoU", "Δ", "published Δ")
    lines = [(line.name, *(cell.text for cell in line.cells)) for line in made.blocks[0].lines]
    assert [(line[0], line[1], line[3], line[5]) for line in lines] == [
        ("adaptsegnet", "-", "42.4", "-"),
        ("mrent", "AdaptSegNet", "45.1", "+2.7"),
        ("threshold", "AdaptSegNet", "44.4", "+2.0"),
        ("uncertainty", "AdaptSegNet", "46.1", "+3.7"),
        ("dmlc", "AdaptSegNet", "45.9", "+3.5"),
        ("metacorrection", "AdaptSegNet", "47.3", "+4.9"),
        ("ltir", "-", "50.2", "-"),
        ("mrent", "LTIR", "50.6", "+0.4"),
        ("dmlc", "LTIR", "51.2", "+1.0"),
        ("metacorrection", "LTIR", "52.1", "+1.9"),
        ("source-only", "-", "36.6", "-"),
        ("mrent", "Source", "39.6", "+3.0"),
        ("dmlc", "Source", "43.8", "+7.2"),
        ("metacorrection", "Source", "44.5", "+7.9"),
    ]
    rows = labelled["protocols"]["paper"]
    mine, labeller = (rows[name]["mIoU"]["mean"] for name in ("dmlc, labels of source-only", "source-only"))
    assert lines[12][4].startswith(f"{mine - labeller:+.1f} ± ")
    assert lines[0][4] == lines[6][4] == lines[10][4] == "-"
    below = cells(made, 1)
    assert len(made.blocks[1].lines) == 14
    assert below["LTIR [20]"] == ["-", "50.2", "-", "-", "-"]
    assert made.blocks[1].lines[9].cells[0].text == "LTIR"
    assert any("Pseudo-labels of adaptsegnet" in note for note in made.notes)
    assert not any("not run" in note for note in made.notes)
    assert any("table 4; other splits" in note for note in made.notes)
    best = [(line.name, line.cells[0].text) for line in made.blocks[0].lines if line.cells[1].best]
    highest = max(rows, key=lambda name: rows[name]["mIoU"]["mean"])
    assert [f"{name}, labels of {label.replace('Source', 'source-only').lower()}" for name, label in best] == [highest]


def test_table_4_of_other_pairs_and_in_latex_is_without_published_figures(labelled: dict) -> None:
    other = {**labelled, "source": "cityscapes", "target": "gta5"}
    assert full_sheet(other) == plain_sheet(other)
    assert full_sheet(other).columns == ("pseudo label", "mIoU", "Δ")
    text = latex(plain_sheet(labelled))
    assert "AdaptSegNet" in text
    assert "47.3" not in text
