"""The challenge from folders: every known quirk is met, and what cannot be used is named."""

import json
from pathlib import Path

import numpy as np
import pytest

from prostate_uda.data.datalists import DataList
from prostate_uda.data.domains import get_domain
from prostate_uda.errors import DataError, ProstateUDAError, UnknownNameError
from prostate_uda.recipes.prepare import prepare_nci_isbi13
from tests.recipes.preparing.conftest import DX, GOOD, check_truth, uid, write_nrrd, zipped


def local(root: Path, **more):
    return prepare_nci_isbi13(root / "out", dicom=root / "dicom", segmentations=root / "labels", **more)


def remove_label(root: Path, case: str) -> Path:
    path = next((root / "labels").rglob(f"*{case}*"))
    path.unlink()
    return path


def test_from_folders_with_every_known_quirk(challenge, man):
    told = local(challenge)
    names = [DX.format(case) for case in GOOD]
    assert (told["status"], told["cases"], told["labelled"], told["test"]) == ("prepared", 8, 8, 2)
    check_truth(challenge / "out", man, names)
    assert sorted(told["repaired"]) == [DX.format(case) for case in ("01-0055", "01-0082", "01-0090")]
    assert "voxels of" in told["repaired"]["ProstateDx-01-0082"][0]
    assert told["repaired"]["ProstateDx-01-0090"][0].startswith("axes ")
    assert told["left_out"] == {}
    (warning,) = told["warnings"].pop("ProstateDx-01-0035")
    assert (
        "PatientID 'ProstateDx-01-0035' and PatientName 'ProstateDx-01-0036': taken for ProstateDx-01-0035" in warning
    )
    assert told["warnings"] == {}


def test_the_domain_reads_what_was_prepared(challenge):
    local(challenge)
    target = get_domain("nci-isbi13").cases(challenge / "out", role="target", seed=0)
    assert [case.id for case in target.test] == ["ProstateDx-02-0003", "ProstateDx-03-0002"]
    assert len(target.train) == 6
    found = get_domain("nci-isbi13").find(challenge / "out")
    listed = DataList.read(challenge / "out" / "data_lists" / "nci-isbi13.json")
    split = listed.apply(found, "target")
    assert [case.id for case in split.test] == [case.id for case in target.test]
    assert listed.parts["domain"].splits["test"][0].series == uid(6)


def test_labels_from_zips_on_disk(challenge, man, tmp_path):
    zips = tmp_path / "zips"
    zips.mkdir()
    for folder in (challenge / "labels").iterdir():
        (zips / f"{folder.name}.zip").write_bytes(zipped(folder))
    told = prepare_nci_isbi13(tmp_path / "out", dicom=challenge / "dicom", segmentations=zips)
    assert told["cases"] == 8
    assert not (tmp_path / "out" / "downloads").exists()
    told = prepare_nci_isbi13(tmp_path / "one", dicom=challenge / "dicom", segmentations=zips / "Test.zip")
    assert (told["cases"], len(told["left_out"])) == (1, 7)


def test_the_3t_half_and_both(challenge):
    told = local(challenge, half="3t")
    assert told["cases"] == 1
    assert (challenge / "out" / "imagesTr" / "Prostate3T-01-0001.nii.gz").is_file()
    assert len(get_domain("folder").find(challenge / "out").cases) == 1
    assert local(challenge, half="both")["cases"] == 9
    assert (challenge / "out" / "data_lists" / "folder.json").is_file()
    told = local(challenge)
    assert (told["cases"], told["reused"]) == (8, 8)
    assert not (challenge / "out" / "imagesTr" / "Prostate3T-01-0001.nii.gz").exists()
    with pytest.raises(UnknownNameError, match=r"unknown half '7t'; choose one of: 1\.5t, 3t, both"):
        local(challenge, half="7t")


def test_a_label_without_image_and_an_image_without_label(challenge):
    remove_label(challenge, "01-0001")
    for path in (challenge / "dicom" / "ProstateDx-02-0003").rglob("*.dcm"):
        path.unlink()
    told = local(challenge)
    assert told["left_out"] == {
        "ProstateDx-01-0001": "image without label: no case of the challenge; --unlabelled keeps it to adapt to",
        "ProstateDx-02-0003": "label without image: ProstateDx-02-0003_truth.nrrd",
    }
    told = local(challenge, unlabelled=True)
    assert (told["cases"], told["labelled"], sorted(told["left_out"])) == (7, 6, ["ProstateDx-02-0003"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda label: label * 0, "is empty: it holds background only"),
        (lambda label: np.where(label == 2, 4, label).astype(np.uint8), "unknown label value 4; allowed"),
    ],
)
def test_labels_that_say_nothing_or_something_else(challenge, man, change, reason):
    write_nrrd(remove_label(challenge, "01-0001"), change(man.label), man.affine)
    told = local(challenge)
    assert told["cases"] == 7
    assert reason in told["left_out"]["ProstateDx-01-0001"]
    assert "\n" not in told["left_out"]["ProstateDx-01-0001"]
    assert not list((challenge / "out").rglob("*01-0001*"))


