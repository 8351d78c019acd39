"""Floor 5: which scores a comparison has, by what its source is of; those of prostates by names of their own."""

from prostate_uda.data.domains import get_domain
from prostate_uda.recipes.comparison.scene_scores import SceneScoring
from prostate_uda.recipes.comparison.scoring import Cases, CaseScores, Measure, Scoring, gap_closed, over_seeds
from prostate_uda.recipes.comparison.zone_scores import MEAN, MEASURES, ZONES

GAP = "gap_closed"
"""A column that every row has, beside the measures."""
read_cases, cells, difference = ZONES.read_cases, ZONES.cells, ZONES.difference


def scoring_of(source: str) -> Scoring:
    """How a comparison from that domain is scored.

    Raises:
        UnknownNameError: no such domain.
    """
    domain = get_domain(source)
    return SceneScoring(domain) if domain.task == "scenes" else ZONES


def units(scoring: Scoring) -> dict[str, str]:
    """Headline of every column."""
    return {name: measure.title for name, measure in scoring.measures.items()} | {GAP: "gap closed %"}


__all__ = [
    "GAP",
    "MEAN",
    "MEASURES",
    "ZONES",
    "CaseScores",
    "Cases",
    "Measure",
    "Scoring",
    "cells",
    "difference",
    "gap_closed",
    "over_seeds",
    "read_cases",
    "scoring_of",
    "units",
]
