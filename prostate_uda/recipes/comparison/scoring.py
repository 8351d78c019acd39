"""Floor 5: how a comparison's runs are scored, whatever is segmented. Numbers in, numbers out, but for the reading."""

import csv
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prostate_uda.errors import CheckpointError
from prostate_uda.metrics import Interval, summarize

CaseScores = dict[str, float]
"""Column of ``cases.csv`` to its number, NaN where there is none."""
Cases = Mapping[tuple[str, int, str], CaseScores]
"""Scan, seed and case to what was found; cases of two seeds are of one scan where their images are the same."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A column of the table.

    Attributes:
        title: Headline, with the unit.
        higher: Whether more is better.
        brief: Whether it is shown where there is little room.
    """

    title: str
    higher: bool = True
    brief: bool = False


class Scoring(ABC):
    """What is read of a run's cases, and what a table says of them.

    Attributes:
        columns: What is read of a case.
        optional: Columns that older runs do not have: NaN.
        measures: Name to column of the table, in order.
        main: The measure that rows are ranked by, and whose gap is closed.
        differences: Measures whose paired differences are resampled.
        units: A sentence on the units, for a table's notes.
        main_told: The main measure in words.
        resampled: What the bootstrap draws, in words.
    """

    columns: tuple[str, ...]
    optional: frozenset[str] = frozenset()
    measures: Mapping[str, Measure]
    main: str
    differences: tuple[str, ...]
    units: str
    main_told: str
    resampled: str

    @abstractmethod
    def of_cases(self, cases: Mapping[str, CaseScores]) -> dict[str, float]:
        """Every measure of one seed's cases, NaN where there is none."""

    @abstractmethod
    def ahead(self, measure: str, ours: Cases, theirs: Cases, *, seed: int) -> Interval:
        """How far we are ahead on the cases of both, with the 95 % interval of a paired bootstrap."""

    def read_cases(self, run: Path, stage: str = "adapted") -> dict[str, CaseScores]:
        """What a finished run found in each test case; an empty cell is NaN.

        Raises:
            CheckpointError: there is no such file, it holds no cases, or lacks a column.
        """
        path = run / "cases.csv"
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if row["stage"] == stage]
            return {row["case"]: {name: self._number(row, name) for name in self.columns} for row in rows}
        except (OSError, KeyError, ValueError) as error:
            told = f"{path} cannot be read as the cases of a run; bring it back, or delete {run} to have it run again"
            raise CheckpointError(told) from error

    def _number(self, row: Mapping[str, str | None], name: str) -> float:
        cell = row.get(name) if name in self.optional else row[name]
        return float(cell or math.nan)

    def cells(self, seeds: Sequence[Mapping[str, CaseScores] | None]) -> dict[str, dict[str, Any]]:
        """A row of the table but for the gap: each measure of each seed's cases, then mean ± sd over seeds.

        Args:
            seeds: The cases of each seed; None where its run has failed. Such a row has no mean: it would be one over
                other cohorts than the other rows'.
        """
        found = [None if cases is None else self.of_cases(cases) for cases in seeds]
        return {name: over_seeds([math.nan if one is None else one[name] for one in found]) for name in self.measures}

    def difference(self, ours: Cases, theirs: Cases, *, seed: int = 0) -> dict[str, Any]:
        """How far we are ahead over all seeds' scans, in points, with the 95 % interval of the paired bootstrap.

        A scan that several seeds judged is no further evidence: it is drawn with all that they found in it.

        Args:
            ours: A row's cases.
            theirs: Another row's; pairs are the cases of both.
            seed: Of the resampling.

        Returns:
            For each of ``differences``: ``{"mean", "low", "high"}``.
        """
        return {name: self.ahead(name, ours, theirs, seed=seed)._asdict() for name in self.differences}


def over_seeds(numbers: Sequence[float]) -> dict[str, Any]:
    """``mean``, ``sd`` (divisor n - 1) and ``seeds``; mean and sd are NaN where a seed's number is."""
    summary = summarize(numbers)
    whole = summary.n_nan == 0
    return {"mean": summary.mean if whole else math.nan, "sd": summary.sd if whole else math.nan, "seeds": [*numbers]}


def gap_closed(method: Sequence[float], source: Sequence[float], oracle: Sequence[float]) -> dict[str, Any]:
    """Percent of the way from source-only to the oracle that a method goes, on the main measure.

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
