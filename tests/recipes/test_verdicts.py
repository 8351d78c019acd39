"""What the page of a review writes is what ``evaluate --corrected`` reads."""

import json
from importlib.resources import files
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from prostate_uda.errors import CheckpointError, DataError
from prostate_uda.recipes.corrections import CorrectionSettings, corrections
from prostate_uda.recipes.verdicts import FORMAT, find_verdicts, outdated_by, read_verdicts
from tests.recipes.conftest import Heard


def write_json(path: Path, *rows: dict[str, str]) -> Path:
    path.write_text(json.dumps({"format": f"{FORMAT}1", "cases": rows}), encoding="utf-8")
    return path


@pytest.fixture
def predicted(tmp_path: Path) -> Path:
    """Cases a to d as ``infer`` leaves them: a and b with a page, c without one, d without a record."""
    folder = tmp_path / "predicted"
    (folder / ".cases").mkdir(parents=True)
    label = np.zeros((8, 8, 4), np.uint8)
    label[2:6, 1:3, 1:3], label[2:6, 3:6, 1:3] = 1, 2
    for case in "abcd":
        nib.save(nib.Nifti1Image(label, np.diag((1.0, 1.0, 3.0, 1.0))), folder / f"{case}_zones.nii.gz")
    for case, page in (("a", {"digest": "new a"}), ("b", {"digest": "new b"}), ("c", None)):
        (folder / ".cases" / f"{case}.json").write_text(json.dumps({"case": case, "page": page}), encoding="utf-8")
    (tmp_path / "corrected").mkdir()
    return folder


def test_the_format_is_the_pages() -> None:
    store = files("prostate_uda.review").joinpath("templates/store.js").read_text(encoding="utf-8")
    assert f'const FORMAT = "{FORMAT}' in store
    assert "cases:" in store


@pytest.mark.parametrize(("cell", "case"), [("'=a", "=a"), ("'-a", "-a"), ("'a", "'a"), ("a'=", "a'=")])
def test_a_guarded_cell_of_the_csv_is_read_as_it_was(tmp_path: Path, cell: str, case: str) -> None:
    (tmp_path / "review.csv").write_text(f'case,verdict\r\n"{cell}",accept\r\n', encoding="utf-8", newline="")
    assert list(read_verdicts(tmp_path / "review.csv")) == [case]


def test_a_case_that_nobody_looked_at_is_left_out(tmp_path: Path) -> None:
    rows = '[{"case": "a", "verdict": null}, {"case": "b", "verdict": "reject"}]'
    text = f'{{"format": "{FORMAT}1", "cases": {rows}}}'
    (tmp_path / "review.json").write_text(text, encoding="utf-8")
    assert {case: one.verdict for case, one in read_verdicts(tmp_path / "review.json").items()} == {"b": "reject"}


def test_json_is_guarded_by_nobody(tmp_path: Path) -> None:
    path = write_json(tmp_path / "review.json", {"case": "'=a", "verdict": "accept", "comment": "'-x"})
    assert {case: one.comment for case, one in read_verdicts(path).items()} == {"'=a": "'-x"}


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_verdict_on_other_contours_is_left_out(tmp_path: Path, predicted: Path, elsewhere: bool) -> None:
    place = tmp_path / ("elsewhere.json" if elsewhere else "corrected/review.json")
    digests = {"a": "old a", "b": "new b", "c": "any", "d": "any"}
    rows = [{"case": case, "verdict": "accept", "digest": digest} for case, digest in digests.items()]
    write_json(place, *rows)
    heard = Heard()
    settings = CorrectionSettings(verdicts=place if elsewhere else None)
    found = corrections(predicted, tmp_path / "corrected", settings, progress=heard)
    assert [(row["case"], row["outcome"]) for row in found.rows] == [(case, "unchanged") for case in "bcd"]
    assert "digest" not in found.rows[0]
    told = [note for note in heard.notes if "look at these again" in note]
    assert told == [
        "warning: 1 verdicts are on other contours than those there now and not counted; look at these again: a"
    ]


def test_a_mask_is_compared_though_its_verdict_is_left_out(tmp_path: Path, predicted: Path) -> None:
    mask = nib.load(predicted / "a_zones.nii.gz")
    nib.save(mask, tmp_path / "corrected" / "a.nii.gz")
    write_json(tmp_path / "corrected" / "review.json", {"case": "a", "verdict": "reject", "digest": "old a"})
    (row,) = corrections(predicted, tmp_path / "corrected").rows
    assert (row["outcome"], row["verdict"]) == ("unchanged", "")


def test_an_outdated_verdict_gives_way(tmp_path: Path, predicted: Path) -> None:
    folder = tmp_path / "corrected"
    write_json(folder / "1.json", {"case": "a", "verdict": "reject", "digest": "old a"})
    (folder / "2.csv").write_text("case,verdict,digest\na,accept,new a\n", encoding="utf-8")
    write_json(folder / "3.json", {"case": "a", "verdict": "correct", "digest": "older a"})
    assert find_verdicts(folder, outdated_by(predicted))["a"].verdict == "accept"
    write_json(folder / "4.json", {"case": "a", "verdict": "correct", "digest": "new a"})
    with pytest.raises(DataError, match=r"2\.csv and .*4\.json say different of 'a'"):
        find_verdicts(folder, outdated_by(predicted))


def test_a_damaged_record_is_one_line(tmp_path: Path, predicted: Path) -> None:
    (predicted / ".cases" / "a.json").write_text("{", encoding="utf-8")
    write_json(tmp_path / "corrected" / "r.json", {"case": "a", "verdict": "accept", "digest": "new a"})
    with pytest.raises(CheckpointError, match=r"a\.json cannot be read"):
        corrections(predicted, tmp_path / "corrected")
