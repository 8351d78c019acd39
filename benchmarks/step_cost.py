"""What a meta step costs: each variant's step beside a plain self-training step, in turns, on the same batch.

    python benchmarks/step_cost.py [--quick] [--device cuda] [--precision bf16] [--out FILE]

Time is the median over turns of the ratio within a turn, so that a machine that slows down slows down both. Memory is
the peak of what tensors hold during a step: weights, gradients, optimizer state, activations. ``g_relative_error`` is
‖G - G*‖ / ‖G*‖ over both levels, G* by double backward in float64; forward-mode and the heads are compared in float64
too, the others in float32; ``g_error_as_run`` is that of every variant in the precision that it runs in. Batch-norm is
in training mode. In "…, NTM after" the NTM moves after the actual step, which then shares the virtual step's backward
pass. ``matmul_share`` is the plain step's rate of operations over that of one large product of matrices.

The networks' residual branches start at a gain of 0.2 (near zero, as in Goyal et al. 2017), and a few steps of
self-training precede: as deep networks are drawn at random, G in float32 is round-off, whichever way it is computed.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from tables import command, name_of, place
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from prostate_uda.data.batch import Batch
from prostate_uda.display import RichProgress
from prostate_uda.engines.execution import Execution, autocast
from prostate_uda.methods import MetaCorrection, Method, Optimization, SelfTraining, State
from prostate_uda.networks import build_network
from prostate_uda.networks.splits import run_shared
from prostate_uda.recipes.devices import pick_device
from prostate_uda.recipes.record import versions, write_json

META = MetaCorrection(ntm_mode="learned", virtual_rate=2.5e-4)
VARIANTS: dict[tuple[str, str], Method] = {
    ("self-training", "-"): SelfTraining(),
    ("linear", "heads"): replace(META, virtual_scope="heads"),
    ("finite-difference", "last-stage"): replace(META, virtual_scope="last-stage"),
    ("finite-difference", "all"): replace(META, virtual_scope="all"),
    ("finite-difference, NTM after", "all"): replace(META, virtual_scope="all", ntm_moves="after"),
    ("forward-mode", "all"): replace(META, virtual_scope="all", derivative="forward-mode"),
    ("forward-mode, NTM after", "all"): replace(
        META, virtual_scope="all", derivative="forward-mode", ntm_moves="after"
    ),
    ("double-backward", "all"): replace(META, virtual_scope="all", derivative="double-backward"),
}
"""Variant and scope to method; the first is what the others are compared with."""
PLAIN = ("self-training", "-")
IN_DOUBLE = {"linear", "forward-mode", "forward-mode, NTM after"}
"""Variants that are exact, so that their error is told in float64."""
GAIN, WARM = 0.2, 4
ERROR_SIZE = 128
"""Largest image whose G is compared: the reference in float64 needs some 20 times the memory of a plain step."""


def main() -> None:
    """Measure every network and size, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="float32", choices=["float32", "tf32", "bf16"])
    parser.add_argument("--depths", default="18,50,101")
    parser.add_argument("--sizes", default="128,320")
    parser.add_argument(
        "--turns", type=int, default=7, help="on a CPU of images up to 128 pixels; larger ones have one"
    )
    parser.add_argument("--batch", type=int, help="images per domain (default: 2, of more than 256 pixels 1)")
    parser.add_argument("--quick", action="store_true", help="deeplab-small at 96 pixels, two turns")
    parser.add_argument("--out", type=Path, help="default: results/, or runs/ with --quick")
    given = parser.parse_args()
    out = place("step_cost", given.out, quick=given.quick)
    device = pick_device(given.device)
    cases = [(f"deeplab-resnet{d}", int(size)) for size in given.sizes.split(",") for d in given.depths.split(",")]
    cases = [("deeplab-small", 96)] if given.quick else cases
    turns = {size: given.turns if size <= ERROR_SIZE or device.type == "cuda" else 1 for _, size in cases}
    rows: list[dict[str, Any]] = []
    with RichProgress(Console()).task("networks and sizes", len(cases)) as task:
        for network, size in cases:
            bench = Bench(network, size, device, Execution(precision=given.precision), given.batch)
            with bench.execution.products():
                rows += bench.rows(2 if given.quick else turns[size])
            told = {"rows": rows, "versions": versions(), "precision": given.precision}
            write_json(out, {"device": name_of(device), "command": command("step_cost"), **told})
            task.advance()
    for row in rows:
        print("  ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))


class Bench:
    """One network and image size.

    Args:
        network: Name in ``NETWORKS``.
        size: Pixels a side.
        device: Where.
        execution: In which precision.
        batch: Images per domain, where the usual number is not wanted.
    """

    def __init__(self, network: str, size: int, device: torch.device, execution: Execution, batch: int | None) -> None:
        self.name, self.size, self.device = network, size, device
        self.batch = batch or (8 if network == "deeplab-small" else 2 if size < 256 else 1)
        self.execution = execution
        self.source, self.target = (blobs(seed, self.batch, size).to(device) for seed in (1, 2))
        self.network = self.warmed()

    def warmed(self) -> nn.Module:
        """The network after a few steps of self-training."""
        generator = torch.Generator().manual_seed(0)
        network = build_network(self.name, in_channels=1, num_classes=3, generator=generator)
        for name, module in network.backbone.named_modules():
            if name.endswith(("0", "1", "2", "3", "4", "5")) and hasattr(module, "bn2"):  # the last norm of a block
                nn.init.constant_(getattr(module, "bn3", module.bn2).weight, GAIN)
        network = network.to(self.device)
        plain = SelfTraining()
        state = plain.prepare(network, Optimization(learning_rate=1e-4))
        for _ in range(WARM):
            plain.step(state, self.source, self.target)
        return network

    def autocast(self) -> AbstractContextManager[None]:
        """The precision that was asked for."""
        return autocast(self.device, {}) if self.execution.precision == "bf16" else nullcontext()

    def rows(self, turns: int) -> list[dict[str, Any]]:
        """A row per variant."""
        taken: list[dict[tuple[str, str], float]] = [{} for _ in range(turns)]
        peaks = {}
        states = {key: method.prepare(copy.deepcopy(self.network), Optimization()) for key, method in VARIANTS.items()}
        for key, state in states.items():
            peaks[key] = self.peak(VARIANTS[key], state)  # also warms up: the optimizer's state is there afterwards
        for turn in taken:
            for key, state in states.items():
                turn[key] = self.seconds(VARIANTS[key], state)
        share = self.matmul_share(states[PLAIN], statistics.median(turn[PLAIN] for turn in taken))
        del states
        reference = {scope: self.reference(scope) for scope in ("all", "last-stage", "heads")} if self.compared else {}
        return [
            {
                "network": self.name,
                "size": self.size,
                "batch": self.batch,
                "variant": key[0],
                "scope": key[1],
                "time_ratio": round(statistics.median(turn[key] / turn[PLAIN] for turn in taken), 3),
                "memory_ratio": round(peaks[key] / peaks[PLAIN], 3),
                **self.errors(key, reference.get(key[1])),
                "step_s": round(statistics.median(turn[key] for turn in taken), 4),
                "peak_MB": round(peaks[key] / 1e6, 1),
                "matmul_share": share if key == PLAIN else None,
            }
            for key in VARIANTS
        ]

    @property
    def compared(self) -> bool:
        """Whether the reference is affordable."""
        return self.size <= ERROR_SIZE

    def step(self, method: Method, state: State) -> None:
        """One step, to its end."""
        with self.autocast():
            method.step(state, self.source, self.target)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, method: Method, state: State) -> float:
        """Of one step."""
        start = time.perf_counter()
        self.step(method, state)
        return time.perf_counter() - start

    def peak(self, method: Method, state: State) -> int:
        """Most bytes that tensors hold during a step, the network and its optimizer included."""
        self.step(method, state)
        for parameter in state.network.parameters():
            parameter.grad = None
        held = resident(state) + sum(one.nbytes for b in (self.source, self.target) for one in (b.image, b.label))
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            before = torch.cuda.memory_allocated(self.device)
            self.step(method, state)
            return held + torch.cuda.max_memory_allocated(self.device) - before
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            self.step(method, state)
        return held + highest(profiler)

    def reference(self, scope: str) -> Tensor:
        """G* by double backward in float64."""
        return self.hypergradient(replace(META, virtual_scope=scope, derivative="double-backward"), torch.float64)

    def errors(self, key: tuple[str, str], reference: Tensor | None) -> dict[str, float | None]:
        """Relative error of a variant's G; none of the plain step, nor where there is no reference."""
        method = VARIANTS[key]
        if reference is None or not isinstance(method, MetaCorrection):
            return {"g_relative_error": None, "g_error_as_run": None}
        with self.autocast():
            found = [self.hypergradient(method, torch.float32)]
        if key[0] in IN_DOUBLE:
            found.insert(0, self.hypergradient(method, torch.float64))
        errors = [float((one - reference).norm() / reference.norm()) for one in found]
        return {"g_relative_error": errors[0], "g_error_as_run": errors[-1]}

    def hypergradient(self, method: MetaCorrection, dtype: torch.dtype) -> Tensor:
        """G of both levels in float64, computed in ``dtype``."""
        network = copy.deepcopy(self.network).to(dtype).train()
        state = method.prepare(network, Optimization())
        state.tensors["ntm"] = state.tensors["ntm"].to(dtype)
        source, target = (seen.image.to(dtype) for seen in (self.source, self.target))
        passes = run_shared(network, method.virtual_scope, source, target, moved=False)
        found = method.hypergradient(state, passes, self.source.label, self.target.label)
        return torch.stack(found.gradients).double()

    def matmul_share(self, state: State, seconds: float) -> float:
        """The plain step's rate of operations over that of one large product of matrices."""
        with FlopCounterMode(display=False) as counter:
            self.step(VARIANTS[PLAIN], state)
        side = 8192 if self.device.type == "cuda" else 2048
        dtype = torch.bfloat16 if self.execution.precision == "bf16" else torch.float32
        a, b = (torch.randn(side, side, device=self.device, dtype=dtype) for _ in range(2))
        one_by_one = b[:, :, None, None].contiguous()  # as a convolution: libraries differ, and the faster one counts
        products = (lambda: a @ b, lambda: functional.conv2d(a.t()[None, :, None].contiguous(), one_by_one))
        best = min(seconds_of(product, self.device) for product in products for _ in range(4))
        return round(counter.get_total_flops() / seconds / (2 * side**3 / best), 3)


