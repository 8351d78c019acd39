"""``adapt`` in two processes: who reads, who writes, and what happens where one cannot go on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ignite.distributed as idist
import nibabel
import pytest
import torch

from prostate_uda.data.domains import Case
from prostate_uda.engines import checkpoints
from prostate_uda.engines.observers import Silent
from prostate_uda.errors import DataError, ProstateUDAError, SettingsError
from prostate_uda.recipes import AdaptSettings, adapt, make_phantom
from prostate_uda.recipes.adapt import Bench
from prostate_uda.recipes.processes import is_first, own_share, processes, shares, together
from prostate_uda.recipes.resuming import check_shared
from prostate_uda.recipes.zone_world import open_zones
from tests.recipes.conftest import TINY

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def adapt_command(out: Path, **changes: object) -> list[str]:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in {**TINY, **changes}.items()]
    return [*TORCHRUN, "prostate_uda", "adapt", f"--out={out}", *flags]


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, encoding="utf-8", timeout=240)


def test_no_patient_is_in_two_shares() -> None:
    names = ["a", "b_0000", "c", "b_truth", "A", "d"]
    parts = shares([Case(id=name, image=Path(name)) for name in names], 3)
    assert [[case.id for case in part] for part in parts] == [["a", "A", "d"], ["b_0000", "b_truth"], ["c"]]


@pytest.mark.slow
def test_two_processes_share_the_world_and_their_mistakes(tmp_path: Path) -> None:
    done = run([*TORCHRUN, "tests.recipes.test_adapt_processes", str(tmp_path)])
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"{number}.json").read_text()) for number in (0, 1))
    for role in ("source", "target"):
        assert not {*first[role]} & {*second[role]}
        assert {*first[role], *second[role]} == {*first["all"][role]["train"]}
        assert {len(first[role]), len(second[role])} == {1, 2}
    assert first["all"] == second["all"]
    assert {*first["batch"]} <= {*first["source"]}
    assert {*second["batch"]} <= {*second["source"]}
    assert first["numbers"] != second["numbers"]
    assert first["mistake"] == "ElsewhereError: process 1: scan 7 is torn"
    assert second["mistake"] == "DataError: scan 7 is torn"
    assert first["odd batch"] == second["odd batch"]
    assert "multiple of 2" in first["odd batch"]
    for kind in ("another", "none"):
        assert "processes 0 and 1 find different files" in first[kind]
        assert "round_1.pt" in second[kind]
        assert "in a folder that all processes share" in second[kind]
    assert first["the same"] == second["the same"] == "gone on"


def in_one_of_two(folder: Path) -> None:
    """What each process of the test above finds."""
    settings = AdaptSettings(**{**TINY, "batch_size": 4})
    with processes("cpu") as device:
        world = open_zones(settings, Silent())
        stream = Bench(settings, None, world).stream("source", world.source)  # type: ignore[arg-type]
        found = {role: sorted({*getattr(world, role).cases}) for role in ("source", "target")}
        found |= {"all": world.case_ids(), "batch": stream.at(0).cases, "numbers": stream._drawn(0)}
        try:
            with together():
                if not is_first():
                    raise DataError("scan 7 is torn")
        except ProstateUDAError as error:
            found["mistake"] = f"{type(error).__name__}: {error}"
        try:
            own_share(3)
        except SettingsError as error:
            found["odd batch"] = str(error)
        for kind in ("the same", "another", "none"):
            found[kind] = gone_on(folder / kind / str(idist.get_rank()), kind)
        assert device == torch.device("cpu")
        (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(found))


def gone_on(disk: Path, kind: str) -> str:
    """Whether processes with a disk each go on from the checkpoints that lie there."""
    steps = {"the same": 100, "another": 100 - 50 * idist.get_rank(), "none": None if idist.get_rank() else 100}
    disk.mkdir(parents=True)
    if steps[kind] is not None:
        checkpoints.save(disk / "round_1.pt", {"state": {"step": steps[kind]}, "stage": "round_1"})
    try:
        check_shared(disk, "*.pt")
    except SettingsError as error:
        return str(error)
    return "gone on"


@pytest.fixture(scope="module")
def finished_in_two(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run in two processes, and what it printed."""
    out = tmp_path_factory.mktemp("runs") / "two"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROSTATE_UDA_CACHE", str(cache))
        done = run(adapt_command(out))
    assert done.returncode == 0, done.stderr
    return out, done.stdout


