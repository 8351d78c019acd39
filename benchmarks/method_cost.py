"""What a step of each method costs beside one of plain self-training, in turns, on the same batch.

    python benchmarks/method_cost.py [--quick] [--device cuda] [--precision bf16] [--out FILE]

Time is the median over turns of the ratio within a turn, so that a machine that slows down slows down all. Memory is
the peak of what tensors hold during a step, networks that the method brings or looks at included. Settings are the
published ones, with teacher and domain predictor as in a run; what a round costs beyond its steps (pseudo-labels, the
predictor's training) is not in it. Networks are warmed up as ``step_cost.py`` says. docs/methods/README.md shows it.
"""

import argparse
import copy
import statistics
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from step_cost import Bench
from tables import command, name_of, place
from torch import nn

from prostate_uda.display import RichProgress
from prostate_uda.methods import METHODS, TEACHERS, AdaptSegNet, Method, Optimization, State, build_method
from prostate_uda.networks import DomainPredictor
from prostate_uda.networks.teacher import Teacher
from prostate_uda.recipes.devices import pick_device
from prostate_uda.recipes.record import versions, write_json

CASES = (("deeplab-small", 96), ("deeplab-resnet50", 128))
"""Network and pixels a side."""
PLAIN = "self-training"
CLASSES = 3


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
            rows += measured(Bench(network, size, device, given.precision), turns)
            write_json(out, {**told, "rows": rows})
            task.advance()
    for row in rows:
        print("  ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))


def measured(bench: Bench, turns: int) -> list[dict[str, Any]]:
    """A row per method."""
    methods = {name: build_method(name) for name in METHODS}
    states = {name: prepared(bench, method) for name, method in methods.items()}
    # the first step also makes the optimizers' state
    peaks = {name: bench.peak(methods[name], state) + beside(state) for name, state in states.items()}
    taken = [{name: bench.seconds(methods[name], state) for name, state in states.items()} for _ in range(turns)]
    return [
        {
            "network": bench.name,
            "size": bench.size,
            "batch": bench.batch,
            "method": name,
            "time_ratio": round(statistics.median(turn[name] / turn[PLAIN] for turn in taken), 3),
            "memory_ratio": round(peaks[name] / peaks[PLAIN], 3),
            "step_s": round(statistics.median(turn[name] for turn in taken), 4),
            "peak_MB": round(peaks[name] / 1e6, 1),
        }
        for name in METHODS
    ]


def prepared(bench: Bench, method: Method) -> State:
    """The method's state on a copy of the warm network, with what it needs of the size that a run would give it."""
    network = copy.deepcopy(bench.network)
    needed: dict[str, Any] = {}
    if "domain_predictor" in method.needs:
        judge = AdaptSegNet().prepare(network, Optimization()).modules["discriminator"]
        needed["domain_predictor"] = DomainPredictor(copy.deepcopy(network), judge)
    if TEACHERS & method.needs:
        teacher = Teacher(network, torch.full((CLASSES,), 0.5), torch.eye(CLASSES))
        if "survey" in method.needs:
            teacher.survey = method.survey([bench.source], [bench.target], teacher)
        needed["teacher"] = teacher
    return method.prepare(network, Optimization(), **needed)


def beside(state: State) -> int:
    """Bytes of the networks beside the one that learns: their weights, and their gradients where they learn, too."""
    return 2 * sum(map(weight_bytes, state.modules.values())) + sum(map(weight_bytes, state.frozen.values()))


def weight_bytes(network: nn.Module) -> int:
    """Of its parameters and buffers."""
    return sum(value.nbytes for value in [*network.parameters(), *network.buffers()])


if __name__ == "__main__":
    main()
