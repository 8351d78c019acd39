"""``compare`` from end to end on a tiny phantom: what it leaves, what it does not do twice, and what stops it."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from prostate_uda.cli import app
from prostate_uda.cli.comparing import read_variants
from prostate_uda.errors import SettingsError
from prostate_uda.methods import METHODS, SelfTraining
from prostate_uda.methods.base import Losses, State
from prostate_uda.recipes import AdaptSettings, CompareSettings, compare, every_method
from prostate_uda.recipes.compare import JOBS
from prostate_uda.recipes.comparison.launchers import Cluster, Here, Job, Processes
from prostate_uda.recipes.record import claimed
from tests.recipes.conftest import TINY

COMMON = AdaptSettings(**{**TINY, "method": "source-only"})


def settings(methods: str, **changes: object) -> CompareSettings:
    given = {"common": COMMON, "variants": read_variants(methods), "seeds": (0,), "protocols": ("paper",), **changes}
    return CompareSettings(**given)


class Watched(Here):
    """Remembers which runs were begun."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []

    def start(self, settings: AdaptSettings, out: Path, complaint: Path) -> Job:
        self.begun.append(out.name)
        return super().start(settings, out, complaint)


@dataclass(frozen=True, kw_only=True)
class Newcomer(SelfTraining):
    """A method of this test: one class, one line in ``METHODS``; or one that breaks in its second step."""

    breaks: bool = False

    def step(self, state: State, source: object, target: object) -> Losses:
        if self.breaks and state.step == 1:
            raise ArithmeticError("nothing left\nto divide")
        return super().step(state, source, target)


