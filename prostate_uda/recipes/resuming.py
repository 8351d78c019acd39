"""Floor 5: going on with an earlier run, or starting from one: what has to be the same, and what is brought over."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist

from prostate_uda.data.cache import content_hash
from prostate_uda.data.domains import Case
from prostate_uda.engines import checkpoints
from prostate_uda.engines.stages import Workplace
from prostate_uda.errors import SettingsError
from prostate_uda.methods import Method
from prostate_uda.recipes.labelling import THRESHOLDS, recorded_rule, round_rule
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
    now, defaults = settings.record(), AdaptSettings().record()
    if settings.start_from is not None:
        Record.made_with(settings.start_from / "run.json", now, OWN | FREE, defaults)
    if not resume:
        return None
    earlier = Record.made_with(out / "run.json", now, FREE, defaults)
    begun, count = earlier.content.get("processes", 1), idist.get_world_size()
    if begun != count and earlier.content.get("status") != "done":  # other batches would follow
        raise SettingsError(f"{earlier.path} was begun in {begun} processes and this is {count}; start {begun}")
    return earlier


def check_shared(folder: Path, pattern: str) -> None:
    """Refuse to go on where the processes find different files: each would train from another step.

    Args:
        folder: The same path in all processes; it may be missing.
        pattern: Of the names in it that count.

    Raises:
        SettingsError: a process finds other files than the first one; all raise the same.
    """
    if idist.get_world_size() == 1:
        return
    found = idist.all_gather({path.name: content_hash(path) for path in folder.glob(pattern)})
    for number, theirs in enumerate(found):
        names = sorted(name for name in {*found[0], *theirs} if found[0].get(name) != theirs.get(name))
        if names:
            raise SettingsError(
                f"processes 0 and {number} find different files at {folder / names[0]}, or one of them none; give an "
                "--out in a folder that all processes share"
            )


def check_same_data(settings: AdaptSettings, world: World[Any, Any], before: Record | None) -> None:
    """Refuse to go on with other files than those that the earlier run read.

    Raises:
        SettingsError: a file has changed, come or gone; the message names it.
    """
    now = world.hashes()
    if before is not None:
        check_same_files(before, now, "")
    if settings.start_from is not None:
        earlier = Record.read(settings.start_from / "run.json")
        for part in ("source/", "target/train/"):
            check_same_files(earlier, now, part)


def check_same_files(earlier: Record, now: Mapping[str, str], part: str) -> None:
    """Refuse files that are not those that an earlier run read.

    Args:
        earlier: Its record.
        now: Hashes by name, as :meth:`World.hashes` has them.
        part: What the names that count begin with.

    Raises:
        SettingsError: one has changed, come or gone; the message names it.
    """
    before = earlier.content.get("hashes", {})
    names = sorted(name for name in {*before, *now} if name.startswith(part) and before.get(name) != now.get(name))
    if names:
        what = "is new" if names[0] not in before else "is gone" if names[0] not in now else "has changed"
        raise SettingsError(
            f"{earlier.path} was made from other files: {names[0]} {what} ({len(names)} in all); bring them back, or "
            "begin a new run"
        )


def first_rule(settings: AdaptSettings) -> str | None:
    """The rule of the first round's pseudo-labels, or None where the method needs none."""
    needed = "pseudo_labels" in settings.build_method().needs
    return round_rule(settings, 1) if needed else None


def bring_over(earlier: Path, place: Workplace, settings: AdaptSettings, cases: Sequence[Case]) -> None:
    """Bring over what an earlier run has of the stages before the rounds, and of the first round's pseudo-labels.

    Labels of another rule stay where they are, as does the network of a warm-up that made them.

    Args:
        earlier: Its folder.
        place: Of this run; is told.
        settings: Of this run.
        cases: Who is labelled; labels that are not all there stay, too.

    Raises:
        CheckpointError: a file of the earlier run cannot be read.
    """
    rule, stages = first_rule(settings), ["source", "predictor"]
    labels = earlier / "pseudo_labels" / "round_1"
    if settings.before_rounds is not None and (labels / THRESHOLDS).exists() and recorded_rule(labels) == rule:
        stages.append("round_0")
    if rule is not None and not place.checkpoint("source").exists():  # else its network is its own
        _bring_labels(earlier, place, rule, [f"{case.id}{settings.kind.suffix}" for case in cases])
    for stage in stages:
        theirs, ours = earlier / "checkpoints" / f"{stage}.pt", place.checkpoint(stage)
        if theirs.exists() and not ours.exists():
            checkpoints.save(ours, checkpoints.load(theirs))


def _bring_labels(earlier: Path, place: Workplace, rule: str, names: Sequence[str]) -> None:
    theirs, ours = (folder / "pseudo_labels" / "round_1" for folder in (earlier, place.folder))
    files = [theirs / THRESHOLDS, *(theirs / name for name in names)]
    made_by = earlier / "checkpoints" / "source.pt"
    if ours.exists() or not all(path.exists() for path in (made_by, *files)) or recorded_rule(theirs) != rule:
        return
    partial = ours.with_name(".round_1.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for path in files:
        shutil.copy2(path, partial)
    partial.rename(ours)
    place.progress.note(f"round 1's pseudo-labels are those of {earlier}")


def begin_anew(place: Workplace, stages: Mapping[str, Method]) -> None:
    """Lay aside what an older version of a stage's method wrote, and all that came of it: it cannot be gone on with.

    The settings are the same (:func:`earlier_run`), so a checkpoint of another method is one of another version. The
    outdated checkpoint goes last: where this is interrupted, the next call finds it and does the rest.

    Args:
        place: Of the run; is told.
        stages: The run's, in order, with their methods.
    """
    names, paths = list(stages), {name: place.checkpoint(name) for name in stages}
    written = {name: checkpoints.load(path, mmap=True).get("method") for name, path in paths.items() if path.exists()}
    outdated = [name for name, method in written.items() if method != repr(stages[name])]
    if not outdated:
        return
    place.progress.note(f"{outdated[0]} was begun by another version and begins anew; its checkpoint is kept as .older")
    first = names.index(outdated[0])
    for name in names[first + 1 :]:
        shutil.rmtree(place.folder / "pseudo_labels" / name, ignore_errors=True)
    for name in reversed(names[first:]):
        if name in written:
            paths[name].replace(paths[name].with_suffix(".older"))
