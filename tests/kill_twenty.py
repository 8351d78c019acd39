"""Kills ``adapt`` and ``compare`` with -9 at random moments, goes on with each, and compares with runs left alone.

    python -m tests.kill_twenty [--kills 20] [--seed 0] [--only adapt]
        [--out benchmarks/results/kills.json]

Each command runs once on an empty cache and once on a full one, uninterrupted: that is how long it takes. Then, for
every kill, it is begun in a folder of its own, its whole process group is killed, and it is gone on with until it ends;
half of those gone on with are killed again. Every other moment is drawn evenly over the time that the command takes,
the others shortly after a stage has begun, also on a machine that slows down. What must be the same as in the run
that was left alone: every tensor of every network, cases and tables but for times and paths, every label map. Every
file must be readable, and nothing may be left that is named as something temporary.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from prostate_uda.recipes.comparison.queue import is_done
from prostate_uda.recipes.record import read_json, versions, write_json
from tests.recipes.conftest import TINY
from tests.same_runs import differences, orphans, unreadable

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "kills.json"
COLD_EVERY = 3
"""Every third run begins with an empty cache: phantoms are generated and preprocessed in it."""
PATIENCE_S = 900
STAGES = (
    "run.json",
    "checkpoints/source.pt",
    "checkpoints/predictor.pt",
    "pseudo_labels/round_1/*",
    "checkpoints/round_1.pt",
    "predictions/*/*",
    "pictures/*",
    ".bundle*",
)
"""The first file of each stage."""
SHORTLY = 0.04
"""Share of the command's time: the longest delay after a stage has begun."""


@dataclass(frozen=True)
class Command:
    """A command that is killed.

    Attributes:
        name: Of the recipe.
        flags: Beside ``--out``.
        resumes: Whether going on is asked for with ``--resume``.
    """

    name: str
    flags: tuple[str, ...]
    resumes: bool

    def line(self, out: Path) -> list[str]:
        """As typed, the first time or again."""
        again = ["--resume"] if self.resumes and (out / "run.json").exists() else []
        return [sys.executable, "-m", "prostate_uda", self.name, *self.flags, f"--out={out}", *again]


SHARED = tuple(f"--{name.replace('_', '-')}={value}" for name, value in TINY.items())
COMMANDS = (
    Command("adapt", SHARED, resumes=True),
    Command(
        "compare",
        ("--methods=source-only,dmlc", "--seeds=0", "--protocols=paper", "--jobs=2", *SHARED),
        resumes=False,
    ),
)


@dataclass
class Case:
    """What came of one run that was killed: when, where it was then, and all that is wrong at the end."""

    command: str
    cold: bool
    killed: list[str] = field(default_factory=list)
    found_at: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """Where one command works, and on which cache."""

    out: Path
    cache: Path

    def environment(self) -> dict[str, str]:
        """One thread, so that bits are the same."""
        return {**os.environ, "PROSTATE_UDA_CACHE": str(self.cache), "OMP_NUM_THREADS": "1"}


def left_alone(command: Command, place: Place) -> float:
    """Seconds of a run that nobody disturbs.

    Raises:
        RuntimeError: it failed.
    """
    start = time.monotonic()
    done = subprocess.run(
        command.line(place.out), env=place.environment(), capture_output=True, encoding="utf-8", timeout=PATIENCE_S
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command.name} ended with {done.returncode}: {(done.stderr or done.stdout)[-2000:]}")
    return time.monotonic() - start


