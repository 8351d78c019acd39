"""``review``: a finished run's target scans for a radiologist, and only what the run has read."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from prostate_uda.errors import CheckpointError, SettingsError
from prostate_uda.recipes import InferSettings, review
from prostate_uda.recipes.scan_names import KEPT

CPU = InferSettings(device="cpu")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def record(run: Path) -> dict:
    return json.loads((run / "run.json").read_text(encoding="utf-8"))


def change(run: Path, **changes: object) -> None:
    (run / "run.json").write_text(json.dumps({**record(run), **changes}), encoding="utf-8")


def test_its_test_cases_are_written_beside_it(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = review(run, settings=InferSettings(device="cpu", review=False))
    cases = sorted(record(run)["cases"]["target"]["test"])
    assert len(cases) == 2
    assert [path.name for path in done.labels] == [f"{case}_zones.nii.gz" for case in cases]
    assert done.report == run / "review" / "report.html"
    assert done.report.is_file()
    told = json.loads((run / "review" / "report.json").read_text(encoding="utf-8"))
    assert sorted(case["case"] for case in told["cases"]) == cases
    for case in cases:
        for kind in ("uncertainty", "probabilities"):
            assert (run / "review" / f"{case}_{kind}.nii.gz").is_file()
        mine = nib.load(run / "review" / f"{case}_zones.nii.gz")
        theirs = nib.load(run / "predictions" / "adapted" / f"{case}.nii.gz")
        assert np.array_equal(mine.affine, theirs.affine)
        assert np.array_equal(np.asarray(mine.dataobj), np.asarray(theirs.dataobj))
    assert all(path.read_bytes() == content for path, content in before.items())


def test_another_place(run: Path, tmp_path: Path) -> None:
    done = review(run, tmp_path / "elsewhere", CPU)
    assert done.report == tmp_path / "elsewhere" / "report.html"
    assert not (run / "review").exists()


def test_an_unfinished_run_is_refused(run: Path, tmp_path: Path) -> None:
    change(run, status="running")
    with pytest.raises(CheckpointError, match=r"not finished|no finished|unfinished|running") as caught:
        review(run, settings=CPU)
    assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError):
        review(tmp_path / "none", settings=CPU)
    assert not (run / "review").exists()


def test_an_image_that_has_changed_is_refused(run: Path) -> None:
    hashes = record(run)["hashes"]
    (name,) = [name for name in hashes if name.startswith("target/test/") and name.endswith("00/image")][:1]
    change(run, hashes={**hashes, name: "0" * 64})
    with pytest.raises(SettingsError) as caught:
        review(run, settings=CPU)
    assert "\n" not in str(caught.value)
    assert not (run / "review" / KEPT).exists()


def test_a_run_without_its_bundle_is_refused(run: Path) -> None:
    shutil.rmtree(run / "bundle")
    with pytest.raises(CheckpointError):
        review(run, settings=CPU)
    assert not (run / "review").exists()
