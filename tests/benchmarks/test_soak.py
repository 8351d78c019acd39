"""The soak, small: scans are of every kind, the bad are told, and what is called flat is."""

import importlib
import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from prostate_uda.data.volumes import read_image
from prostate_uda.errors import DataError

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("soak")


def test_every_bad_scan_is_bad_and_every_good_one_good(bench: ModuleType, tmp_path: Path) -> None:
    count = bench.BAD_EVERY * len(bench.BAD)
    good, bad = bench.write_scans(tmp_path / "scans", count)
    assert len(bad) == len(bench.BAD) == count // 20
    assert Counter(name.split("-")[1] for name in good).keys() == bench.GOOD.keys()
    arrays = [read_image(scan).array for scan in list(good.values())[:12]]
    assert len({array.tobytes() for array in arrays}) == len(arrays)
    for scan in bad.values():
        with pytest.raises(DataError):
            read_image(scan)


def test_growth_is_of_the_last_tenth_over_the_first_after_the_warm_up(bench: ModuleType) -> None:
    flat = bench.flatness([300.0, *[500.0] * 99])
    assert flat["growth_percent"] == flat["slope_kib_per_scan"] == 0
    grown = bench.flatness([float(n) for n in range(1000, 1200)])
    assert grown["growth_percent"] == pytest.approx(100 * (1189.5 / 1029.5 - 1), abs=0.01)
    assert grown["slope_kib_per_scan"] == pytest.approx(1024)


def test_a_result_that_is_missing_or_elsewhere_is_wrong(bench: ModuleType, tmp_path: Path) -> None:
    good, bad = bench.write_scans(tmp_path / "scans", 12)
    out = tmp_path / "out"
    out.mkdir()
    (out / "failures.csv").write_text("case,reason\n", encoding="utf-8")
    (out / ".half.nii.gz").touch()
    wrong = bench.judged(out, good, bad)["wrong"]
    assert len(wrong) == len(good) + len(bad) + 1
    assert [line for line in wrong if line.endswith("not told")] == [f"{name}: not told" for name in bad]
    assert ".half.nii.gz: left behind" in wrong


@pytest.mark.slow
def test_twenty_scans(bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "soak.json"
    monkeypatch.setattr(sys, "argv", ["soak.py", "--scans=20", f"--work={tmp_path / 'work'}", f"--out={out}"])
    assert bench.main() == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert (found["good"], found["bad"], found["exit_code"], found["wrong"]) == (19, 1, 3, [])
    assert len(found["memory_mib"]) == 20
    assert np.diff(found["memory_mib"])[10:].max() < 100
