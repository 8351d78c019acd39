"""What benchmark scripts share: Dice over seeds, and how it is written down."""

from collections.abc import Sequence
from typing import Any

from prostate_uda.metrics import summarize

ZONES = ("PZ", "TZ", "WP", "WP_pooled")


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
