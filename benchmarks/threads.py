"""What waiting OpenMP threads cost: seconds per training step alone and beside busy processes, by ``GOMP_SPINCOUNT``.

    python benchmarks/threads.py

writes ``benchmarks/results/threads.json``; see ``docs/decisions/0008-threads-are-left-to-the-user.md``.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SETTINGS: dict[str, dict[str, str]] = {
    "libgomp's default": {},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    "GOMP_SPINCOUNT=0": {"GOMP_SPINCOUNT": "0"},
    "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
}
BUSY = (0, 1, 2)
LIMIT_S = 120.0


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--one", action="store_true", help="print the seconds per step of this process, no more")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "threads.json")
    given = parser.parse_args()
    if given.one:
        print(step_seconds(given.steps))
        return
    from prostate_uda.recipes.record import versions, write_json

    rows = [row for busy in BUSY for row in beside(busy, given.steps)]
    write_json(given.out, {"command": "python benchmarks/threads.py", "versions": versions(), "rows": rows})
    print(json.dumps(rows, indent=1))


def step_seconds(steps: int) -> float:
    """Forward and backward of ``deeplab-small``, 8 slices of 96²."""
    import torch

    from prostate_uda.networks import build_network

    network = build_network("deeplab-small", in_channels=1, num_classes=3)
    image = torch.randn(8, 1, 96, 96)
    start = 0.0
    for step in range(steps + 3):
        if step == 3:
            start = time.perf_counter()
        torch.stack([logits.sum() for logits in network(image).logits]).sum().backward()
    return (time.perf_counter() - start) / steps


def beside(busy: int, steps: int) -> list[dict[str, Any]]:
    """Every setting while so many processes do nothing but run."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        return [{"busy": busy, "setting": name, **timed(setting, steps)} for name, setting in SETTINGS.items()]
    finally:
        for other in others:
            other.kill()
            other.wait()


def timed(setting: dict[str, str], steps: int) -> dict[str, Any]:
    """Seconds per step in a process of its own; None where it takes longer than the limit."""
    command = [sys.executable, __file__, "--one", "--steps", str(steps)]
    clean = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_NUM_THREADS")}
    try:
        done = subprocess.run(command, env={**clean, **setting}, capture_output=True, check=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return {"seconds_per_step": None, "limit_s": LIMIT_S}
    return {"seconds_per_step": round(float(done.stdout), 4)}


if __name__ == "__main__":
    main()
