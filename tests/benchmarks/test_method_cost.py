"""The cost of methods, tiny: each in the registry has a row beside self-training's."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from prostate_uda.methods import METHODS

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
MEASURED = ("source-only", "self-training", "lrent", "adaptsegnet", "metacorrection")
"""One of each kind of need."""


def test_every_method_is_compared_with_self_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))  # scripts import their neighbour by its name
    out = tmp_path / "cost.json"
    monkeypatch.setattr(sys, "argv", ["method_cost.py", "--quick", "--device", "cpu", "--out", str(out)])
    bench = importlib.import_module("method_cost")
    monkeypatch.setattr(bench, "CASES", (("deeplab-small", 32),))
    monkeypatch.setattr(bench, "METHODS", {name: METHODS[name] for name in MEASURED})
    bench.main()
    told = json.loads(out.read_text(encoding="utf-8"))
    rows = {row["method"]: row for row in told["rows"]}
    assert told["command"].startswith("python benchmarks/method_cost.py --quick")
    assert tuple(rows) == MEASURED
    assert (rows["self-training"]["time_ratio"], rows["self-training"]["memory_ratio"]) == (1.0, 1.0)
    memory = {name: row["memory_ratio"] for name, row in rows.items()}
    assert memory["source-only"] < 1 < memory["lrent"] < memory["metacorrection"]  # what each holds beside the network
    assert memory["adaptsegnet"] > memory["lrent"]
    assert all(row["step_s"] > 0 for row in rows.values())