@pytest.fixture(scope="module")
def compared(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished comparison."""
    out = tmp_path_factory.mktemp("compared") / "cmp"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROSTATE_UDA_CACHE", str(cache))
        watched = Watched()
        compare(settings("dmlc"), out, launcher=watched, command="prostate-uda compare …")
    assert watched.begun == ["source-only", "dmlc", "oracle"]
    return out


def record(out: Path, row: str) -> dict:
    return json.loads((out / "runs" / "paper" / "seed-0" / row / "run.json").read_text(encoding="utf-8"))


def weights(out: Path, row: str, stage: str) -> dict[str, torch.Tensor]:
    path = out / "runs" / "paper" / "seed-0" / row / "checkpoints" / f"{stage}.pt"
    return torch.load(path, weights_only=True)["state"]["network"]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_table_is_that_of_its_runs(compared: Path) -> None:
    table = json.loads((compared / "table.json").read_text(encoding="utf-8"))
    assert {"command", "source", "target", "seeds", "protocols"} <= table.keys()
    rows = table["protocols"]["paper"]
    assert list(rows) == ["source-only", "dmlc", "oracle"]
    for row in rows:
        with (compared / "runs" / "paper" / "seed-0" / row / "cases.csv").open() as file:
            cases = [case for case in csv.DictReader(file) if case["stage"] == "adapted"]
        assert len(cases) == TINY["phantom_test"]
        errors = [abs(float(case["WP_mL"]) - float(case["WP_true_mL"])) for case in cases]
        assert rows[row]["volume_error_mL"]["mean"] == pytest.approx(sum(errors) / len(errors), abs=1e-4)
        assert rows[row]["PZ"]["seeds"][0] == pytest.approx(100 * record(compared, row)["results"]["adapted"]["PZ"])
        assert {"mean", "sd"} <= rows[row]["HD95"].keys() & rows[row]["gap_closed"].keys()
    assert {f"table.{end}" for end in ("json", "csv", "md", "tex", "html")} <= {
        path.name for path in compared.iterdir()
    }
    assert not [path for path in compared.rglob("*") if "partial" in path.name]


def test_all_start_from_one_source_network_and_the_oracle_from_the_targets_labels(compared: Path) -> None:
    assert same(weights(compared, "dmlc", "source"), weights(compared, "source-only", "source"))
    source, dmlc, oracle = (record(compared, row) for row in ("source-only", "dmlc", "oracle"))
    assert dmlc["settings"]["start_from"] == str(compared / "runs" / "paper" / "seed-0" / "source-only")
    for one in (dmlc, oracle):
        assert one["cases"]["target"] == source["cases"]["target"]
    labels = {name for name in oracle["hashes"] if name.startswith("source/train/") and name.endswith("/label")}
    assert labels == {f"source/train/{case}/label" for case in source["cases"]["target"]["train"]}
    assert not any(name.startswith("target/train/") and name.endswith("/label") for name in dmlc["hashes"])


@pytest.mark.slow
def test_a_table_is_the_same_with_shared_pseudo_labels_and_without(compared: Path, tmp_path: Path) -> None:
    tables, times = [], []
    for shared in (True, False):
        out = Path(shutil.copytree(compared, tmp_path / f"shared-{shared}"))
        runs = out / "runs" / "paper" / "seed-0"
        if not shared:
            shutil.rmtree(runs / "dmlc" / "pseudo_labels")
        tables.append(compare(settings("dmlc,self-training"), out)["protocols"])
        times.append({path.stat().st_mtime_ns for path in runs.glob("self-training/pseudo_labels/round_1/*")})
    theirs = {path.stat().st_mtime_ns for path in compared.rglob("dmlc/pseudo_labels/round_1/*")}
    assert times[0] == theirs
    assert len(times[1]) == TINY["phantom_train"] + 1
    assert not times[1] & theirs
    assert "self-training" in tables[0]["paper"]
    assert repr(tables[0]) == repr(tables[1])  # NaN is not equal to itself


def test_a_new_method_is_compared_and_one_that_breaks_stops_no_other(
    compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A longer list does what is missing; a broken run is told in a line, and done when it is mended."""
    compared = shutil.copytree(compared, tmp_path / "cmp")
    monkeypatch.setitem(METHODS, "newcomer", Newcomer)
    assert "newcomer" in [variant.name for variant in every_method()]
    watched = Watched()
    longer = settings("newcomer?breaks=true,dmlc,newcomer,metacorrection")
    table = compare(longer, compared, launcher=watched)
    assert watched.begun == ["metacorrection", "newcomer,breaks=true", "newcomer"]
    folder = "paper/seed-0/newcomer,breaks=true"
    assert table["failed"] == {folder: "ArithmeticError: nothing left to divide"}
    assert list(table["protocols"]["paper"])[:2] == ["source-only", "dmlc"]
    told = (compared / "table.md").read_text(encoding="utf-8")
    assert "| newcomer | " in told
    assert "| newcomer?breaks=true | - | - |" in told
    (complaint,) = (compared / "complaints").iterdir()
    assert "Traceback" in complaint.read_text(encoding="utf-8")
    assert record(compared, "metacorrection")["settings"]["start_from"].endswith("dmlc")
    assert same(weights(compared, "metacorrection", "predictor"), weights(compared, "dmlc", "predictor"))
    given = command(compared, "--methods=newcomer?breaks=true,dmlc,newcomer,metacorrection")[3:]
    by_hand = CliRunner().invoke(app, given)
    assert by_hand.exit_code == 3
    assert f"failed: {folder}: ArithmeticError: nothing left to divide" in by_hand.output
    monkeypatch.setattr(Newcomer, "step", SelfTraining.step)
    again = Watched()
    assert compare(longer, compared, launcher=again)["failed"] == {}
    assert again.begun == ["newcomer,breaks=true"]
    assert same(weights(compared, "newcomer,breaks=true", "round_1"), weights(compared, "newcomer", "round_1"))
    assert not [*(compared / "complaints").iterdir()]


def test_other_settings_and_other_company_are_refused(compared: Path, tmp_path: Path) -> None:
    before = (compared / "table.json").read_bytes()
    other = settings("dmlc", common=replace(COMMON, batch_size=3))
    with pytest.raises(SettingsError, match="batch_size was 2 and is 3"):
        compare(other, compared)
    with claimed(compared), pytest.raises(SettingsError, match="another process is working"):
        compare(settings("dmlc"), compared)
    assert (compared / "table.json").read_bytes() == before
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SettingsError, match="in use by something else"):
        compare(settings("dmlc"), tmp_path)