def seconds_of(product: Callable[[], Tensor], device: torch.device) -> float:
    """Of one product, to its end."""
    start = time.perf_counter()
    product()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def blobs(seed: int, batch: int, size: int) -> Batch:
    """Smooth noise, and as label which of three bands it is in."""
    generator = torch.Generator().manual_seed(seed)
    smooth = functional.avg_pool2d(torch.randn(batch, 1, size, size, generator=generator), 17, stride=1, padding=8)
    smooth = smooth / smooth.std()
    image = smooth + 0.3 * torch.randn(batch, 1, size, size, generator=generator)
    return Batch(image=image, label=((smooth > 0).long() + (smooth > 1).long())[:, 0])


def resident(state: State) -> int:
    """Bytes of the network and the optimizers' state."""
    kept = [*state.network.parameters(), *state.network.buffers(), *state.tensors.values()]
    for optimizer in state.optimizers.values():
        kept += [value for entry in optimizer.state.values() for value in entry.values() if isinstance(value, Tensor)]
    return sum(value.nbytes for value in kept)


def highest(profiler: profile) -> int:
    """Peak of the bytes allocated on the CPU since the profile began."""
    found = profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
    memory = sorted((one.start_ns(), one.nbytes()) for one in found if one.name() == "[memory]")
    now = peak = 0
    for _, change in memory:
        now += change
        peak = max(peak, now)
    return peak


if __name__ == "__main__":
    main()
