"""What can be found in a folder that its domain refuses."""

from pathlib import Path

import pytest

from prostate_uda.data.domains import DOMAINS, Case
from prostate_uda.data.survey import survey

FOLDER = DOMAINS["folder"]


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def names(cases: list[Case]) -> dict[str, str | None]:
    return {case.id: case.label.name if case.label else None for case in cases}


def test_a_good_folder_is_found_as_its_domain_finds_it(tmp_path):
    touch(tmp_path, "images/a.nii.gz", "images/b.nii.gz", "labels/a.nii.gz")
    cases, findings = survey(FOLDER, tmp_path)
    assert names(cases) == {"a": "a.nii.gz", "b": None}
    assert findings == []


def test_a_label_that_fits_nothing_stops_nobody(tmp_path):
    touch(tmp_path, "images/a.nii.gz", "images/b.nii.gz", "labels/b_seg.nii.gz", "labels/x.nii.gz", "labels/y.nii.gz")
    cases, findings = survey(FOLDER, tmp_path)
    assert names(cases) == {"a": None, "b": "b_seg.nii.gz"}
    assert [finding.check for finding in findings] == ["layout", "lonely-label"]
    assert "x.nii.gz fits no image" in findings[0].what
    assert findings[1].where.endswith("y.nii.gz")


def test_two_labels_two_images_and_two_channels(tmp_path):
    touch(tmp_path, "a.nii.gz", "a_seg.nii.gz", "a_label.nii.gz", "b.nii.gz", "b.mha")
    touch(tmp_path, "c_0000.nii.gz", "c_0001.nii.gz", "d_0000.nii.gz", "d_0001.nii.gz")
    cases, findings = survey(FOLDER, tmp_path)
    assert names(cases) == {"a": "a_label.nii.gz", "b": None, "c": None, "d": None}
    assert {finding.check for finding in findings} == {"layout", "two-labels", "duplicate", "channels"}
    assert all(finding.level == "error" and finding.mend for finding in findings)


def test_labels_of_two_parts_in_one_folder(tmp_path):
    touch(tmp_path, "imagesTr/a.nii.gz", "imagesTs/b.nii.gz", "marks/a.nii.gz", "marks/b.nii.gz", "marks/x.nii.gz")
    cases, findings = survey(FOLDER, tmp_path, tmp_path / "marks")
    assert names(cases) == {"a": "a.nii.gz", "b": "b.nii.gz"}
    touch(tmp_path, "marks/b_seg.nii.gz")
    cases, findings = survey(FOLDER, tmp_path, tmp_path / "marks")
    assert names(cases) == {"a": "a.nii.gz", "b": "b.nii.gz"}
    assert sorted(finding.check for finding in findings) == ["layout", "lonely-label"]


def test_a_data_list_with_holes_leaves_its_folders(tmp_path):
    touch(tmp_path, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz", "imagesTr/._a.nii.gz")
    (tmp_path / "dataset.json").write_text(
        '{"training": [{"image": "imagesTr/z.nii.gz", "label": "labelsTr/z.nii.gz"}]}'
    )
    cases, findings = survey(DOMAINS["decathlon"], tmp_path)
    assert names(cases) == {"a": "a.nii.gz"}
    assert "z.nii.gz is listed" in findings[0].what


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ((), "holds nothing"),
        (("a.png", "b.png", "c.npz"), "2 x .png, 1 x .npz"),
        (("p1/t2.nii.gz", "p2/t2.nii.gz"), "but p1/t2.nii.gz"),
    ],
)
def test_an_empty_folder_says_what_lies_there(tmp_path, files, words):
    touch(tmp_path, *files)
    cases, findings = survey(FOLDER, tmp_path)
    assert cases == []
    assert words in findings[-1].what


def test_no_folder(tmp_path):
    cases, findings = survey(FOLDER, tmp_path / "none")
    assert cases == []
    assert [finding.check for finding in findings] == ["folder"]


def test_damaged_dicom_is_a_case_to_be_told_of(tmp_path, make_series, voxels):
    make_series(tmp_path / "good", voxels)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "1.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"junk")
    cases, findings = survey(FOLDER, tmp_path)
    assert findings[0].check == "layout"
    assert [case.id for case in cases] == ["bad", "good"]


def test_the_series_of_one_patient_are_one_case(shared_data):
    root = next((shared_data / "prostatex-full-study" / "ProstateX-0000").iterdir())
    cases, findings = survey(FOLDER, root)
    assert [case.image for case in cases] == [root]
    assert "series of one study" in findings[0].what
