"""The table of the phantom pair, tiny: the rows that are always there, whichever methods are asked for."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from tests.recipes.conftest import TINY

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.slow
def test_source_only_may_be_any_of_the_methods(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))  # scripts import their neighbour by its name
    monkeypatch.setenv("PROSTATE_UDA_CACHE", str(tmp_path / "cache"))
    bench = importlib.import_module("phantom_adapt")
    tables = []
    for number, methods in enumerate(("source-only,self-training", "self-training,source-only")):
        out = tmp_path / f"{number}.json"
        settings = json.dumps({**TINY, "phantom_train": 2, "phantom_test": 1, "steps": 1})
        flags = ["--seeds=0", "--augments=plain", f"--methods={methods}", f"--set={settings}"]
        monkeypatch.setattr(
            sys, "argv", ["phantom_adapt.py", *flags, f"--runs={tmp_path / str(number)}", f"--out={out}"]
        )
        bench.main()
        tables.append(json.loads(out.read_text())["protocols"]["plain"])
    first, second = tables
    assert set(first["dice"]) == {"self-training", "source-only", "source-only, on the source"}
    assert len(first["dice"]["source-only"]["WP"]["seeds"]) == 1
    assert first == second
