"""``evaluate``: a truth or a reviewer's corrections, never both, and one line per mistake."""

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from prostate_uda.cli import main
from prostate_uda.cli.apps import console


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command as the terminal has it, in this process."""

    def command(*arguments: object) -> Done:
        monkeypatch.setattr(console, "_width", 120)
        monkeypatch.setattr(sys, "argv", ["prostate-uda", "evaluate", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        told = capsys.readouterr()
        return Done(int(caught.value.code or 0), told.out, told.err)

    return command


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three predictions; one is corrected, one accepted, one rejected."""
    predicted, corrected = tmp_path / "predicted", tmp_path / "corrected"
    array = np.zeros((8, 8, 4), np.uint8)
    array[2:6, 1:3, 1:3], array[2:6, 3:6, 1:3] = 1, 2
    for folder, names in ((predicted, "abc"), (corrected, "a")):
        folder.mkdir()
        for name in names:
            changed = array.copy()
            changed[2:6, 0, 1] = folder == corrected
            nib.save(nib.Nifti1Image(changed, np.diag((1.0, 1.0, 3.0, 1.0))), folder / f"{name}_zones.nii.gz")
    rows = [
        {"case": case, "verdict": verdict} for case, verdict in zip("abc", ("correct", "accept", "reject"), strict=True)
    ]
    (corrected / "review.json").write_text(
        json.dumps({"format": "prostate-uda-review/1", "cases": rows}), encoding="utf-8"
    )
    return predicted, corrected


def test_corrections_in_the_terminal_and_in_a_table(run: Run, tmp_path: Path, folders: tuple[Path, Path]) -> None:
    done = run(folders[0], "--corrected", folders[1], "--out", tmp_path / "c.csv")
    assert done.returncode == 0, done.stderr
    assert "3 cases, 1 unchanged, 1 changed, 1 rejected, 0 waiting" in " ".join(done.stdout.split())
    assert "path mm" in done.stdout
    with (tmp_path / "c.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["outcome"] for row in rows] == ["changed", "unchanged", "rejected"]
    assert float(rows[0]["WP_apl_mm"]) == pytest.approx(4.0)


def test_a_tolerance_and_verdicts_from_elsewhere(run: Run, tmp_path: Path, folders: tuple[Path, Path]) -> None:
    verdicts = (folders[1] / "review.json").rename(tmp_path / "mine.json")
    given = ("--verdicts", verdicts, "--tolerance", "1", "--out", tmp_path / "c.csv")
    done = run(folders[0], "--corrected", folders[1], *given)
    assert done.returncode == 0, done.stderr
    assert "0.0" in next(line for line in done.stdout.splitlines() if "changed" in line)
    with (tmp_path / "c.csv").open(encoding="utf-8", newline="") as file:
        assert [float(row["WP_apl_mm"] or -1) for row in csv.DictReader(file)] == [0.0, 0.0, -1.0]


def test_a_truth_as_before(run: Run, folders: tuple[Path, Path]) -> None:
    done = run(folders[0], folders[0])
    assert done.returncode == 0, done.stderr
    assert "100.0" in done.stdout


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ((), "give either"),
        (("LABELS", "--corrected", "MASKS"), "give either"),
        (("LABELS", "--verdicts", "x.json"), "--corrected"),
        (("LABELS", "--tolerance", "1"), "--corrected"),
        (("--corrected", "nowhere"), "nowhere does not exist"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    run: Run, folders: tuple[Path, Path], more: tuple[str, ...], told: str
) -> None:
    places = {"LABELS": folders[0], "MASKS": folders[1]}
    done = run(folders[0], *(places.get(one, one) for one in more))
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert told in line
