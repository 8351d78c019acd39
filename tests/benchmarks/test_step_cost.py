"""The cost of the meta step, tiny: a row per variant."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("step_cost")


@pytest.mark.slow
def test_every_variant_has_a_row_beside_the_plain_step(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "cost.json"
    monkeypatch.setattr(sys, "argv", ["step_cost.py", "--quick", "--device", "cpu", "--out", str(out)])
    whole = bench.Workload.of_slices
    monkeypatch.setattr(bench.Workload, "of_slices", lambda network, _, *more: whole(network, 32, *more))
    bench.main()
    content = json.loads(out.read_text())
    assert content["device"] == f"{torch.get_num_threads()} CPU threads"
    assert content["command"] == f"python benchmarks/step_cost.py --quick --device cpu --out {out}"
    rows = {(row["variant"], row["scope"]): row for row in content["rows"]}
    assert list(rows) == list(bench.VARIANTS)
    plain = rows.pop(bench.PLAIN)
    assert (plain["time_ratio"], plain["memory_ratio"], plain["g_relative_error"]) == (1, 1, None)
    assert plain["matmul_share"] > 0
    for row in rows.values():
        assert (row["network"], row["size"], row["batch"]) == ("deeplab-small", 32, 8)
        assert row["time_ratio"] > 0
        assert row["memory_ratio"] > 1
    errors = {key: row["g_relative_error"] for key, row in rows.items()}
    assert errors["linear", "heads"] < 1e-10
    assert errors["forward-mode", "all"] < 1e-10
    assert errors["double-backward", "all"] < 1e-3
    for scope in ("all", "last-stage"):
        assert errors["finite-difference", scope] < 0.1
