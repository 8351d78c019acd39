"""What benchmark scripts share: Dice over seeds, how it is written down, and where."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from prostate_uda.metrics import summarize

ZONES = ("PZ", "TZ", "WP", "WP_pooled")


def command(script: str) -> str:
    """The script as it was called."""
    return " ".join([f"python benchmarks/{script}.py", *sys.argv[1:]])


def place(script: str, given: Path | None, *, quick: bool) -> Path:
    """Where results go: as given, else among the committed ones, but for a quick run's, which say nothing."""
    return given or (Path("runs") if quick else Path(__file__).parent / "results") / f"{script}.json"


def name_of(device: torch.device) -> str:
    """The GPU, or how many threads."""
    return torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"


def table(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Each zone's Dice in points, over the seeds."""
    return {zone: spread([100 * value[zone] for value in values]) for zone in ZONES}


def spread(numbers: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation and the numbers themselves."""
    summary = summarize(list(numbers))
    return {"mean": round(summary.mean, 2), "sd": round(summary.sd, 2), "seeds": [round(n, 2) for n in numbers]}


def points(scores: dict[str, Any]) -> float:
    """Mean of PZ, TZ and WP, in points."""
    return 100 * sum(float(scores[zone]) for zone in ZONES[:3]) / 3


def drop(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How many points (mean of PZ, TZ, WP) are lost from the source's own cases to the target's."""
    return spread([points(one) - points(other) for one, other in zip(before, after, strict=True)])
