"""What a step of each method costs beside one of plain self-training, in turns, on the same batch.

    python benchmarks/method_cost.py [--quick] [--device cuda] [--precision bf16] [--out FILE]

Time, memory and warm networks are as ``step_bench.py`` says. Settings are the published ones, with teacher and domain
predictor as in a run; what a round costs beyond its steps (pseudo-labels, the predictor's training) is not in it.
docs/methods/README.md shows it.
"""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from step_bench import StepBench, Workload
from tables import command, name_of, place

from prostate_uda.display import RichProgress
from prostate_uda.engines.execution import Execution
from prostate_uda.methods import METHODS
from prostate_uda.recipes.devices import pick_device
from prostate_uda.recipes.record import versions, write_json

CASES = (("deeplab-small", 96), ("deeplab-resnet50", 128))
"""Network and pixels a side."""


def main() -> None:
    """Measure every method on every network, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="float32", choices=["float32", "bf16"])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="the small network alone, two turns")
    parser.add_argument("--out", type=Path, help="default: results/, or runs/ with --quick")
    given = parser.parse_args()
    out = place("method_cost", given.out, quick=given.quick)
    device = pick_device(given.device)
    cases, turns = (CASES[:1], 2) if given.quick else (CASES, given.turns)
    told = {
        "device": name_of(device),
        "command": command("method_cost"),
        "precision": given.precision,
        "versions": versions(),
    }
    rows: list[dict[str, Any]] = []
    with RichProgress(Console()).task("networks", len(cases)) as task:
        for network, size in cases:
            load = Workload.of_slices(network, size, Execution(precision=given.precision))
            rows += measured(StepBench(load, device), turns)
            write_json(out, {**told, "rows": rows})
            task.advance()
    for row in rows:
        print("  ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))


def measured(bench: StepBench, turns: int) -> list[dict[str, Any]]:
    """A row per method."""
    told = {"network": bench.load.network, "size": bench.load.shape[0], "batch": bench.load.batch}
    return [{**told, "method": name, **cost.rounded()} for name, cost in bench.method_costs(METHODS, turns).items()]


if __name__ == "__main__":
    main()