def test_a_label_of_another_scan_is_left_out(challenge, man):
    moved = man.affine.copy()
    moved[2, 3] += 40
    write_nrrd(remove_label(challenge, "01-0001"), man.label, moved)
    assert "lies inside of its image, 99 % is needed" in local(challenge)["left_out"]["ProstateDx-01-0001"]


def test_exchanged_values_are_warned_of(challenge, man):
    write_nrrd(remove_label(challenge, "01-0001"), np.array([0, 2, 1], np.uint8)[man.label], man.affine)
    (warning,) = local(challenge)["warnings"]["ProstateDx-01-0001"]
    assert warning.startswith("PZ lies in front of TZ")


def test_a_corrected_label_goes_before_the_first_one(challenge, man):
    write_nrrd(challenge / "labels" / "Training" / "ProstateDx-01-0006.nrrd", man.label * 0, man.affine)
    told = local(challenge)
    assert told["left_out"] == {}
    report = json.loads((challenge / "out" / "prepare_report.json").read_text())
    assert report["cases"]["ProstateDx-01-0006"]["source"]["label"].endswith("_correctedLabels.nrrd")


def test_two_labels_of_one_case(challenge, man):
    write_nrrd(challenge / "labels" / "again" / "ProstateDx-01-0001.nrrd", man.label * 0, man.affine)
    with pytest.raises(DataError, match="two labels of case 'ProstateDx-01-0001'"):
        local(challenge)


def test_the_axial_t2_of_a_study_is_chosen(challenge, made, man, make_series):
    study = next((challenge / "dicom" / "ProstateDx-01-0001").iterdir())
    sagittal = np.array([[0, 0, 3.0, 0], [-0.7, 0, 0, 0], [0, -0.7, 0, 0], [0, 0, 0, 1]])
    more = {"patient": "ProstateDx-01-0001", "study": "1.2.3.0"}
    make_series(study / "sag", man.image, uid="1.9.1", description="T2W_TSE_SAG", affine=sagittal, **more)
    make_series(study / "t1", man.image, uid="1.9.2", description="T1W_TSE_AX", affine=man.affine, **more)
    assert local(challenge)["left_out"] == {}
    make_series(study / "t2", man.image, uid="1.9.3", description="T2W_TSE_AX large", affine=man.affine, **more)
    told = local(challenge)
    assert "ProstateDx-01-0001 holds 2 axial T2 series" in told["left_out"]["ProstateDx-01-0001"]


def test_a_series_with_another_patients_id(challenge, man, make_series):
    """Case 0035 before TCIA mended it: the study's other series, or else the folder, say whose it is."""
    folder = next((challenge / "dicom" / "ProstateDx-01-0035").glob("*/*"))
    for path in folder.iterdir():
        path.unlink()
    wrong = {"patient": "ProstateDx-01-0053", "patient_name": "ProstateDx-01-0035", "affine": man.affine}
    make_series(folder, man.image, uid=uid(2), study="1.2.3.2", description="T2W_TSE_AX", **wrong)
    (warning,) = local(challenge)["warnings"]["ProstateDx-01-0035"]
    assert warning.endswith("taken for ProstateDx-01-0035, by its folder's name")
    right = {"patient": "ProstateDx-01-0035", "patient_name": "ProstateDx-01-0035", "affine": man.affine}
    make_series(folder.parent / "t1", man.image, uid="1.9.1", study="1.2.3.2", description="T1W_AX", **right)
    (warning,) = local(challenge)["warnings"]["ProstateDx-01-0035"]
    assert warning.endswith("by the other series of its study")


def test_a_hole_in_a_series_is_named(challenge):
    folder = next((challenge / "dicom" / "ProstateDx-01-0001").glob("*/*"))
    sorted(folder.iterdir())[5].unlink()
    assert "a slice is missing" in local(challenge)["left_out"]["ProstateDx-01-0001"]


@pytest.mark.parametrize("wrong", ["dicom", "segmentations"])
def test_folders_that_are_empty_or_missing(challenge, wrong, tmp_path):
    given = {"dicom": challenge / "dicom", "segmentations": challenge / "labels"}
    with pytest.raises(DataError, match="none does not exist"):
        prepare_nci_isbi13(tmp_path / "out", **{**given, wrong: tmp_path / "none"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProstateUDAError, match="ProstateDx-"):
        prepare_nci_isbi13(tmp_path / "out", **{**given, wrong: tmp_path / "empty"})
