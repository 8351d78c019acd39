"""What a meta step costs: each variant's step beside a plain self-training step, in turns, on the same batch.

    python benchmarks/step_cost.py [--quick] [--device cuda] [--precision bf16] [--out FILE]

Time, memory and warm networks are as ``step_bench.py`` says. ``g_relative_error`` is ‖G - G*‖ / ‖G*‖ over both levels,
G* by double backward in float64; forward-mode and the heads are compared in float64 too, the others in float32;
``g_error_as_run`` is that of every variant in the precision that it runs in. Batch-norm is in training mode. In "…, NTM
after" the NTM moves after the actual step, which then shares the virtual step's backward pass. ``matmul_share`` is the
plain step's rate of operations over that of one large product of matrices.
"""

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from step_bench import StepBench, Workload
from tables import command, name_of, place
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from prostate_uda.display import RichProgress
from prostate_uda.engines.execution import Execution
from prostate_uda.methods import MetaCorrection, Method, Optimization, SelfTraining, State
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
            load = Workload.of_slices(network, size, Execution(precision=given.precision), given.batch)
            bench = Bench(load, device)
            with load.execution.products():
                rows += bench.rows(2 if given.quick else turns[size])
            told = {"rows": rows, "versions": versions(), "precision": given.precision}
            write_json(out, {"device": name_of(device), "command": command("step_cost"), **told})
            task.advance()
    for row in rows:
        print("  ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))


class Bench(StepBench):
    """What a meta step costs and how far its G is off, for one network and image size."""

    def rows(self, turns: int) -> list[dict[str, Any]]:
        """A row per variant."""
        ready = {key: (one, one.prepare(copy.deepcopy(self.network), Optimization())) for key, one in VARIANTS.items()}
        costs = self.costs(ready, PLAIN, turns)
        share = self.matmul_share(ready[PLAIN][1], costs[PLAIN].step_s)
        del ready
        reference = {scope: self.reference(scope) for scope in ("all", "last-stage", "heads")} if self.compared else {}
        told = {key: cost.rounded() for key, cost in costs.items()}
        return [
            {
                "network": self.load.network,
                "size": self.load.shape[0],
                "batch": self.load.batch,
                "variant": key[0],
                "scope": key[1],
                "time_ratio": told[key]["time_ratio"],
                "memory_ratio": told[key]["memory_ratio"],
                **self.errors(key, reference.get(key[1])),
                "step_s": told[key]["step_s"],
                "peak_MB": told[key]["peak_MB"],
                "matmul_share": share if key == PLAIN else None,
            }
            for key in VARIANTS
        ]

    @property
    def compared(self) -> bool:
        """Whether the reference is affordable."""
        return self.load.shape[0] <= ERROR_SIZE

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
        dtype = torch.bfloat16 if self.load.execution.precision == "bf16" else torch.float32
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


if __name__ == "__main__":
    main()