@pytest.mark.slow
def test_two_processes_count_volumes_and_confusion_together(finished: Path, tmp_path: Path) -> None:
    """From one source network: the same thresholds as one process, and nearly its NTM (slices are augmented anew)."""
    changes = {"method": "recommended", "augment": "plain", "start_from": finished}
    done = run(adapt_command(tmp_path / "two", **changes))
    assert done.returncode == 0, done.stderr
    adapt(AdaptSettings(**{**TINY, **changes}), tmp_path / "one")
    starts, thresholds = [], []
    for name in ("one", "two"):
        folder = tmp_path / name
        state = torch.load(folder / "checkpoints" / "round_1.pt", weights_only=True)["state"]
        starts.append(state["tensors"]["ntm_start"])
        thresholds.append(json.loads((folder / "pseudo_labels" / "round_1" / "thresholds.json").read_text()))
    assert thresholds[0]["thresholds"] == pytest.approx(thresholds[1]["thresholds"], abs=1e-6)
    assert thresholds[0]["predicted"] == pytest.approx(thresholds[1]["predicted"])
    torch.testing.assert_close(*starts, atol=0.25, rtol=0)


@pytest.mark.slow
def test_one_process_writes_and_speaks(finished_in_two: tuple[Path, str]) -> None:
    out, said = finished_in_two
    record = json.loads((out / "run.json").read_text())
    assert (record["status"], record["processes"]) == ("done", 2)
    for stage, steps in (("source", 6), ("predictor", 4), ("round_1", 4)):
        lines = [json.loads(line)["step"] for line in (out / "logs" / f"{stage}.jsonl").read_text().splitlines()]
        assert lines == list(range(1, steps + 1))
    labels = sorted((out / "pseudo_labels" / "round_1").glob("*.nii.gz"))
    assert [path.name for path in labels] == [f"{case}.nii.gz" for case in record["cases"]["target"]["train"]]
    assert all(nibabel.load(path).shape for path in labels)
    assert not [path for path in out.rglob("*") if "partial" in path.name]
    for told in ("source training", "round 1: metacorrection", "evaluation on the source", "run.json, cases.csv"):
        assert said.count(told) == 1


@pytest.mark.slow
def test_two_killed_processes_resume_to_the_same_bits(finished_in_two: tuple[Path, str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    with subprocess.Popen(
        adapt_command(out), cwd=ROOT, env=environment(), start_new_session=True, stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 240
        while not (out / "checkpoints" / "predictor.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        workers = children(process.pid)
        for number in (process.pid, *workers):
            os.kill(number, signal.SIGKILL)
    assert len(workers) == 2
    assert json.loads((out / "run.json").read_text())["status"] == "running"
    with pytest.raises(SettingsError, match="begun in 2 processes and this is 1"):
        adapt(AdaptSettings(**TINY), out, resume=True)
    done = run([*adapt_command(out), "--resume"])
    assert done.returncode == 0, done.stderr
    one, other = (
        torch.load(path / "checkpoints" / "round_1.pt", weights_only=True)["state"]["network"]
        for path in (out, finished_in_two[0])
    )
    assert all(torch.equal(one[name], other[name]) for name in other)


def children(parent: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


@pytest.mark.slow
def test_a_torn_scan_of_the_second_process_stops_both_with_one_line(tmp_path: Path) -> None:
    root = make_phantom("phantom-3t", tmp_path / "data", train=3, test=1)
    victim = sorted((root / "imagesTr").glob("*.nii.gz"))[1]
    victim.write_bytes(victim.read_bytes()[:2000])
    done = run(adapt_command(tmp_path / "run", source_root=root))
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert victim.name in line
    assert "exitcode  : 2" in done.stderr  # of the first; torchrun may end the other before it ends itself
    assert not (tmp_path / "run").exists()


if __name__ == "__main__":
    in_one_of_two(Path(sys.argv[1]))
