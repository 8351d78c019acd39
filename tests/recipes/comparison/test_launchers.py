"""A cluster that refuses a job: submitit's own Slurm executor, with an ``sbatch`` that says no."""

from pathlib import Path

import pytest

from prostate_uda.engines.observers import Silent
from prostate_uda.errors import SettingsError
from prostate_uda.recipes import AdaptSettings
from prostate_uda.recipes.comparison.grid import CompareSettings, Variant, plan
from prostate_uda.recipes.comparison.launchers import Cluster
from prostate_uda.recipes.comparison.queue import carry_out

RUNS = plan(CompareSettings(common=AdaptSettings(), variants=(Variant("dmlc", "dmlc"),), seeds=(0, 1)))
REFUSED = "slurm refuses the job: sbatch: error: invalid partition; mend --slurm, or use --launcher local"


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Before all others in ``PATH``; a Slurm is found there whose queue is always empty."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    for name in ("srun", "sacct", "scancel"):
        program(folder / name, "exit 0")
    return folder


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_the_first_job_refused_is_one_line(bin_folder: Path, tmp_path: Path) -> None:
    program(bin_folder / "sbatch", "printf 'sbatch: error:\\ninvalid partition\\n' >&2; exit 1")
    cluster = Cluster(tmp_path / "jobs", {"slurm_partition": "none"})
    with pytest.raises(SettingsError) as refused:
        carry_out(RUNS, tmp_path / "runs", tmp_path / "complaints", cluster, Silent())
    assert str(refused.value) == REFUSED


def test_a_later_one_is_a_run_that_failed(bin_folder: Path, tmp_path: Path) -> None:
    count = tmp_path / "count"
    refuse = "printf 'sbatch: error:\\ninvalid partition\\n' >&2; exit 1"
    program(bin_folder / "sbatch", f"echo x >> {count}; test $(wc -l < {count}) = 1 || {{ {refuse}; }}; echo job 7")
    cluster = Cluster(tmp_path / "jobs", {})
    first, later = (run for run in RUNS if run.protocol == "paper" and run.row == "source-only")
    cluster.start(first.settings, tmp_path / "runs" / first.folder, tmp_path / "complaints" / "first.txt")
    failed = carry_out([later], tmp_path / "runs", tmp_path / "complaints", cluster, Silent())
    assert failed == {later.folder: REFUSED}
