"""Floor 5: the runs of a comparison are carried out: what is done is left, what was begun is gone on with."""

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from prostate_uda.engines.observers import Progress
from prostate_uda.recipes.comparison.grid import ORACLE, Run
from prostate_uda.recipes.comparison.launchers import Job, Launcher
from prostate_uda.recipes.record import Record, read_json
from prostate_uda.recipes.settings import FREE, AdaptSettings

POLL_SECONDS = 0.1
WORDLESS = "it ended without a word, killed perhaps for want of memory or time; the same command goes on with it"


def is_done(folder: Path) -> bool:
    """Whether a finished run lies there.

    Raises:
        CheckpointError: its record is damaged.
    """
    return (folder / "run.json").exists() and read_json(folder / "run.json").get("status") == "done"


def finished_runs(comparison: Path) -> list[Path]:
    """Folders of a comparison's finished runs, ``runs/<protocol>/seed-<n>/<row>``, in the order of their names."""
    records = sorted((comparison / "runs").glob("*/seed-*/*/run.json"))
    return [record.parent for record in records if is_done(record.parent)]


def check_same_settings(runs: Sequence[Run], root: Path) -> None:
    """Refuse to mix runs of other settings into a table.

    Where a run started from decides nothing, nor where the oracle's list lies: it is below the comparison's folder.

    Raises:
        SettingsError: a run was made with other settings; the message says which.
        CheckpointError: its record is damaged.
    """
    for run in runs:
        path = root / run.folder / "run.json"
        if path.exists():
            free = FREE | {"start_from"} | ({"data_list"} if run.row == ORACLE else set())
            Record.made_with(path, run.settings.record(), free, AdaptSettings().record())


def carry_out(
    runs: Sequence[Run], root: Path, complaints: Path, launcher: Launcher, progress: Progress
) -> dict[str, str]:
    """Do what is not done yet.

    Args:
        runs: Those that others start from before them.
        root: Folder of the runs' folders.
        complaints: Folder for what went wrong.
        launcher: How runs are started.
        progress: Is told of every run.

    Returns:
        Folder of a run that failed to the line that says why.
    """
    waiting = [run for run in runs if not is_done(root / run.folder)]
    going: dict[str, tuple[Run, Job]] = {}
    failed: dict[str, str] = {}
    with progress.task("runs", len(runs), len(runs) - len(waiting)) as bar:
        try:
            while waiting or going:
                for run in startable(waiting, going)[: launcher.room - len(going)]:
                    progress.note(run.title)
                    waiting.remove(run)
                    complaint = _complaint(complaints, run)
                    complaint.unlink(missing_ok=True)
                    job = launcher.start(_with_start(run, root), root / run.folder, complaint)
                    going[run.folder] = run, job
                for run in [run for run, job in going.values() if job.done()]:
                    del going[run.folder]
                    bar.advance()
                    if not is_done(root / run.folder):
                        failed[run.folder] = _why(_complaint(complaints, run))
                        progress.note(f"failed: {run.title}: {failed[run.folder]}")
                if going:
                    time.sleep(POLL_SECONDS)
        finally:
            launcher.stop()
    return failed


def startable(waiting: Sequence[Run], going: Collection[str]) -> list[Run]:
    """The waiting runs that wait for no other; ``going`` holds the folders of those under way."""
    unfinished = {*going, *(run.folder for run in waiting)}
    return [run for run in waiting if not unfinished & {*run.after}]


def _with_start(run: Run, root: Path) -> AdaptSettings:
    """The run's settings with where it starts from: where it did when it was begun, else the first there is.

    All give the same source network, predictor and pseudo-labels, bit for bit on a CPU: each is a function of the
    settings. So a run whose predecessors failed makes its own.
    """
    if (root / run.folder / "run.json").exists():
        start = read_json(root / run.folder / "run.json")["settings"].get("start_from")
        if start is None or (Path(start) / "run.json").exists():
            return replace(run.settings, start_from=None if start is None else Path(start))
    begun = (root / folder for folder in run.after if (root / folder / "run.json").exists())
    return replace(run.settings, start_from=next(begun, None))


def _complaint(folder: Path, run: Run) -> Path:
    return folder / f"{run.folder.replace('/', '-')}.txt"


def _why(complaint: Path) -> str:
    return complaint.read_text(encoding="utf-8").partition("\n")[0] if complaint.exists() else WORDLESS