def command(out: Path, *more: str) -> list[str]:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    own = ["--methods=dmlc", "--seeds=0", "--protocols=paper", f"--out={out}", *more]
    return [sys.executable, "-m", "prostate_uda", "compare", *own, *flags]


def kill_when(process: subprocess.Popen[bytes], begun: Path) -> None:
    deadline = time.monotonic() + 240
    while not begun.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the comparison ended before it could be killed"


@pytest.mark.slow
def test_kill_minus_nine_and_rerun_does_what_is_missing(compared: Path, tmp_path: Path, cache: Path) -> None:
    out = tmp_path / "cmp"
    process = subprocess.Popen(command(out), env={**os.environ, "PROSTATE_UDA_CACHE": str(cache)})
    kill_when(process, out / "runs" / "paper" / "seed-0" / "dmlc" / "checkpoints" / "predictor.pt")
    assert record(out, "source-only")["status"] == "done"
    assert record(out, "dmlc")["status"] == "running"
    assert not (out / "table.json").exists()
    watched = Watched()
    table = compare(settings("dmlc"), out, launcher=watched)
    assert watched.begun == ["dmlc", "oracle"]
    assert same(weights(out, "dmlc", "round_1"), weights(compared, "dmlc", "round_1"))
    assert table["failed"] == {}
    assert (out / "table.tex").read_bytes()


@pytest.mark.slow
def test_two_jobs_give_the_same_bits(compared: Path, tmp_path: Path) -> None:
    out = tmp_path / "cmp"
    assert compare(settings("dmlc"), out, launcher=Processes(2))["failed"] == {}
    for row, stage in (("dmlc", "round_1"), ("oracle", "source")):
        assert same(weights(out, row, stage), weights(compared, row, stage))


@pytest.mark.slow
def test_runs_end_with_the_one_that_began_them(tmp_path: Path, cache: Path) -> None:
    """Else they would hold their folders against the same command given again."""
    out = tmp_path / "cmp"
    endless = [*command(out, "--jobs=2"), "--source-steps=1000000"]
    process = subprocess.Popen(endless, env={**os.environ, "PROSTATE_UDA_CACHE": str(cache)})
    kill_when(process, out / "runs" / "paper" / "seed-0" / "oracle" / "checkpoints" / "source.pt")
    deadline = time.monotonic() + 20
    held = [out / "runs" / "paper" / "seed-0" / row for row in ("source-only", "oracle")]
    while held and time.monotonic() < deadline:
        time.sleep(0.1)
        try:
            with claimed(held[-1]):
                held.pop()
        except SettingsError:
            continue
    assert not held


@pytest.mark.slow
def test_a_run_that_is_killed_takes_no_other_with_it(tmp_path: Path) -> None:
    class Murderous(Processes):
        def start(self, settings: AdaptSettings, out: Path, complaint: Path) -> Job:
            job = super().start(settings, out, complaint)
            if out.name == "oracle":
                job.process.kill()  # type: ignore[attr-defined]
            return job

    table = compare(settings("source-only"), tmp_path / "cmp", launcher=Murderous(2))
    assert [*table["failed"]] == ["paper/seed-0/oracle"]
    assert "ended without a word" in table["failed"]["paper/seed-0/oracle"]
    assert record(tmp_path / "cmp", "source-only")["status"] == "done"


@pytest.mark.slow
def test_jobs_of_a_cluster_by_submitits_local_executor(compared: Path, tmp_path: Path) -> None:
    out = tmp_path / "cmp"
    cluster = Cluster(out / JOBS, {"timeout_min": 5}, jobs=2, name="local")
    table = compare(settings("dmlc"), out, launcher=cluster)
    assert table["failed"] == {}
    assert same(weights(out, "dmlc", "round_1"), weights(compared, "dmlc", "round_1"))
    assert list(table["protocols"]["paper"]) == ["source-only", "dmlc", "oracle"]
