"""Dice on the phantom pair: how far source-only falls, and what each method gives back, over seeds.

    python benchmarks/phantom_adapt.py --seeds 0,1,2 --methods self-training,dmlc,metacorrection

writes ``benchmarks/results/phantom_adapt.json``. Each seed has its own cohort split, network and batches; the source
network is trained once per seed and shared by its methods. Runs that are finished in ``--runs`` are not done again.
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from prostate_uda.display import RichProgress
from prostate_uda.metrics import summarize
from prostate_uda.recipes import AdaptSettings, adapt
from prostate_uda.recipes.record import read_json, versions, write_json

ZONES = ("PZ", "TZ", "WP", "WP_pooled")
HERE = Path(__file__).parent


def main() -> None:
    """Run the grid and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--methods", default="self-training,dmlc,metacorrection")
    parser.add_argument("--source", default="phantom-3t")
    parser.add_argument("--target", default="phantom-1.5t")
    parser.add_argument("--set", default="{}", help="JSON of AdaptSettings fields for every run")
    parser.add_argument("--runs", type=Path, default=Path("runs/bench"))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "phantom_adapt.json")
    arguments = parser.parse_args()
    seeds, methods = [int(seed) for seed in arguments.seeds.split(",")], arguments.methods.split(",")
    common = {"source": arguments.source, "target": arguments.target, **json.loads(arguments.set)}

    rows: dict[str, list[dict[str, Any]]] = {}
    for seed in seeds:
        first = None
        for method in methods:
            folder = arguments.runs / f"{method}-{seed}"
            settings = AdaptSettings(**common, method=method, seed=seed, start_from=first)
            results = one(settings, folder)
            if first is None or not (first / "checkpoints" / "predictor.pt").exists():
                first = folder
            rows.setdefault(method, []).append(results["adapted"])
            if method == methods[0]:
                rows.setdefault("source-only", []).append(results["source_only"])
                rows.setdefault("source-only, on the source", []).append(results["source_only_on_source"])
    content = {
        "command": "python benchmarks/phantom_adapt.py "
        + " ".join(
            f"--{k} '{v}'"
            for k, v in (
                ("seeds", arguments.seeds),
                ("methods", arguments.methods),
                ("source", arguments.source),
                ("target", arguments.target),
                ("set", arguments.set),
            )
        ),
        "settings": AdaptSettings(**common).record(),
        "machine": {"torch_threads": torch.get_num_threads(), "processor": platform.machine()},
        "versions": versions(),
        "seeds": seeds,
        "dice": {name: table(values) for name, values in rows.items()},
        "drop_points": drop(rows),
    }
    write_json(arguments.out, content)
    print(json.dumps({"dice": content["dice"], "drop_points": content["drop_points"]}, indent=1))


def one(settings: AdaptSettings, folder: Path) -> dict[str, Any]:
    """A run's results, from disk where it is finished."""
    begun = (folder / "run.json").exists()
    if begun and read_json(folder / "run.json").get("status") == "done":
        return dict(read_json(folder / "run.json")["results"])
    return dict(adapt(settings, folder, resume=begun, progress=RichProgress(Console()))["results"])


def table(values: list[dict[str, Any]]) -> dict[str, Any]:
    """Each zone's Dice in points, over the seeds."""
    return {zone: spread([100 * value[zone] for value in values]) for zone in ZONES}


def spread(numbers: list[float]) -> dict[str, Any]:
    """Mean, standard deviation and the numbers themselves."""
    summary = summarize(numbers)
    return {"mean": round(summary.mean, 2), "sd": round(summary.sd, 2), "seeds": [round(n, 2) for n in numbers]}


def drop(rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """How many Dice points (mean of PZ, TZ, WP) the source-only network loses from its own domain to the target."""
    pairs = zip(rows["source-only, on the source"], rows["source-only"], strict=True)
    return spread([_mean(before) - _mean(after) for before, after in pairs])


def _mean(scores: dict[str, float]) -> float:
    return 100 * sum(scores[zone] for zone in ("PZ", "TZ", "WP")) / 3


if __name__ == "__main__":
    main()
