"""What the execution options of ``adapt`` bring: steps per second of each beside the plain step, in turns.

    python benchmarks/execution.py [--quick] [--augment strong] [--device cuda] [--out FILE] [--compile]

A step is a batch of each domain, made and augmented as in a run (of noise: what a step costs does not depend on what is
seen), and the method's step. Ratios are taken within a turn, so that a machine that slows down slows down both.
"""

import argparse
import json
import statistics
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
import torch._functorch.config
from tables import command, name_of
from torch import nn

from prostate_uda.data.slices import BatchStream, SliceSet
from prostate_uda.engines.execution import Execution, ahead
from prostate_uda.engines.stages import Pairs
from prostate_uda.engines.trainer import AdaptationTrainer
from prostate_uda.methods import METHODS, Optimization
from prostate_uda.networks import DeepLab, build_network
from prostate_uda.recipes.devices import pick_device
from prostate_uda.recipes.record import versions, write_json
from prostate_uda.transforms import AUGMENTATIONS

OPTIONS = {
    "plain": Execution(prefetch=0),
    "--prefetch 2": Execution(prefetch=2),
    "--precision bf16": Execution(prefetch=0, precision="bf16"),
    "--channels-last": Execution(prefetch=0, channels_last=True),
    "--precision bf16 --channels-last": Execution(prefetch=0, precision="bf16", channels_last=True),
}
COMPILED = "stages compiled"
CASES = (("deeplab-small", 96, 8, 6), ("deeplab-resnet50", 128, 2, 2))
"""Network, pixels a side, batch size, steps of a turn."""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--augment", default="plain", choices=AUGMENTATIONS)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="the small network alone, two turns")
    parser.add_argument("--compile", action="store_true", help="only plain and torch.compile on layer1 to layer4")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "execution.json")
    given = parser.parse_args()
    device = pick_device(given.device)
    options = {"plain": OPTIONS["plain"], COMPILED: OPTIONS["plain"]} if given.compile else OPTIONS
    cases, turns = (CASES[:1], 2) if given.quick else (CASES, given.turns)
    if given.compile:  # several passes back through one graph, and one block's code in more shapes than eight
        torch._functorch.config.donated_buffer = False
        torch._dynamo.config.recompile_limit = 64
    rows = []
    for network, size, batch, steps in cases:
        data = {"size": size, "batch": batch, "augment": given.augment}
        for method in ("self-training", "metacorrection"):
            benches = {name: Bench(name, how, network, method, data, device) for name, how in options.items()}
            rows += [{"network": network, **data, **row} for row in race(benches, turns, steps)]
            print(json.dumps(rows[-len(options) :], indent=1))
    write_json(
        given.out,
        {
            "device": name_of(device),
            "command": command("execution"),
            "versions": versions(),
            "rows": rows,
        },
    )


class Bench:
    """One method with one option, ready to step."""

    def __init__(
        self, name: str, how: Execution, network: str, method: str, data: dict[str, Any], device: torch.device
    ) -> None:
        self.method, self.how, self.device = method, how, device
        chosen = METHODS[method]()
        built = build_network(network, in_channels=1, num_classes=3, generator=torch.Generator().manual_seed(0))
        if name == COMPILED:
            compile_stages(built)
        state = chosen.prepare(built.to(device), Optimization())
        how.lay_out(state)
        self.trainer = AdaptationTrainer(
            device=device,
            max_epochs=1,
            data_loader=(),
            method=chosen,
            adaptation=state,
            epoch_length=1,
            **how.trainer_options,
        )
        self.pairs = Pairs(stream("source", **data), stream("target", **data))

    def seconds(self, steps: int) -> float:
        """So many steps, from making the first batch to the end of the last step."""
        make = partial(self.pairs.at, pin=self.device.type == "cuda")
        self.wait()
        start = time.perf_counter()
        first = self.trainer.adaptation.step
        with closing(ahead(make, range(first, first + steps), self.how.prefetch)) as batches:
            for pair in batches:
                self.trainer.compute(*map(self.trainer.placed, pair))
        self.wait()
        return time.perf_counter() - start

    def wait(self) -> None:
        """Until the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def compile_stages(network: nn.Module) -> None:
    """In place, so that no parameter changes its name; not the network as a whole, which not every pass calls."""
    assert isinstance(network, DeepLab)
    for name in ("layer1", "layer2", "layer3", "layer4"):
        network.backbone.get_submodule(name).compile(dynamic=False)


def stream(name: str, size: int, batch: int, augment: str) -> BatchStream:
    """Batches of 32 slices of noise."""
    rng = torch.Generator().manual_seed(0)
    images, labels = torch.randn(32, size, size, generator=rng), torch.randint(3, (32, size, size), generator=rng)
    first = torch.zeros(32, dtype=torch.long)
    slices = SliceSet(images, labels.to(torch.uint8), first, first + 31, ("noise",) * 32)
    return BatchStream(slices, batch_size=batch, depth=1, seed=0, name=name, augment=AUGMENTATIONS[augment]())


def race(benches: dict[str, Bench], turns: int, steps: int) -> list[dict[str, Any]]:
    """Every option once per turn; a row per option with its ratio to plain, median and range over the turns."""
    warm = {name: bench.seconds(1) for name, bench in benches.items()}
    taken = [{name: bench.seconds(steps) for name, bench in benches.items()} for _ in range(turns)]
    rows = []
    for name, bench in benches.items():
        ratios = [turn["plain"] / turn[name] for turn in taken]
        rows.append(
            {
                "method": bench.method,
                "option": name,
                "steps_per_s": round(steps / statistics.median(turn[name] for turn in taken), 3),
                "ratio": round(statistics.median(ratios), 3),
                "lowest": round(min(ratios), 3),
                "highest": round(max(ratios), 3),
                "first_step_s": round(warm[name], 2),
            }
        )
    return rows


if __name__ == "__main__":
    main()
