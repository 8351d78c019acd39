"""Floor 6: what a person sees in the terminal; with the CLI the only place that knows rich."""

from prostate_uda.display.comparisons import comparison_tables, rank_tables
from prostate_uda.display.progress import RichProgress
from prostate_uda.display.tables import corrections_table, findings_table, ntm_table, run_table, scores_table

__all__ = [
    "RichProgress",
    "comparison_tables",
    "corrections_table",
    "findings_table",
    "ntm_table",
    "rank_tables",
    "run_table",
    "scores_table",
]
