"""The command's side of data: prepare, doctor, data show."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from prostate_uda.recipes import make_phantom
from tests.test_cli import complaint, run

pytestmark = pytest.mark.slow  # each test starts Python anew


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom cohort in the Decathlon's layout."""
    return make_phantom("phantom-3t", tmp_path_factory.mktemp("scans") / "data", train=3, test=1)


def test_prepare_doctor_and_show(scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "prepared"
    done = run("prepare", "folder", str(scans), "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["status"], told["cases"], told["labelled"], told["test"]) == ("prepared", 4, 4, 1)
    again = run("prepare", "folder", str(scans), "--out", str(out))
    assert "nothing to do" in again.stdout
    healthy = run("doctor", str(out), "--json")
    assert healthy.returncode == 0, healthy.stdout
    assert json.loads(healthy.stdout)["healthy"] is True
    shown = run("data", "show", str(out), "--out", str(tmp_path / "sheet"), "--normalize", "zscore,minmax")
    assert shown.returncode == 0, shown.stderr
    paths = [Path(line) for line in shown.stdout.splitlines() if line.startswith("/")]
    assert [path.name for path in paths] == ["sheet.png", "sheet.html"]
    assert all(path.is_file() for path in paths)


def test_doctor_lists_everything_and_exits_with_2(scans: Path, tmp_path: Path) -> None:
    prepared = tmp_path / "sick"
    (prepared / "images").mkdir(parents=True)
    for source in sorted((scans / "imagesTr").glob("*.nii.gz")):
        (prepared / "images" / source.name).write_bytes(source.read_bytes())
    first, second, _ = sorted((prepared / "images").iterdir())
    first.write_bytes(first.read_bytes()[:2000])
    image = nibabel.load(second)
    nibabel.save(nibabel.Nifti1Image(np.full(image.shape, 7, np.float32), image.affine), second)
    done = run("doctor", str(prepared))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    record = json.loads(run("doctor", str(prepared), "--json").stdout)
    errors = [finding for finding in record["findings"] if finding["level"] == "error"]
    assert {finding["where"] for finding in errors} >= {path.name.removesuffix(".nii.gz") for path in (first, second)}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("doctor", "nowhere"), "neither a folder nor a domain"),
        (("doctor", "decathlon"), "--root"),
        (("doctor", "phantom-3t", "--role", "judge"), "source, target"),
        (("prepare", "nci-isbi13", "--half", "7t", "--out", "x"), "unknown half"),
        (("prepare", "cityscapes", "--root", "x"), "needs no preparing"),
        (("prepare", "decathlon", "--archive", "/nowhere.tar", "--out", "x"), "does not exist"),
        (("data", "show", "phantom-3t", "--normalize", "loud", "--out", "x"), "unknown normalization"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], reason: str) -> None:
    assert reason in complaint(run(*arguments))
    assert not Path("x").exists()
