"""``infer`` loses nothing of the user's: own reports, files beside results, corrections, and what was done already."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from prostate_uda.data.volumes import read_image
from prostate_uda.data.writing import write_label
from prostate_uda.errors import DataError, SettingsError
from prostate_uda.recipes import InferSettings, infer
from prostate_uda.recipes.record import read_json, write_json
from prostate_uda.recipes.scan_names import KEPT
from tests.conftest import MakeSeries
from tests.recipes.conftest import Heard
from tests.recipes.test_infer_many import LABELS, good
from tests.recipes.test_infer_results import blobs, content, finding, rows

REVIEW = InferSettings(device="cpu")


@pytest.fixture(scope="module")
def bundle(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finding(finished / "bundle", tmp_path_factory.mktemp("bundles") / "bundle")


@pytest.mark.parametrize("name", ["report.html", "report.csv", "report.json", "failures.csv", "itksnap_labels.txt"])
def test_a_report_of_the_user_s_own_is_kept(bundle: Path, tmp_path: Path, name: str) -> None:
    scan, mine = good(tmp_path / "scans" / "a.nii.gz"), tmp_path / "out" / name
    mine.parent.mkdir()
    mine.write_text("mine", encoding="utf-8")
    with pytest.raises(SettingsError, match="was not made by infer"):
        infer([scan], bundle, tmp_path / "out", LABELS)
    assert mine.read_text(encoding="utf-8") == "mine"


def test_a_file_that_came_later_under_a_result_s_name_is_kept(bundle: Path, tmp_path: Path) -> None:
    scan, out = good(tmp_path / "a.nii.gz"), tmp_path / "out"
    infer([scan], bundle, out, LABELS)
    for mine in (out / "a.dcm", out / "a_probabilities.nii.gz", out / "report_2024_final.html"):
        mine.write_bytes(b"mine")
    for settings in (LABELS, REVIEW):
        with pytest.raises(SettingsError, match="was not made by infer"):
            infer([scan], bundle, out, settings)
    (out / "a.dcm").unlink()
    (out / "a_probabilities.nii.gz").unlink()
    infer([scan], bundle, out, REVIEW)
    assert (out / "report_2024_final.html").read_bytes() == b"mine"


def test_a_correction_is_not_written_over(bundle: Path, tmp_path: Path) -> None:
    scan, out = good(tmp_path / "a.nii.gz"), tmp_path / "out"
    (label,) = infer([scan], bundle, out, LABELS).labels
    corrected = 2 * np.ones(nib.load(label).shape, np.uint8)
    write_label(label, corrected, read_image(scan))
    for settings in (LABELS, replace(LABELS, resume=True)):
        with pytest.raises(SettingsError, match="was changed since infer wrote it"):
            infer([scan], bundle, out, settings)
    assert np.array_equal(np.asarray(nib.load(label).dataobj), corrected)
    label.rename(tmp_path / "a.nii.gz.mine")
    assert infer([scan], bundle, out, LABELS).labels == (label,)


def test_another_scan_of_the_same_name_is_not_taken_for_it(bundle: Path, tmp_path: Path) -> None:
    one, other, out = good(tmp_path / "x" / "t2.nii.gz"), good(tmp_path / "y" / "t2.nii.gz", 1), tmp_path / "out"
    (label,) = infer([one], bundle, out, LABELS).labels
    before = label.read_bytes()
    with pytest.raises(SettingsError, match="is the result of"):
        infer([other], bundle, out, LABELS)
    assert label.read_bytes() == before


def test_the_page_of_the_others_stays_where_one_has_labels_only(bundle: Path, tmp_path: Path) -> None:
    one, other, out = good(tmp_path / "a.nii.gz"), good(tmp_path / "b.nii.gz", 1), tmp_path / "out"
    infer([one], bundle, out, REVIEW)
    infer([other], bundle, out, LABELS)
    assert '"a"' in (out / "report.html").read_text(encoding="utf-8")
    assert [row["case"] for row in sorted(rows(out), key=lambda row: row["case"])] == ["a", "b"]
    infer([one], bundle, out, LABELS)
    assert not (out / "a_uncertainty.nii.gz").exists()


def test_a_series_that_nothing_can_refer_to_is_segmented_all_the_same(
    bundle: Path, tmp_path: Path, make_series: MakeSeries
) -> None:
    pydicom = pytest.importorskip("pydicom")
    make_series(tmp_path / "study", blobs((96, 96, 5)))
    for file in (tmp_path / "study").iterdir():
        header = pydicom.dcmread(file)
        header.StudyInstanceUID = ""
        header.save_as(file)
    out, heard = tmp_path / "out", Heard()
    for _ in range(2):
        found = infer([tmp_path / "study"], bundle, out, REVIEW, progress=heard)
        assert found.failures == {}
        assert (out / "study_zones.nii.gz").is_file()
        assert not (out / "study.dcm").exists()
    (case,) = content(out)["cases"]
    assert any("There is no DICOM SEG" in text for code, text in case["flags"] if code == "scan")
    assert any("There is no DICOM SEG" in note for note in heard.notes)


def test_an_only_scan_that_fails_leaves_what_it_had(bundle: Path, tmp_path: Path) -> None:
    scan, out = good(tmp_path / "a.nii.gz"), tmp_path / "out"
    (label,) = infer([scan], bundle, out, LABELS).labels
    before, record = label.read_bytes(), read_json(out / KEPT / "a.json")
    scan.write_bytes(b"no volume")
    with pytest.raises(DataError):
        infer([scan], bundle, out, LABELS)
    assert label.read_bytes() == before
    assert read_json(out / KEPT / "a.json") == record
    with pytest.raises(DataError):
        infer([scan], bundle, tmp_path / "new", LABELS)
    assert [path.name for path in (tmp_path / "new").iterdir()] == [KEPT]


def test_a_damaged_record_does_not_stop_the_report(bundle: Path, tmp_path: Path) -> None:
    one, other, out = good(tmp_path / "a.nii.gz"), good(tmp_path / "b.nii.gz", 1), tmp_path / "out"
    infer([one], bundle, out, LABELS)
    (out / KEPT / "a.json").write_text("{", encoding="utf-8")
    infer([other], bundle, out, LABELS)
    assert [row["case"] for row in rows(out)] == ["b"]
    assert content(out)["failures"][0]["failure"].startswith("its record is damaged")


def test_every_case_says_what_made_it(bundle: Path, finished: Path, tmp_path: Path) -> None:
    one, other, out = good(tmp_path / "a.nii.gz"), good(tmp_path / "b.nii.gz", 1), tmp_path / "out"
    infer([one], bundle, out, REVIEW)
    infer([other], finished, out, replace(REVIEW, tz_inside=True))
    made = {case["case"]: case for case in content(out)["cases"]}
    assert made["a"]["bundle"]["weights"] != made["b"]["bundle"]["weights"]
    assert (made["a"]["settings"]["tz_inside"], made["b"]["settings"]["tz_inside"]) == (False, True)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert all(case["bundle"]["weights"] in page for case in made.values())


def test_resuming_does_not_ask_for_the_same_machine(bundle: Path, tmp_path: Path) -> None:
    scan, out = good(tmp_path / "a.nii.gz"), tmp_path / "out"
    (label,) = infer([scan], bundle, out, LABELS).labels
    record = read_json(out / KEPT / "a.json")
    assert not {"platform", "python"} & set(record["made_with"]["versions"])
    write_json(out / KEPT / "a.json", record)
    before = label.stat().st_mtime_ns
    infer([scan], bundle, out, replace(LABELS, resume=True))
    assert label.stat().st_mtime_ns == before


def test_a_header_of_more_voxels_than_memory_is_a_failure(bundle: Path, tmp_path: Path) -> None:
    fine, huge = good(tmp_path / "a.nii.gz"), tmp_path / "b.nii"
    header = nib.Nifti1Header()
    header.set_data_shape((30000, 30000, 30000))
    header.set_data_dtype(np.float64)
    huge.write_bytes(header.binaryblock + bytes(8))
    found = infer([fine, huge], bundle, tmp_path / "out", LABELS)
    assert list(found.failures) == ["b"]


def test_volumes_beside_a_folder_of_images_are_not_left_out_unsaid(bundle: Path, tmp_path: Path) -> None:
    good(tmp_path / "scans" / "a.nii.gz")
    good(tmp_path / "scans" / "images" / "b.nii.gz")
    with pytest.raises(DataError, match="beside images"):
        infer([tmp_path / "scans"], bundle, tmp_path / "out", LABELS)
    (tmp_path / "scans" / "a.nii.gz").unlink()
    assert [path.name for path in infer([tmp_path / "scans"], bundle, tmp_path / "out", LABELS).labels] == [
        "b_zones.nii.gz"
    ]
