"""What ``rank`` puts first among a comparison's own rows: counted by hand, ablations left out."""

import importlib
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
NETWORKS = {
    ("paper", "source-only"): (0.1, 40.0),
    ("paper", "cbst,portion=0.5"): (0.5, 60.0),
    ("paper", "dmlc"): (0.4, 70.0),
    ("paper", "without_the_NTM"): (0.95, 99.0),
    ("strong", "source-only"): (None, 50.0),
    ("strong", "recommended"): (0.9, 65.0),
    ("strong", "dmlc"): (0.2, 66.0),
}
"""Protocol and row to every criterion's number and the Dice."""


def test_ablations_take_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"protocol": protocol, "seed": seed, "row": row, "dice": dice}
        | dict.fromkeys(("consistency", "certainty", "plausibility"), score)
        for seed in (0, 1)
        for (protocol, row), (score, dice) in NETWORKS.items()
    ]
    (tmp_path / "rank.json").write_text(json.dumps({"rows": rows}), encoding="utf-8")
    shown = {"source-only": {}, "cbst?portion=0.5": {}, "dmlc": {}, "recommended": {}, "oracle": {}}
    table = {"source": "a", "target": "b", "seeds": [0, 1], "protocols": {"paper": shown, "strong": shown}}
    (tmp_path / "table.json").write_text(json.dumps(table), encoding="utf-8")
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(
        sys, "argv", ["ranked.py", f"{tmp_path}/rank.json={tmp_path}/table.json", f"--out={tmp_path}/out.json"]
    )
    importlib.import_module("ranked").main()
    (found,) = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["comparisons"]
    assert (found["source"], found["target"]) == ("a", "b")
    told = {
        name: (one["networks"], one["mean_rank"]["chosen"], one["mean_rank"]["dice"]["mean"], one["best"]["mean"])
        for name, one in found["protocols"].items()
    }
    assert told == {
        "paper": (6, ["cbst,portion=0.5"] * 2, 60.0, 70.0),
        "strong": (6, ["recommended"] * 2, 65.0, 66.0),
        "any": (12, ["recommended (strong)"] * 2, 65.0, 70.0),
    }
