"""Floor 5: what ``table.json`` holds: the rows of each protocol, who is best, and by how much."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prostate_uda.errors import SettingsError
from prostate_uda.recipes.comparison.grid import ORACLE, SOURCE_ONLY, CompareSettings, Run, lent, row_order, shown
from prostate_uda.recipes.comparison.queue import is_done
from prostate_uda.recipes.comparison.scores import (
    GAP,
    ZONES,
    CaseScores,
    Scoring,
    gap_closed,
    scoring_of,
    units,
)
from prostate_uda.recipes.record import Record, versions

BESIDE = (SOURCE_ONLY, lent("strong"), "self-training", "recommended")
"""Rows that every row is measured against, where they are there."""
JUDGED = "target/test/"
"""Of a run's hashes, those of the cases that it was judged on."""
Row = Sequence[Mapping[str, CaseScores] | None]
"""The cases of each seed; None where its run is not done."""


def make_table(settings: CompareSettings, runs: Sequence[Run], root: Path) -> dict[str, Any]:
    """All figures of a comparison, from what its finished runs left.

    Args:
        settings: What was compared.
        runs: All of it.
        root: Folder of the runs' folders.

    Raises:
        SettingsError: rows of a seed were judged on different test cases.
        CheckpointError: what a run left is damaged.
    """
    protocols, scoring = {}, scoring_of(settings.common.source)
    for protocol in settings.protocols:
        mine = shown(settings, runs, protocol)
        found = {
            name: [_of_seed(mine, name, seed, root, scoring) for seed in settings.seeds]
            for name in row_order([*dict.fromkeys(name for name, _ in mine)])
        }
        scans = [_scans([run for _, run in mine], seed, root) for seed in settings.seeds]
        protocols[protocol] = protocol_table(found, scans, scoring)
    return {
        "source": settings.common.source,
        "target": settings.common.target,
        "seeds": [*settings.seeds],
        "protocols": {name: rows for name, (rows, _) in protocols.items()},
        "best": {name: best for name, (_, best) in protocols.items()},
        "units": units(scoring),
        "settings": settings.common.record(),
        "versions": versions(),
        **_labellers(settings),
    }


def _labellers(settings: CompareSettings) -> dict[str, Any]:
    """``pseudo_labels``: row to its method and whose labels it learns from; nothing where no row is to tell."""
    told = {row.name: {"method": row.method, "of": row.labeller} for row in settings.variants if row.labeller}
    return {"pseudo_labels": told} if told else {}


def _of_seed(
    runs: Sequence[tuple[str, Run]], row: str, seed: int, root: Path, scoring: Scoring
) -> dict[str, CaseScores] | None:
    (run,) = (run for name, run in runs if name == row and run.settings.seed == seed)
    return scoring.read_cases(root / run.folder) if is_done(root / run.folder) else None


def _scans(runs: Sequence[Run], seed: int, root: Path) -> dict[str, str]:
    """Of each test case of that seed the hash of its image, which the finished runs agree on.

    Raises:
        SettingsError: they were judged on different files.
    """
    first: tuple[Path, dict[str, str]] | None = None
    for folder in (root / run.folder for run in runs if run.settings.seed == seed and is_done(root / run.folder)):
        hashes = Record.read(folder / "run.json").content["hashes"]
        judged = {name.removeprefix(JUDGED): told for name, told in hashes.items() if name.startswith(JUDGED)}
        first = first or (folder, judged)
        names = sorted(name for name in {*judged, *first[1]} if judged.get(name) != first[1].get(name))
        if names:
            raise SettingsError(
                f"{first[0]} and {folder} were judged on different test cases: {names[0]} ({len(names)} files in all); "
                "bring the target's files back and delete the run that was made from others, or give another --out"
            )
    images = first[1].items() if first else ()
    return {name.removesuffix("/image"): told for name, told in images if name.endswith("/image")}


def protocol_table(
    found: Mapping[str, Row], scans: Sequence[Mapping[str, str]], scoring: Scoring = ZONES
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The rows of one protocol, and who is best.

    Args:
        found: Row to its cases of each seed.
        scans: Of each seed, case to the hash of its image; a case that is not there is a scan of its seed alone.
        scoring: Of what is segmented.

    Returns:
        Row to its cells, ``gap_closed`` and ``against``; and the best row by the main measure, the runner-up and the
        difference, or None where there are not two rows to tell apart. The oracle takes no part in that.
    """
    rows: dict[str, Any] = {name: scoring.cells(cases) for name, cases in found.items()}
    means = {name: row[scoring.main]["seeds"] for name, row in rows.items()}
    missing = [math.nan] * len(scans)
    paired = {
        name: {
            (hashes.get(case, f"{seed}/{case}"), seed, case): row
            for seed, (hashes, cases) in enumerate(zip(scans, of, strict=True))
            for case, row in (cases or {}).items()
        }
        for name, of in found.items()
    }
    for name, row in rows.items():
        row[GAP] = gap_closed(means[name], means[SOURCE_ONLY], means.get(ORACLE, missing))
        others = [other for other in BESIDE if other in rows and other != name]
        row["against"] = {other: scoring.difference(paired[name], paired[other]) for other in others}
    ranked = sorted(
        (name for name, row in rows.items() if name != ORACLE and not math.isnan(row[scoring.main]["mean"])),
        key=lambda name: -rows[name][scoring.main]["mean"],
    )
    if len(ranked) < 2:
        return rows, None
    first, second = ranked[:2]
    return rows, {"method": first, "runner_up": second, "difference": scoring.difference(paired[first], paired[second])}
