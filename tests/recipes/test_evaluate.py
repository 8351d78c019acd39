"""``evaluate``: pairs by name, and no case that goes missing without a word."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from prostate_uda.errors import DataError, SettingsError
from prostate_uda.recipes import evaluate
from tests.recipes.conftest import Heard


def label(path: Path, first: int = 1) -> None:
    """Two zones of 8 voxels each, 1 × 1 × 3 mm."""
    array = np.zeros((8, 8, 4), np.uint8)
    array[2:4, 2:4, 1:3], array[2:4, 5:7, 1:3] = first, 3 - first
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag((1.0, 1.0, 3.0, 1.0))), path)


def test_pairs_and_what_has_no_partner(tmp_path: Path) -> None:
    for name in ("a", "b_zones", "only"):
        label(tmp_path / "predicted" / f"{name}.nii.gz")
    for name in ("a", "b", "c", "d"):
        label(tmp_path / "true" / f"{name}.nii.gz")
    heard = Heard()
    rows, means = evaluate(tmp_path / "predicted", tmp_path / "true", progress=heard)
    assert [row["case"] for row in rows] == ["a", "b"]
    assert means["PZ"] == means["WP"] == 1.0
    assert any("2 labels without a prediction are not judged: c, d" in note for note in heard.notes)
    assert any("1 predictions without a label are not judged: only" in note for note in heard.notes)


def test_label_names(tmp_path: Path) -> None:
    label(tmp_path / "predicted" / "a.nii.gz")
    label(tmp_path / "true" / "a.nii.gz", first=2)
    _, straight = evaluate(tmp_path / "predicted", tmp_path / "true")
    _, named = evaluate(tmp_path / "predicted", tmp_path / "true", label_names="1=TZ,2=PZ")
    assert (straight["PZ"], named["PZ"]) == (0.0, 1.0)


def test_two_files_of_one_case_are_refused(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "a.nii"):
        label(tmp_path / "predicted" / name)
    label(tmp_path / "true" / "a.nii.gz")
    with pytest.raises(DataError, match="both of 'a'"):
        evaluate(tmp_path / "predicted", tmp_path / "true")


@pytest.mark.parametrize("out", ["nodir/cases.csv", "predicted", "true/a.nii.gz/cases.csv"])
def test_a_table_that_cannot_be_written_is_one_line_before_the_work(tmp_path: Path, out: str) -> None:
    for folder in ("predicted", "true"):
        label(tmp_path / folder / "a.nii.gz")
    (tmp_path / "true" / "b.nii.gz").write_bytes(b"would be told first")
    (tmp_path / "predicted" / "b.nii.gz").write_bytes(b"likewise")
    with pytest.raises(SettingsError, match="cannot be written"):
        evaluate(tmp_path / "predicted", tmp_path / "true", out=tmp_path / out)
    assert not [path for path in tmp_path.rglob("*") if "partial" in path.name]


def test_a_disk_that_takes_no_table_is_one_line(tmp_path: Path) -> None:
    """The kernel's own folder: nothing can be made there, whoever one is."""
    for folder in ("predicted", "true"):
        label(tmp_path / folder / "a.nii.gz")
    with pytest.raises(SettingsError, match="cannot be written"):
        evaluate(tmp_path / "predicted", tmp_path / "true", out=Path("/proc/cases.csv"))
