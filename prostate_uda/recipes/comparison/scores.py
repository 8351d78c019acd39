"""Floor 5: from the cases of finished runs to the cells of a table. Numbers in, numbers out, but for the reading."""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from prostate_uda.errors import CheckpointError
from prostate_uda.metrics import paired_bootstrap, summarize

CaseScores = dict[str, float]
"""Column of ``cases.csv`` to its number, NaN where there is none."""
COLUMNS = ("PZ", "TZ", "WP", "WP_pooled", "WP_hd95_mm", "WP_assd_mm", "WP_mL", "WP_true_mL")
"""What :data:`MEASURES` read of a case."""
Cases = Mapping[tuple[str, int, str], CaseScores]
"""Scan, seed and case to what was found; cases of two seeds are of one scan where their images are the same."""
MEAN = "mean"
"""Name of the mean of PZ, TZ and WP."""


@dataclass(frozen=True)
class Measure:
    """A column of the table.

    Attributes:
        title: Headline, with the unit.
        of: One case's number.
        higher: Whether more is better.
        brief: Whether it is shown where there is little room.
    """

    title: str
    of: Callable[[CaseScores], float]
    higher: bool = True
    brief: bool = False


def _points(zone: str) -> Callable[[CaseScores], float]:
    return lambda row: 100 * row[zone]


def _volume_error(row: CaseScores) -> float:
    return abs(row["WP_mL"] - row["WP_true_mL"])


MEASURES: dict[str, Measure] = {
    "PZ": Measure("PZ", _points("PZ"), brief=True),
    "TZ": Measure("TZ", _points("TZ"), brief=True),
    "WP": Measure("WP", _points("WP"), brief=True),
    "WP_pooled": Measure("WP pooled", _points("WP_pooled")),
    MEAN: Measure("mean PZ TZ WP", lambda row: 100 * (row["PZ"] + row["TZ"] + row["WP"]) / 3),
    "HD95": Measure("HD95 mm", lambda row: row["WP_hd95_mm"], higher=False, brief=True),
    "ASSD": Measure("ASSD mm", lambda row: row["WP_assd_mm"], higher=False),
    "volume_error_mL": Measure("volume error mL", _volume_error, higher=False),
    "volume_error_percent": Measure(
        "volume error %", lambda row: 100 * _volume_error(row) / (row["WP_true_mL"] or math.nan), higher=False
    ),
}
"""Of one case: Dice in points; distances and volumes of the whole prostate."""


def read_cases(run: Path, stage: str = "adapted") -> dict[str, CaseScores]:
    """What a finished run found in each test case; a column that is not there is NaN.

    Raises:
        CheckpointError: there is no such file, or it holds no cases.
    """
    path = run / "cases.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["stage"] == stage]
        return {row["case"]: {name: float(row.get(name) or math.nan) for name in COLUMNS} for row in rows}
    except (OSError, KeyError, ValueError) as error:
        told = f"{path} cannot be read as the cases of a run; bring it back, or delete {run} to have it run again"
        raise CheckpointError(told) from error


def cells(seeds: Sequence[Mapping[str, CaseScores] | None]) -> dict[str, dict[str, Any]]:
    """A row of the table but for the gap: of each measure the mean over cases, then mean ± sd over seeds.

    Args:
        seeds: The cases of each seed; None where its run has failed. Such a row has no mean: it would be one over other
            cohorts than the other rows'.
    """
    return {
        name: over_seeds(
            [math.nan if cases is None else summarize([m.of(c) for c in cases.values()]).mean for cases in seeds]
        )
        for name, m in MEASURES.items()
    }


def over_seeds(numbers: Sequence[float]) -> dict[str, Any]:
    """``mean``, ``sd`` (divisor n - 1) and ``seeds``; mean and sd are NaN where a seed's number is."""
    summary = summarize(numbers)
    whole = summary.n_nan == 0
    return {"mean": summary.mean if whole else math.nan, "sd": summary.sd if whole else math.nan, "seeds": [*numbers]}


def gap_closed(method: Sequence[float], source: Sequence[float], oracle: Sequence[float]) -> dict[str, Any]:
    """Percent of the way from source-only to the oracle that a method goes, on the mean of PZ, TZ and WP.

    Args:
        method: A number per seed.
        source: Likewise, of source-only.
        oracle: Likewise, of the network trained on the target.

    Returns:
        ``mean``: of the means over seeds, since a seed with a small gap would rule a mean of ratios; ``seeds``: each
        seed's own ratio; ``sd``: theirs. NaN where there is no gap to close, or a number is missing.
    """
    ratios = [_ratio(*three) for three in zip(method, source, oracle, strict=True)]
    means = (sum(numbers) / len(numbers) if numbers else math.nan for numbers in (method, source, oracle))
    return {**over_seeds(ratios), "mean": _ratio(*means)}


def _ratio(method: float, source: float, oracle: float) -> float:
    gap = oracle - source
    return 100 * (method - source) / gap if gap > 0 else math.nan


def difference(ours: Cases, theirs: Cases, *, seed: int = 0) -> dict[str, Any]:
    """How far we are ahead over all seeds' scans, in points, with the 95 % interval of the paired bootstrap.

    A scan that several seeds judged is no further evidence: its differences are averaged, and scans are resampled.

    Args:
        ours: A row's cases.
        theirs: Another row's; pairs are the cases of both.
        seed: Of the resampling.

    Returns:
        For ``mean`` and ``WP``: ``{"mean", "low", "high"}``.
    """
    found: dict[str, Any] = {}
    for name in (MEAN, "WP"):
        ahead: dict[str, list[float]] = {}
        for key in ours:
            if key in theirs:
                ahead.setdefault(key[0], []).append(MEASURES[name].of(ours[key]) - MEASURES[name].of(theirs[key]))
        scans = [summarize(differences).mean for differences in ahead.values()]
        generator = torch.Generator().manual_seed(seed)
        found[name] = paired_bootstrap(scans, [0.0] * len(scans), generator=generator)._asdict()
    return found
