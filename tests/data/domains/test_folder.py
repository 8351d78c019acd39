from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from prostate_uda.data.domains.folder import FOLDER
from prostate_uda.errors import DataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def found(root: Path, labels: Path | None = None) -> dict[str, str | None]:
    cases = FOLDER.find(root, labels).cases
    return {case.id: case.label.name if case.label else None for case in cases}


def dicom(folder: Path, study: str) -> Path:
    folder.mkdir(parents=True)
    image = sitk.GetImageFromArray(np.zeros((4, 4), np.uint16))
    for tag, value in {"0020|000d": study, "0020|000e": study + ".1", "0008|0060": "MR"}.items():
        image.SetMetaData(tag, value)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(folder / "1.dcm"))
    writer.Execute(image)
    return folder


def test_plain_files_without_labels(tmp_path):
    touch(tmp_path, "b.nii.gz", "a.nrrd", "c.MHA", "._a.nrrd", ".hidden.nii", "notes.txt", "sub/deep.nii.gz")
    assert found(tmp_path) == {"a": None, "b": None, "c": None}


@pytest.mark.parametrize(
    "suffix", ["", "_seg", "_label", "_labels", "_segmentation", "_truth", "_correctedLabels", "_truth_seg"]
)
def test_labels_in_their_own_folder(tmp_path, suffix):
    touch(tmp_path, "scans/p1.mha", "scans/p2.mha", f"marks/deep/p1{suffix}.nrrd")
    assert found(tmp_path / "scans", tmp_path / "marks") == {"p1": f"p1{suffix}.nrrd", "p2": None}


def test_labels_beside_their_images(tmp_path):
    touch(tmp_path, "p1.nii.gz", "p1_seg.nii.gz", "p2.nii.gz", "lonely_seg.nii.gz")
    assert found(tmp_path) == {"p1": "p1_seg.nii.gz", "p2": None, "lonely_seg": None}


def test_images_and_labels(tmp_path):
    touch(tmp_path, "images/p1.nii.gz", "images/p2.nii.gz", "labels/p2.nii.gz")
    assert found(tmp_path) == {"p1": None, "p2": "p2.nii.gz"}


def test_nnunet_folders_declare_their_test_part(tmp_path):
    touch(
        tmp_path,
        *("imagesTr/p1_0000.nii.gz", "imagesTr/p2_0000.nii.gz", "labelsTr/p1.nii.gz", "labelsTr/p2.nii.gz"),
        *("imagesTs/p3_0000.nii.gz", "labelsTs/p3.nii.gz"),
    )
    assert found(tmp_path) == {"p1": "p1.nii.gz", "p2": "p2.nii.gz", "p3": "p3.nii.gz"}
    assert FOLDER.find(tmp_path).declared_test == {"p3"}


def test_a_given_label_folder_serves_both_parts(tmp_path):
    touch(tmp_path, "d/imagesTr/p1.nii.gz", "d/imagesTs/p2.nii.gz", "marks/p1.nii.gz", "marks/p2.nii.gz")
    assert found(tmp_path / "d", tmp_path / "marks") == {"p1": "p1.nii.gz", "p2": "p2.nii.gz"}
    touch(tmp_path, "marks/p9.nii.gz")
    with pytest.raises(DataError, match=r"p9\.nii\.gz fits no image"):
        found(tmp_path / "d", tmp_path / "marks")


def test_numbered_cases_are_no_channels(tmp_path):
    touch(
        tmp_path, *(f"images/case_000{i}.nii.gz" for i in range(3)), *(f"labels/case_000{i}_seg.nii.gz" for i in (0, 1))
    )
    assert found(tmp_path) == {
        "case_0000": "case_0000_seg.nii.gz",
        "case_0001": "case_0001_seg.nii.gz",
        "case_0002": None,
    }


def test_several_channels_are_refused(tmp_path):
    touch(tmp_path, "images/p1_0000.nii.gz", "images/p1_0001.nii.gz", "labels/p1.nii.gz")
    with pytest.raises(DataError, match=r"several channels of one case \(p1_0000, p1_0001\)"):
        found(tmp_path)


def test_a_label_that_fits_nothing(tmp_path):
    touch(tmp_path, "images/p1.nii.gz", "labels/p2.nii.gz")
    with pytest.raises(DataError, match=r"p2\.nii\.gz fits no image"):
        found(tmp_path)


def test_two_labels_of_one_case(tmp_path):
    touch(tmp_path, "images/p1.nii.gz", "labels/p1.nii.gz", "labels/p1_seg.nii.gz")
    with pytest.raises(DataError, match="two labels of case 'p1'"):
        found(tmp_path)


def test_dicom_folders_are_cases(tmp_path):
    dicom(tmp_path / "scans" / "anna" / "study" / "series", "1.2.1")
    dicom(tmp_path / "scans" / "bert", "1.2.2")
    touch(tmp_path, "scans/report.pdf", "scans/empty/notes.txt", "marks/anna_seg.nii.gz")
    assert found(tmp_path / "scans", tmp_path / "marks") == {"anna": "anna_seg.nii.gz", "bert": None}


def test_a_single_series_is_one_case(tmp_path):
    dicom(tmp_path / "anna", "1.2.1")
    assert found(tmp_path / "anna") == {"anna": None}


def test_one_patients_study_is_not_many_patients(tmp_path):
    for name in ("t2_tra", "t2_sag"):
        dicom(tmp_path / name, "1.2.1")
    with pytest.raises(DataError, match=r"t2_sag and t2_tra .* series of one study"):
        found(tmp_path)


def test_one_name_for_a_file_and_a_folder(tmp_path):
    dicom(tmp_path / "anna", "1.2.1")
    touch(tmp_path, "anna.nii.gz")
    with pytest.raises(DataError, match="two images of one case 'anna'"):
        FOLDER.cases(tmp_path, role="target", seed=0)


def test_real_scans_and_their_labels(shared_data):
    root = shared_data / "prostatex-siemens-3t"
    split = FOLDER.cases(root / "dicom", root / "zones-ai" / "Yuan23", role="source", seed=0)
    assert (len(split.train), len(split.test)) == (3, 1)
    assert all(case.label.name == f"{case.id}.nii.gz" for case in (*split.train, *split.test))
