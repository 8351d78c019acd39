"""A hospital's folder, prepared."""

from shutil import copytree

import numpy as np
import pytest
import SimpleITK as sitk

from prostate_uda.data.domains import get_domain
from prostate_uda.data.volumes import read_image, read_label
from prostate_uda.errors import DataError
from prostate_uda.recipes.prepare import prepare_folder

PLAIN = {0: 0, 1: 1, 2: 2}


def test_a_case_that_a_killed_run_began_is_no_case(tmp_path, phantom, monkeypatch):
    """Between a case's image and its label; then its scan is taken away."""
    images, out = tmp_path / "scans", tmp_path / "out"
    copytree(phantom / "imagesTr", images)
    copytree(phantom / "labelsTr", tmp_path / "labels")

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("prostate_uda.data.preparing.convert.write_label", stopped)
        with pytest.raises(KeyboardInterrupt):
            prepare_folder(out, images, labels=tmp_path / "labels")
    assert [path.name for path in (out / "imagesTr").iterdir()] == ["phantom-3t_00000.nii.gz"]
    for folder in (images, tmp_path / "labels"):
        (folder / "phantom-3t_00000.nii.gz").unlink()
    assert prepare_folder(out, images, labels=tmp_path / "labels")["cases"] == 2
    assert not (out / "imagesTr" / "phantom-3t_00000.nii.gz").exists()


def test_headers_with_their_voxels_elsewhere(tmp_path, phantom):
    images = tmp_path / "scans"
    images.mkdir()
    image = sitk.GetImageFromArray(np.arange(1000, dtype=np.int16).reshape(10, 10, 10))
    sitk.WriteImage(image, str(images / "a.mhd"))
    assert prepare_folder(tmp_path / "out", images)["converted"] == 1
    raw = images / "a.raw"
    raw.write_bytes(raw.read_bytes()[::-1])
    assert prepare_folder(tmp_path / "out", images)["converted"] == 1


def test_a_hospitals_folder_of_many_formats(tmp_path, phantom, make_series, voxels, oblique_affine):
    images, labels = tmp_path / "scans", tmp_path / "segs"
    images.mkdir()
    labels.mkdir()
    for number, suffix in enumerate((".nii.gz", ".nrrd", ".mha")):
        for kind, folder in (("images", images), ("labels", labels)):
            image = sitk.ReadImage(str(phantom / f"{kind}Tr" / f"phantom-3t_{number:05d}.nii.gz"))
            if kind == "labels":  # stored as TZ 1, PZ 2; the last one on another grid
                image = sitk.ChangeLabel(image, {1: 2, 2: 1})
                image = sitk.PermuteAxes(image, [1, 0, 2]) if number == 2 else image
            sitk.WriteImage(image, str(folder / f"case{number}{suffix}"))
    make_series(images / "case3" / "t2", voxels, description="t2_tse_tra")
    make_series(images / "case3" / "adc", voxels, uid="1.9", description="ep2d_ADC")
    make_series(images / "case4", voxels, study="1.8", leave_out=(2,))
    told = prepare_folder(tmp_path / "out", images, labels=labels, label_names="1=TZ,2=PZ")
    assert (told["cases"], told["labelled"], list(told["repaired"])) == (4, 3, ["case2"])
    assert "a slice is missing" in told["left_out"]["case4"]
    assert told["warnings"] == {}
    for number in range(3):
        truth = read_label(phantom / "labelsTr" / f"phantom-3t_{number:05d}.nii.gz", PLAIN)
        found = read_label(tmp_path / "out" / "labelsTr" / f"case{number}.nii.gz", PLAIN)
        assert np.array_equal(found.array, truth.array)
    dicom = read_image(tmp_path / "out" / "imagesTr" / "case3.nii.gz")
    assert np.array_equal(dicom.array, voxels)
    assert np.allclose(dicom.grid.affine, oblique_affine, atol=1e-4)
    assert len(get_domain("folder").find(tmp_path / "out").cases) == 4
    assert prepare_folder(tmp_path / "out", images, labels=labels, label_names="1=TZ,2=PZ")["reused"] == 4
    told = prepare_folder(tmp_path / "out", images, labels=labels)
    assert told["converted"] == 4 - told["reused"] == 3
    assert "PZ lies in front of TZ" in told["warnings"]["case0"][0]


def test_a_case_that_is_gone_leaves_the_result(tmp_path, phantom):
    images = tmp_path / "scans"
    images.mkdir()
    for path in (phantom / "imagesTr").iterdir():
        (images / path.name).write_bytes(path.read_bytes())
    prepare_folder(tmp_path / "out", images)
    (images / "phantom-3t_00001.nii.gz").unlink()
    (tmp_path / "out" / "imagesTr" / "mine.txt").write_text("a note")
    told = prepare_folder(tmp_path / "out", images)
    assert (told["cases"], told["reused"]) == (2, 2)
    assert sorted(path.name for path in (tmp_path / "out" / "imagesTr").iterdir()) == [
        *("mine.txt", "phantom-3t_00000.nii.gz", "phantom-3t_00002.nii.gz")
    ]


def test_nothing_that_can_be_used_is_one_line(tmp_path):
    (tmp_path / "scans").mkdir()
    with pytest.raises(DataError, match="holds no case; put NIfTI, NRRD, MHA or DICOM there"):
        prepare_folder(tmp_path / "out", tmp_path / "scans")
    (tmp_path / "scans" / "a.nii.gz").write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"none of 1 cases can be used; a: .*a\.nii\.gz") as error:
        prepare_folder(tmp_path / "out", tmp_path / "scans")
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match="does not exist"):
        prepare_folder(tmp_path / "out", tmp_path / "none")


def test_real_siemens_scans_become_nifti_with_their_labels(shared_data, tmp_path):
    root = shared_data / "prostatex-siemens-3t"
    told = prepare_folder(tmp_path / "out", root / "dicom", labels=root / "zones-ai" / "Yuan23")
    assert (told["cases"], told["labelled"], told["left_out"], told["repaired"]) == (4, 4, {}, {})
    assert (
        prepare_folder(tmp_path / "out", root / "dicom", labels=root / "zones-ai" / "Yuan23")["status"] == "unchanged"
    )
