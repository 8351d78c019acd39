"""The table of all methods: up to date, complete, and made of what was measured."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from prostate_uda.data.batch import Batch
from prostate_uda.methods import METHODS, Losses, Method, State
from prostate_uda.recipes.method_pages import overview, page_of, results, write_overview

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "methods"


@dataclass(frozen=True, kw_only=True)
class Hopeful(Method):
    """Does nothing, and ``hopes``.

    And says more than a table has room for.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"pseudo_labels", "domain_predictor"})

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        """Nothing."""
        return {}


def rows(text: str) -> dict[str, list[str]]:
    """First cell, without link and code marks, to the others of a Markdown table's row; a later table wins."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {cells[0].partition("]")[0].strip("[`"): cells[1:] for cells in lines}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder with a page and without results."""
    (tmp_path / "docs" / "methods").mkdir(parents=True)
    (tmp_path / "docs" / "methods" / "maxsquare.md").touch()
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    return tmp_path


def test_the_committed_page_is_up_to_date() -> None:
    assert (PAGES / "README.md").read_text(encoding="utf-8") == overview(ROOT), "run: make docs"


def test_the_committed_results_are_up_to_date() -> None:
    text = results(ROOT)
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == text, "run: make docs"
    assert "| recommended | 71.8 ± 0.9 |" in text
    assert "∞" in text
    assert "nan" not in text
    assert text.count("\n## ") == text.count("→ `benchmarks/results/compare_phantom_") == 2


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_page_that_names_it(name: str) -> None:
    page = page_of(name, PAGES)
    assert page is not None
    assert f"`{name}`" in (PAGES / page).read_text(encoding="utf-8")


def test_a_page_of_its_own_comes_before_that_of_its_file(tmp_path: Path) -> None:
    assert page_of("dmlc", tmp_path) is None
    (tmp_path / "metacorrection.md").touch()
    assert page_of("dmlc", tmp_path) == "metacorrection.md"
    (tmp_path / "dmlc.md").touch()
    assert page_of("dmlc", tmp_path) == "dmlc.md"


def test_a_new_method_appears(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    assert "hopeful" not in overview(repository)
    monkeypatch.setitem(METHODS, "hopeful", Hopeful)
    text = write_overview(repository).read_text(encoding="utf-8")
    assert rows(text)["hopeful"] == ["Does nothing, and `hopes`.", "domain predictor, pseudo labels"]
    assert rows(text).keys() - {"method", "---"} == METHODS.keys()
    assert "[`maxsquare`](maxsquare.md)" in text
    assert "not been measured yet" in text


def test_what_was_measured_is_in_it(repository: Path) -> None:
    results = repository / "benchmarks" / "results"
    cost = {"network": "deeplab-small", "size": 96, "method": "maxsquare", "time_ratio": 1.234, "memory_ratio": 1.0}
    told = {"device": "2 CPU threads", "command": "python benchmarks/method_cost.py"}
    (results / "method_cost.json").write_text(json.dumps({**told, "rows": [cost]}), encoding="utf-8")
    score = {"PZ": {"mean": 70.04, "sd": 1.26}, "TZ": {"mean": 80.0, "sd": None}, "WP": {"mean": None, "sd": None}}
    compared = {
        "command": "prostate-uda compare",
        "source": "phantom-3t",
        "target": "phantom-1.5t",
        "seeds": [0, 1, 2],
        "protocols": {"paper": {"maxsquare": score, "oracle": score, "cbst?portion=1": score}, "strong": {}},
    }
    (results / "compare_phantom_forth.json").write_text(json.dumps(compared), encoding="utf-8")
    first, second = overview(repository).split("## phantom-3t → phantom-1.5t")
    assert rows(first)["maxsquare"][-1] == "1.23 / 1.00"
    assert rows(first)["self-training"][-1] == "-"
    assert "`python benchmarks/method_cost.py` on 2 CPU threads" in first
    assert rows(second)["Dice"] == ["paper: PZ", "paper: TZ", "paper: WP", "strong: PZ", "strong: TZ", "strong: WP"]
    assert rows(second)["maxsquare"] == ["70.0 ± 1.3", "80.0", "-", "-", "-", "-"]
    assert [*rows(second)] == ["Dice", "---", "maxsquare", "oracle"]
    assert "see it beside" not in second
    assert "over 3 seeds: `prostate-uda compare` (`benchmarks/results/compare_phantom_forth.json`)" in second


def test_what_brings_its_own_augmentation_is_seen_beside_source_only_with_it(repository: Path) -> None:
    names = ("oracle", "recommended", "source-only, strong", "source-only", "self-training")
    compared = {
        "command": "prostate-uda compare",
        "source": "phantom-3t",
        "target": "phantom-1.5t",
        "seeds": [0, 1, 2],
        "protocols": {"paper": {name: {"WP": {"mean": 50.0, "sd": 1.0}} for name in names}},
    }
    (repository / "benchmarks/results/compare_phantom_forth.json").write_text(json.dumps(compared), encoding="utf-8")
    _, second = overview(repository).split("## phantom-3t → phantom-1.5t")
    told = [name for name in rows(second) if name not in ("Dice", "---")]
    assert told == ["source-only", "source-only, strong", "self-training", "recommended", "oracle"]
    assert "`recommended` brings strong augmentation in every column: see it beside `source-only, strong`." in second


def test_scenes_are_told_by_their_miou(repository: Path) -> None:
    compared = {
        "command": "prostate-uda compare",
        "source": "streets-render",
        "target": "streets-photo",
        "seeds": [0, 1],
        "protocols": {"paper": {"maxsquare": {"mIoU": {"mean": 41.26, "sd": 0.5}, "road": {"mean": 90.0, "sd": 1.0}}}},
    }
    path = repository / "benchmarks" / "results" / "compare_streets_render_to_photo.json"
    path.write_text(json.dumps(compared), encoding="utf-8")
    _, second = overview(repository).split("## streets-render → streets-photo")
    assert rows(second) == {"IoU": ["paper: mIoU"], "---": ["---"], "maxsquare": ["41.3 ± 0.5"]}