def killed(command: Command, place: Place, after_s: float, stage: str = "") -> bool:
    """Begin, or go on; kill the process and its children some seconds after a file of the stage is there.

    Returns:
        False where it had ended before.
    """
    process = subprocess.Popen(
        command.line(place.out),
        env=place.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while stage and process.poll() is None and not begun(place.out, stage):
            time.sleep(0.01)
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def begun(out: Path, first: str) -> bool:
    """Whether there is such a file in the folder, at any depth."""
    with suppress(FileNotFoundError):  # what is written there changes its name meanwhile
        return any(out.rglob(first))
    return False


def where(out: Path) -> str:
    """What a run, or a comparison's runs, were at, by what they left."""
    if not (out / "runs").is_dir():
        return stage(out)
    runs = sorted(path for path in out.glob("runs/*/seed-*/*") if path.is_dir())
    done = [run for run in runs if is_done(run)]
    rest = [f"{run.name} in {stage(run)}" for run in runs if run not in done]
    return f"{len(done)} runs done" + "".join(f", {told}" for told in rest)


def stage(run: Path) -> str:
    """What one run was at."""
    if not (run / "run.json").exists():
        return "start"
    record = read_json(run / "run.json")
    done = [
        name for name in ("source_training", "domain_predictor", "round_1", "evaluation") if name in record["timing"]
    ]
    named = ("source training", "domain predictor", "round 1", "evaluation", "bundle")[len(done)]
    if named == "round 1" and not (run / "checkpoints" / "round_1.pt").exists():
        return "pseudo-labels and first steps"
    return "end" if record["status"] == "done" else named


def trial(command: Command, place: Place, reference: Path, seconds: float, drawn: random.Random) -> Case:
    """One run, killed at least once, gone on with, and judged."""
    case = Case(command.name, not place.cache.exists())
    while not case.killed or drawn.random() < 0.5:
        first = drawn.choice(STAGES) if drawn.random() < 0.5 else ""
        waits = bool(first) and not begun(place.out, first)
        after = drawn.uniform(0, SHORTLY * seconds if waits else seconds)
        if not killed(command, place, after, first if waits else ""):
            if case.killed:
                break
            return case  # it was faster than thought: no kill, and the caller draws again
        case.killed.append(f"{after:.2f} s after {first if waits else 'the start'}")
        case.found_at.append(where(place.out))
    try:
        left_alone(command, place)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        case.wrong.append(f"not resumed: {error}")
        return case
    case.wrong += [f"differs: {what}" for what in differences(reference, place.out)]
    case.wrong += [f"unreadable: {what}" for what in unreadable(place.out)]
    case.wrong += [f"left behind: {what}" for what in orphans(place.out)]
    return case


def campaign(
    command: Command, kills: int, seed: int, work: Path, keep: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """All trials of one command, until so many runs have been killed; what is known is kept after each."""
    drawn, warm = random.Random(f"{command.name} {seed}"), work / "cache"
    reference = work / "reference"
    cold_s = left_alone(command, Place(reference, warm))
    warm_s = left_alone(command, Place(work / "again", warm))
    wrong = differences(reference, work / "again") + unreadable(reference) + orphans(reference)
    say(f"{command.name}: {cold_s:.1f} s on an empty cache, {warm_s:.1f} s after that")
    cases: list[Case] = []

    def known(cases: list[Case]) -> dict[str, Any]:
        alone = {"empty cache": round(cold_s, 1), "full cache": round(warm_s, 1)}
        return {**summary(command, cases), "seconds_alone": alone, "uninterrupted_twice": wrong or "the same"}

    for number in range(3 * kills):
        if len(cases) == kills:
            break
        cold = len(cases) % COLD_EVERY == 0
        place = Place(work / f"killed-{number}", work / f"cache-{number}" if cold else warm)
        case = trial(command, place, reference, cold_s if cold else warm_s, drawn)
        if case.killed:
            cases.append(case)
            told = "; ".join(f"{at} ({found})" for at, found in zip(case.killed, case.found_at, strict=True))
            say(f"{len(cases):3} {told}: {', '.join(case.wrong) or 'the same'}")
            keep(known(cases))
    return known(cases)


def summary(command: Command, cases: list[Case]) -> dict[str, Any]:
    """What came of the trials."""
    return {
        "command": " ".join(["prostate-uda", command.name, *command.flags]),
        "runs": len(cases),
        "kills": sum(len(case.killed) for case in cases),
        "same": sum(not case.wrong for case in cases),
        "found_at": dict(Counter(found for case in cases for found in case.found_at)),
        "cases": [asdict(case) for case in cases],
    }


def say(line: str) -> None:
    """At once: a campaign takes minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Kill, compare, write, print; 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="runs of each command that are killed, once or more")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--only", choices=[command.name for command in COMMANDS], help="one of the commands")
    parser.add_argument("--work", type=Path, help="folder that keeps all runs (default: a temporary one)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    chosen = [command for command in COMMANDS if given.only in (None, command.name)]
    told = {"made_by": " ".join(["python -m tests.kill_twenty", *sys.argv[1:]]), "seed": given.seed}
    found: dict[str, Any] = read_json(given.out) if given.only and given.out.exists() else {}

    def keep(name: str, one: dict[str, Any]) -> None:
        found[name] = {**told, **one, "versions": versions()}
        write_json(given.out, found)

    with tempfile.TemporaryDirectory() as temporary:
        for command in chosen:
            work = (given.work or Path(temporary)) / command.name
            keep(command.name, campaign(command, given.kills, given.seed, work, partial(keep, command.name)))
    done = [found[command.name] for command in chosen]
    for one in done:
        say(f"{one['command'].split()[1]}: {one['runs']} runs killed {one['kills']} times, {one['same']} the same")
    return int(any(one["same"] < one["runs"] or one["uninterrupted_twice"] != "the same" for one in done))


if __name__ == "__main__":
    sys.exit(main())
