"""Floor 5: prostates: Dice of the zones, distances and volumes, each case's own; a seed's number is their mean."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from prostate_uda.metrics import Interval, paired_bootstrap, summarize
from prostate_uda.recipes.comparison.scoring import Cases, CaseScores, Measure, Scoring

COLUMNS = ("PZ", "TZ", "WP", "WP_pooled", "WP_hd95_mm", "WP_assd_mm", "WP_mL", "WP_true_mL")
"""What :data:`MEASURES` read of a case."""
MEAN = "mean"
"""Name of the mean of PZ, TZ and WP."""


@dataclass(frozen=True, kw_only=True)
class CaseMeasure(Measure):
    """A measure that every case has.

    Attributes:
        of: One case's number.
    """

    of: Callable[[CaseScores], float]


def _points(zone: str) -> Callable[[CaseScores], float]:
    return lambda row: 100 * row[zone]


def _volume_error(row: CaseScores) -> float:
    return abs(row["WP_mL"] - row["WP_true_mL"])


MEASURES: dict[str, CaseMeasure] = {
    "PZ": CaseMeasure(title="PZ", of=_points("PZ"), brief=True),
    "TZ": CaseMeasure(title="TZ", of=_points("TZ"), brief=True),
    "WP": CaseMeasure(title="WP", of=_points("WP"), brief=True),
    "WP_pooled": CaseMeasure(title="WP pooled", of=_points("WP_pooled")),
    MEAN: CaseMeasure(title="mean PZ TZ WP", of=lambda row: 100 * (row["PZ"] + row["TZ"] + row["WP"]) / 3),
    "HD95": CaseMeasure(title="HD95 mm", of=lambda row: row["WP_hd95_mm"], higher=False, brief=True),
    "ASSD": CaseMeasure(title="ASSD mm", of=lambda row: row["WP_assd_mm"], higher=False),
    "volume_error_mL": CaseMeasure(title="volume error mL", of=_volume_error, higher=False),
    "volume_error_percent": CaseMeasure(
        title="volume error %", of=lambda row: 100 * _volume_error(row) / (row["WP_true_mL"] or math.nan), higher=False
    ),
}
"""Of one case: Dice in points; distances and volumes of the whole prostate."""


class ZoneScoring(Scoring):
    """Of prostates; columns that are not there are NaN, since older runs have fewer."""

    columns = COLUMNS
    optional = frozenset(COLUMNS)
    measures = MEASURES
    main = MEAN
    differences = (MEAN, "WP")
    units = "Dice in points; HD95, ASSD and volume error of the whole prostate."
    main_told = "mean of PZ, TZ and WP"
    resampled = "the cases of all seeds"

    def of_cases(self, cases: Mapping[str, CaseScores]) -> dict[str, float]:
        """The mean over cases of every measure."""
        return {name: summarize([m.of(case) for case in cases.values()]).mean for name, m in MEASURES.items()}

    def ahead(self, measure: str, ours: Cases, theirs: Cases, *, seed: int) -> Interval:
        """The mean over scans; the differences of a scan that several seeds judged are averaged first."""
        of = MEASURES[measure].of
        ahead: dict[str, list[float]] = {}
        for key in ours:
            if key in theirs:
                ahead.setdefault(key[0], []).append(of(ours[key]) - of(theirs[key]))
        scans = [summarize(differences).mean for differences in ahead.values()]
        generator = torch.Generator().manual_seed(seed)
        return paired_bootstrap(scans, [0.0] * len(scans), generator=generator)


ZONES = ZoneScoring()
