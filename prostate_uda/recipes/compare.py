"""Floor 5: ``compare``, told from top to bottom.

the grid of runs → what is done is left, what was begun is gone on with, what is missing is run → the table of all.

A run trains the source network of its protocol and seed, the others start from it, and an oracle is trained on the
target's own labels. Every run is one of ``adapt``; everything is on disk, so a comparison that was killed, or is given
more methods or seeds, does what is missing and nothing else.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prostate_uda.engines.observers import Progress, Silent
from prostate_uda.errors import SettingsError
from prostate_uda.recipes.comparison.ceiling import ceilings
from prostate_uda.recipes.comparison.grid import CompareSettings, Variant, every_method, plan
from prostate_uda.recipes.comparison.launchers import Cluster, Here, Launcher, Processes
from prostate_uda.recipes.comparison.queue import carry_out, check_same_settings
from prostate_uda.recipes.comparison.table import make_table
from prostate_uda.recipes.comparison.texts import write_tables
from prostate_uda.recipes.identities import check_run
from prostate_uda.recipes.leftovers import sweep
from prostate_uda.recipes.record import claimed
from prostate_uda.recipes.settings import AdaptSettings
from prostate_uda.recipes.world import splits

RUNS, COMPLAINTS, LISTS, JOBS = "runs", "complaints", "lists", "jobs"
"""Folders of a comparison: its runs, why some failed, who oracles learn from, a cluster's scripts and logs."""


def compare(
    settings: CompareSettings,
    out: Path,
    *,
    launcher: Launcher | None = None,
    command: str = "prostate_uda.recipes.compare",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run, or go on with, every method on every seed under every protocol, and write the table of what came out.

    Args:
        settings: What is compared.
        out: Folder of the comparison: ``table.json``, ``.csv``, ``.md``, ``.tex``, ``.html`` and ``runs/``.
        launcher: How runs are started; by default one after the other in this process.
        command: What is written down as the origin of the table.
        progress: Is told how far it is.

    Returns:
        What ``table.json`` holds, NaN where that has null; ``failed`` names the runs that could not be finished, and
        why.

    Raises:
        SettingsError: ``out`` is in use, or holds runs of other settings; a case or a path is named after a patient.
        DataError: a domain cannot be used.
    """
    progress, given, out = progress or Silent(), out, out.resolve()
    _check_place(out)
    _check_names(settings.common, (given, out))
    highest = ceilings(settings, out / LISTS)
    runs = plan(settings, {seed: ceiling.settings for seed, ceiling in highest.items()})
    check_same_settings(runs, out / RUNS)
    with claimed(out):
        for folder in (out, out / LISTS):
            sweep(folder, deep=False)
        for ceiling in highest.values():
            if ceiling.listed is not None and ceiling.settings.data_list is not None:
                ceiling.listed.write(ceiling.settings.data_list)
        failed = carry_out(runs, out / RUNS, out / COMPLAINTS, launcher or Here(progress), progress)
        table = {"command": command, **make_table(settings, runs, out / RUNS), "failed": failed}
        write_tables(out, table)
    return table


def _check_place(out: Path) -> None:
    """Refuse a folder that holds something else.

    Raises:
        SettingsError: so it is.
    """
    ours = out.is_dir() and ((out / RUNS).is_dir() or all(_is_ours(path.name) for path in out.iterdir()))
    if out.exists() and not ours:
        raise SettingsError(f"{out} is in use by something else than a comparison; give another --out")


def _check_names(common: AdaptSettings, told: Sequence[Path]) -> None:
    """Refuse names of patients before a list or table tells them; phantoms and pictures have none.

    Raises:
        SettingsError: there is one.
        DataError: a domain cannot be used.
    """
    if common.task == "zones" and not (common.on_phantoms or common.keep_identifiers):
        source, target, _ = splits(common)
        check_run(common, (source, target), told)


def _is_ours(name: str) -> bool:
    return name.startswith(".") or name in (COMPLAINTS, LISTS, JOBS)


def pick_launcher(name: str, jobs: int | None, options: dict[str, Any], out: Path, progress: Progress) -> Launcher:
    """The launcher of that name.

    Args:
        name: ``local`` or ``slurm``.
        jobs: Runs at once; by default one here, and on a cluster all that wait for no other.
        options: Of a cluster's jobs.
        out: Folder of the comparison.
        progress: Is told how far a run is that has this process for itself.

    Raises:
        SettingsError: another name, fewer than one job, or no such cluster.
    """
    if name not in ("local", "slurm") or (jobs is not None and jobs < 1):
        raise SettingsError(f"launcher {name!r}, {jobs} jobs; allowed are local or slurm, and 1 job or more")
    if options and name != "slurm":
        raise SettingsError("--slurm with --launcher local; say --launcher slurm, or leave it out")
    if name == "slurm":
        return Cluster(out.resolve() / JOBS, options, jobs=jobs)
    return Here(progress) if jobs in (None, 1) else Processes(jobs or 1)


__all__ = ["CompareSettings", "Variant", "compare", "every_method", "pick_launcher"]
