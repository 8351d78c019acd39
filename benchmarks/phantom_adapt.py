"""Dice on the phantom pair: how far source-only falls, and what each method gives back, over seeds.

    python benchmarks/phantom_adapt.py --seeds 0,1,2 --methods self-training,dmlc,metacorrection

(a method with settings of its own: ``"metacorrection?virtual_scope=all&ntm_mode=learned"``)
writes ``benchmarks/results/phantom_adapt.json``: one protocol with plain augmentation, one with strong, since a claim
that does not stand beside a strongly augmented source-only row is worth nothing. Each seed has its own cohort, network
and batches; the source network is trained once per seed and shared by its methods. Runs that are finished in ``--runs``
are not done again.
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from tables import drop, table

from prostate_uda.cli.comparing import read_variants
from prostate_uda.display import RichProgress
from prostate_uda.recipes import AdaptSettings, Variant, adapt
from prostate_uda.recipes.record import read_json, versions, write_json

HERE = Path(__file__).parent


def main() -> None:
    """Run the grid and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--methods", default="self-training,dmlc,metacorrection")
    parser.add_argument("--augments", default="plain,strong", help="a protocol each")
    parser.add_argument("--source", default="phantom-3t")
    parser.add_argument("--target", default="phantom-1.5t")
    parser.add_argument("--set", default="{}", help="JSON of AdaptSettings fields for every run")
    parser.add_argument("--runs", type=Path, default=Path("runs/bench"))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "phantom_adapt.json")
    given = parser.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    common = {"source": given.source, "target": given.target, **json.loads(given.set)}
    told = ("seeds", "methods", "augments", "source", "target", "set")
    content = {
        "command": "python benchmarks/phantom_adapt.py " + " ".join(f"--{k} '{getattr(given, k)}'" for k in told),
        "settings": AdaptSettings(**common).record(),
        "machine": {"torch_threads": torch.get_num_threads(), "processor": platform.machine()},
        "versions": versions(),
        "seeds": seeds,
        "protocols": {
            augment: protocol({**common, "augment": augment}, seeds, read_variants(given.methods), given.runs / augment)
            for augment in given.augments.split(",")
        },
    }
    write_json(given.out, content)
    print(json.dumps(content["protocols"], indent=1))


def protocol(common: dict[str, Any], seeds: list[int], methods: tuple[Variant, ...], runs: Path) -> dict[str, Any]:
    """Every method on every seed; the first method's run of a seed trains the source network of the others."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for seed in seeds:
        first = None
        for row in methods:
            folder = runs / f"{row.name}-{seed}"
            settings = AdaptSettings(**common, method=row.method, options=row.options, seed=seed, start_from=first)
            results = one(settings, folder)
            if first is None or not (first / "checkpoints" / "predictor.pt").exists():
                first = folder
            if row.method != "source-only":  # its row is there whether or not it is asked for
                rows.setdefault(row.name, []).append(results["adapted"])
            if row == methods[0]:
                rows.setdefault("source-only", []).append(results["source_only"])
                rows.setdefault("source-only, on the source", []).append(results["source_only_on_source"])
    return {
        "dice": {name: table(values) for name, values in rows.items()},
        "drop_points": drop(rows["source-only, on the source"], rows["source-only"]),
    }


def one(settings: AdaptSettings, folder: Path) -> dict[str, Any]:
    """A run's results, from disk where it is finished."""
    begun = (folder / "run.json").exists()
    if begun and read_json(folder / "run.json").get("status") == "done":
        return dict(read_json(folder / "run.json")["results"])
    return dict(adapt(settings, folder, resume=begun, progress=RichProgress(Console()))["results"])


if __name__ == "__main__":
    main()
