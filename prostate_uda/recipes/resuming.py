"""Floor 5: going on with an earlier run, or starting from one: what has to be the same, and what is brought over."""

from collections.abc import Mapping
from pathlib import Path

import ignite.distributed as idist

from prostate_uda.engines import checkpoints
from prostate_uda.engines.stages import Workplace
from prostate_uda.errors import SettingsError
from prostate_uda.recipes.record import Record
from prostate_uda.recipes.settings import FREE, OWN, AdaptSettings
from prostate_uda.recipes.world import World


def check_out(out: Path, resume: bool) -> None:
    """Refuse a folder in use, and to resume where nothing has begun.

    Raises:
        SettingsError: so it is.
    """
    begun = (out / "run.json").exists()
    if resume and not begun:
        raise SettingsError(f"{out} holds no run to resume; leave out --resume to begin one")
    if (
        not resume
        and out.exists()
        and (not out.is_dir() or any(not path.name.startswith(".") for path in out.iterdir()))
    ):
        raise SettingsError(f"{out} is already in use; add --resume to go on with it, or give another --out")


def earlier_run(settings: AdaptSettings, out: Path, resume: bool) -> Record | None:
    """The record of the run that is taken up, once it and the run that is started from have these settings.

    Raises:
        CheckpointError: an earlier run is none.
        SettingsError: it was made with other settings, or is taken up by another number of processes.
    """
    if settings.start_from is not None:
        Record.made_with(settings.start_from / "run.json", settings.record(), OWN | FREE)
    if not resume:
        return None
    earlier = Record.made_with(out / "run.json", settings.record(), FREE)
    before, now = earlier.content.get("processes", 1), idist.get_world_size()
    if before != now and earlier.content.get("status") != "done":  # other batches would follow
        raise SettingsError(f"{earlier.path} was begun in {before} processes and this is {now}; start {before}")
    return earlier


def check_same_data(settings: AdaptSettings, world: World, before: Record | None) -> None:
    """Refuse to go on with other files than those that the earlier run read.

    Raises:
        SettingsError: a file has changed, come or gone; the message names it.
    """
    now = world.hashes()
    if before is not None:
        _compare(before, now, "")
    if settings.start_from is not None:
        earlier = Record.read(settings.start_from / "run.json")
        for part in ("source/", "target/train/"):
            _compare(earlier, now, part)


def _compare(earlier: Record, now: Mapping[str, str], part: str) -> None:
    before = earlier.content.get("hashes", {})
    names = sorted(name for name in {*before, *now} if name.startswith(part) and before.get(name) != now.get(name))
    if names:
        what = "is new" if names[0] not in before else "is gone" if names[0] not in now else "has changed"
        raise SettingsError(
            f"{earlier.path} was made from other files: {names[0]} {what} ({len(names)} in all); bring them back, or "
            "begin a new run"
        )


def bring_over(earlier: Path, place: Workplace) -> None:
    """Bring over what an earlier run has of the stages before the rounds."""
    for stage in ("source", "predictor"):
        theirs, ours = earlier / "checkpoints" / f"{stage}.pt", place.checkpoint(stage)
        if theirs.exists() and not ours.exists():
            checkpoints.save(ours, checkpoints.load(theirs))
