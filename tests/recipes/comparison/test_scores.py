"""The table's mathematics by hand."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from prostate_uda.errors import CheckpointError, SettingsError
from prostate_uda.recipes import AdaptSettings
from prostate_uda.recipes.comparison.grid import CompareSettings, Run, Variant, plan
from prostate_uda.recipes.comparison.scores import MEASURES, cells, difference, gap_closed, over_seeds, read_cases
from prostate_uda.recipes.comparison.table import make_table, protocol_table


def case(pz: float, tz: float, wp: float, *, ml: float = 20.0, true: float = 25.0, away: float = 4.0) -> dict:
    return {
        "PZ": pz,
        "TZ": tz,
        "WP": wp,
        "WP_pooled": wp,
        "WP_hd95_mm": away,
        "WP_assd_mm": away / 4,
        "WP_mL": ml,
        "WP_true_mL": true,
    }


def test_a_case_by_hand() -> None:
    row = case(0.3, 0.6, 0.9, ml=20, true=25, away=4)
    found = {name: measure.of(row) for name, measure in MEASURES.items()}
    assert found == pytest.approx(
        {
            "PZ": 30,
            "TZ": 60,
            "WP": 90,
            "WP_pooled": 90,
            "mean": 60,
            "HD95": 4,
            "ASSD": 1,
            "volume_error_mL": 5,
            "volume_error_percent": 20,
        }
    )
    assert MEASURES["volume_error_mL"].of(case(1, 1, 1, ml=30, true=25)) == 5
    assert math.isnan(MEASURES["volume_error_percent"].of(case(0, 0, 0, true=0)))


def test_a_row_is_over_cases_then_over_seeds() -> None:
    first = {"a": case(0.2, 0.5, 0.5), "b": case(0.4, 0.5, 0.5)}
    second = {"a": case(0.5, 0.5, 0.5), "b": case(math.nan, 0.5, 0.5)}
    cell = cells([first, second])["PZ"]
    assert cell["seeds"] == pytest.approx([30, 50])
    assert cell["mean"] == pytest.approx(40)
    assert cell["sd"] == pytest.approx(math.sqrt(200))


def test_a_missing_seed_leaves_no_mean_but_the_others_numbers() -> None:
    cell = cells([{"a": case(0.2, 0.5, 0.5)}, None])["PZ"]
    assert math.isnan(cell["mean"])
    assert math.isnan(cell["sd"])
    assert cell["seeds"] == pytest.approx([20, math.nan], nan_ok=True)


def test_one_seed_has_no_sd_and_a_missed_gland_is_infinitely_far() -> None:
    cell = cells([{"a": case(0, 0, 0, away=math.inf)}])["HD95"]
    assert cell["mean"] == math.inf
    assert math.isnan(cell["sd"])


def test_the_gap_by_hand() -> None:
    """Seeds close 10 of 20 and 30 of 40; together 40 of 60."""
    cell = gap_closed([50.0, 70.0], [40.0, 40.0], [60.0, 80.0])
    assert cell["seeds"] == pytest.approx([50, 75])
    assert cell["mean"] == pytest.approx(100 * 40 / 60)
    assert cell["sd"] == pytest.approx(over_seeds([50, 75])["sd"])
    assert gap_closed([40.0], [40.0], [60.0])["mean"] == 0
    assert gap_closed([30.0], [40.0], [60.0])["mean"] == pytest.approx(-50)


@pytest.mark.parametrize("oracle", [40.0, 30.0, math.nan])
def test_no_gap_is_not_closed(oracle: float) -> None:
    assert math.isnan(gap_closed([50.0], [40.0], [oracle])["mean"])


def test_a_difference_pairs_scans_of_all_seeds() -> None:
    ours = {
        ("one", 0, "a"): case(0.5, 0.5, 0.6),
        ("two", 0, "b"): case(0.5, 0.5, 0.8),
        ("three", 1, "a"): case(0.5, 0.5, 0.4),
    }
    theirs = {
        ("three", 1, "a"): case(0.2, 0.5, 0.4),
        ("two", 0, "b"): case(0.2, 0.5, 0.6),
        ("x", 7, "x"): case(1, 1, 1),
    }
    found = difference(ours, theirs)
    assert found["mean"]["mean"] == pytest.approx((50 / 3 + 10) / 2)
    assert found["WP"]["mean"] == pytest.approx(10)
    assert (found["WP"]["low"], found["WP"]["high"]) == pytest.approx((0, 20))
    assert found["mean"]["low"] == pytest.approx(10)
    assert found["mean"]["high"] == pytest.approx(50 / 3)


def test_a_scan_of_many_seeds_is_no_further_evidence() -> None:
    """Ahead by 0 and 20 points in each of 8 seeds: with the same two scans as sure as one seed, with 16 scans surer."""
    source = {"a": case(0.5, 0.5, 0.5), "b": case(0.5, 0.5, 0.5)}
    found = {"source-only": [source] * 8, "dmlc": [{"a": case(0.5, 0.5, 0.5), "b": case(0.5, 0.5, 0.7)}] * 8}
    fixed, _ = protocol_table(found, [{"a": "one", "b": "two"}] * 8)
    fresh, _ = protocol_table(found, [{"a": f"one of {seed}", "b": f"two of {seed}"} for seed in range(8)])
    same, other = (rows["dmlc"]["against"]["source-only"]["WP"] for rows in (fixed, fresh))
    assert same == pytest.approx({"mean": 10, "low": 0, "high": 20})
    assert other["mean"] == pytest.approx(10)
    assert 0 < other["low"] < other["high"] < 20


def test_a_scans_differences_are_averaged_but_for_what_has_no_number() -> None:
    ours = {("s", seed, "a"): case(0.5, 0.5, wp) for seed, wp in enumerate((0.6, 0.8, math.nan))}
    theirs = {key: case(0.5, 0.5, 0.5) for key in ours}
    assert difference(ours, theirs)["WP"] == pytest.approx({"mean": 20, "low": 20, "high": 20})


def table_of(root: Path, cohort: Callable[[Run], str]) -> dict:
    """The table of two rows and eight seeds, which are ahead in one of two cases; a cohort has scans of its own."""
    settings = CompareSettings(
        common=AdaptSettings(), variants=(Variant("dmlc", "dmlc"),), seeds=(*range(8),), protocols=("paper",)
    )
    runs = plan(settings)
    for run in runs:
        folder = root / run.folder
        folder.mkdir(parents=True)
        hashes = {f"target/test/{name}/image": f"{name} of {cohort(run)}" for name in "ab"} | {"data_list": run.folder}
        record = {"status": "done", "settings": {}, "timing": {}, "hashes": hashes}
        (folder / "run.json").write_text(json.dumps(record))
        other = 0.7 if run.row == "dmlc" else 0.5
        (folder / "cases.csv").write_text(f"case,stage,PZ,TZ,WP\na,adapted,.5,.5,.5\nb,adapted,.5,.5,{other}\n")
    return make_table(settings, runs, root)


def test_scans_are_told_apart_by_their_hashes(tmp_path: Path) -> None:
    fixed, fresh = (
        table_of(tmp_path / place, cohort)["protocols"]["paper"]["dmlc"]
        for place, cohort in (("fixed", lambda _: "all"), ("fresh", lambda run: str(run.settings.seed)))
    )
    assert fixed["against"]["source-only"]["WP"] == pytest.approx({"mean": 10, "low": 0, "high": 20})
    told = fresh["against"]["source-only"]["WP"]
    assert told["mean"] == pytest.approx(10)
    assert 0 < told["low"] < told["high"] < 20
    assert math.isnan(fixed["HD95"]["mean"])


def test_rows_judged_on_different_scans_are_no_table(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"source-only and .*dmlc were judged on different test cases: a/image \(2"):
        table_of(tmp_path, lambda run: run.row)


def test_rows_of_a_protocol() -> None:
    found = {
        "source-only": [{"a": case(0.2, 0.2, 0.2)}],
        "self-training": [{"a": case(0.5, 0.5, 0.5)}],
        "dmlc": [{"a": case(0.4, 0.4, 0.4)}],
        "broken": [None],
        "oracle": [{"a": case(0.8, 0.8, 0.8)}],
    }
    rows, best = protocol_table(found, [{}])
    assert list(rows) == list(found)
    assert {name: row["gap_closed"]["mean"] for name, row in rows.items()} == pytest.approx(
        {"source-only": 0, "self-training": 50, "dmlc": 100 / 3, "broken": math.nan, "oracle": 100}, nan_ok=True
    )
    assert rows["dmlc"]["against"]["self-training"]["mean"]["mean"] == pytest.approx(-10)
    assert set(rows["self-training"]["against"]) == {"source-only"}
    assert best is not None
    assert (best["method"], best["runner_up"]) == ("self-training", "dmlc")
    assert best["difference"]["WP"]["mean"] == pytest.approx(10)
    assert protocol_table({"source-only": [{"a": case(0.2, 0.2, 0.2)}]}, [{}])[1] is None


def test_cases_are_read_by_stage_and_old_files_have_no_assd(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text(
        "case,stage,PZ,WP_hd95_mm\nx,source_only,0.1,2\nx,adapted,0.3,inf\ny,adapted,nan,\nz,other,1,1\n"
    )
    found = read_cases(tmp_path)
    assert list(found) == ["x", "y"]
    assert (found["x"]["PZ"], found["x"]["WP_hd95_mm"]) == (0.3, math.inf)
    assert math.isnan(found["y"]["PZ"])
    assert math.isnan(found["y"]["WP_hd95_mm"])
    assert math.isnan(found["x"]["WP_assd_mm"])
    assert math.isnan(found["x"]["TZ"])


def test_cases_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cases.csv cannot be read as the cases of a run"):
        read_cases(tmp_path)
    for content in ("case,PZ\nx,1\n", "case,stage,PZ\nx,adapted,high\n"):
        (tmp_path / "cases.csv").write_text(content)
        with pytest.raises(CheckpointError, match="have it run again"):
            read_cases(tmp_path)
