"""``infer`` again into the same folder: what is kept with ``resume``, what is done anew, and what is replaced."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from prostate_uda.errors import SettingsError
from prostate_uda.recipes import InferSettings, infer
from prostate_uda.recipes.scan_names import KEPT
from tests.conftest import MakeSeries
from tests.recipes.test_infer_many import LABELS, good
from tests.recipes.test_infer_results import blobs, content, finding, rows


@pytest.fixture(scope="module")
def bundle(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finding(finished / "bundle", tmp_path_factory.mktemp("bundles") / "bundle")


def stamps(out: Path, names: Sequence[str]) -> list[int]:
    return [(out / f"{name}_zones.nii.gz").stat().st_mtime_ns for name in names]


def test_resuming_keeps_what_is_done_and_does_the_rest(bundle: Path, tmp_path: Path) -> None:
    scans, out = [good(tmp_path / f"{name}.nii.gz", seed) for seed, name in enumerate("abc")], tmp_path / "out"
    again = replace(LABELS, resume=True)
    infer(scans[:2], bundle, out, again)
    before = stamps(out, "ab")
    done = infer(scans, bundle, out, again)
    assert stamps(out, "ab") == before
    assert len(done.labels) == len(rows(out)) == 3
    good(scans[1], 9)  # another scan of that name
    (out / "c_zones.nii.gz").unlink()
    infer(scans, bundle, out, again)
    after = stamps(out, "abc")
    assert after[0] == before[0]
    assert after[1] > before[1]
    (out / KEPT / "a.json").write_text("{", encoding="utf-8")
    infer(scans, bundle, out, again)
    assert stamps(out, "a")[0] > before[0]
    assert stamps(out, "bc") == after[1:]


def test_results_within_the_scan_s_folder_are_refused(bundle: Path, tmp_path: Path, make_series: MakeSeries) -> None:
    """A DICOM SEG there would be a second series of the scan."""
    make_series(tmp_path / "study" / "t2", blobs((96, 96, 5)))
    for out in (tmp_path / "study", tmp_path / "study" / "out"):
        with pytest.raises(SettingsError, match="lies in the scan"):
            infer([tmp_path / "study"], bundle, out, LABELS)
    assert not (tmp_path / "study" / "out").exists()


def test_other_settings_are_done_again(bundle: Path, tmp_path: Path) -> None:
    scan, out, again = good(tmp_path / "a.nii.gz"), tmp_path / "out", replace(LABELS, resume=True)
    before = 0
    for settings in (again, replace(again, keep_largest=True), replace(again, review=True), again):
        infer([scan], bundle, out, settings)
        assert stamps(out, "a")[0] > before
        (before,) = stamps(out, "a")
    infer([scan], bundle, out, replace(again, batch_size=1))
    assert stamps(out, "a") == [before]


def test_another_bundle_is_done_again(bundle: Path, finished: Path, tmp_path: Path) -> None:
    scan, out, again = good(tmp_path / "a.nii.gz"), tmp_path / "out", replace(LABELS, resume=True)
    infer([scan], bundle, out, again)
    before = stamps(out, "a")
    infer([scan], finished, out, again)
    assert stamps(out, "a") > before
    assert not nib.load(out / "a_zones.nii.gz").get_fdata().any()


def test_without_resume_everything_is_replaced(bundle: Path, tmp_path: Path) -> None:
    scan, out = good(tmp_path / "a.nii.gz"), tmp_path / "out"
    infer([scan], bundle, out, LABELS)
    before = stamps(out, "a")
    shutil.copy(out / "a_zones.nii.gz", tmp_path / "kept.nii.gz")
    infer([scan], bundle, out, LABELS)
    assert stamps(out, "a") > before
    assert np.array_equal(nib.load(out / "a_zones.nii.gz").get_fdata(), nib.load(tmp_path / "kept.nii.gz").get_fdata())
    left = [path for path in out.rglob("*") if "partial" in path.name or path.name.startswith(".")]
    assert sorted(path.name for path in left) == [KEPT, ".lock"]


def test_a_psa_given_when_resuming_is_taken(bundle: Path, tmp_path: Path) -> None:
    scan, out = good(tmp_path / "a.nii.gz"), tmp_path / "out"
    infer([scan], bundle, out, LABELS)
    infer([scan], bundle, out, replace(LABELS, resume=True, psa="6"))
    assert rows(out)[0]["psa"] == "6.0"


def test_a_label_of_other_settings_is_not_taken_for_a_finished_result(bundle: Path, tmp_path: Path) -> None:
    """The call between was cut short after its first file: a folder stands where its second one goes."""
    scan, out, plain = good(tmp_path / "a.nii.gz"), tmp_path / "out", InferSettings(device="cpu")
    infer([scan], bundle, out, plain)
    label = nib.load(out / "a_zones.nii.gz").get_fdata()
    (out / "a_uncertainty.nii.gz").unlink()
    (out / "a_uncertainty.nii.gz").mkdir()
    with pytest.raises(SettingsError, match="cannot be written"):
        infer([scan], bundle, out, replace(plain, keep_largest=True, tz_inside=True))
    (out / "a_uncertainty.nii.gz").rmdir()
    infer([scan], bundle, out, replace(plain, resume=True))
    assert np.array_equal(nib.load(out / "a_zones.nii.gz").get_fdata(), label)
    assert (out / "a_uncertainty.nii.gz").is_file()


def test_a_scan_that_was_mended_is_no_failure_any_more(bundle: Path, tmp_path: Path) -> None:
    fine, bad, out = good(tmp_path / "a.nii.gz"), tmp_path / "b.nii.gz", tmp_path / "out"
    bad.write_bytes(b"no volume")
    assert list(infer([fine, bad], bundle, out, LABELS).failures) == ["b"]
    good(bad, 1)
    done = infer([fine, bad], bundle, out, replace(LABELS, resume=True))
    assert dict(done.failures) == {}
    assert not (out / "failures.csv").exists()
    assert content(out)["failures"] == []
    assert {row["case"] for row in rows(out)} == {"a", "b"}
