"""The list of scans that a bundle runs on."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from prostate_uda.data.datalists import images_in
from prostate_uda.errors import DataError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), dtype=np.float32), np.eye(4)), folder / name)


def test_scans_without_their_labels(tmp_path: Path) -> None:
    touch(tmp_path, "b.nii.gz", "a.nii", "a_seg.nii")
    (tmp_path / "notes.txt").touch()
    assert images_in(str(tmp_path)) == [{"image": str(tmp_path / name)} for name in ("a.nii", "b.nii.gz")]


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no scan"):
        images_in(tmp_path)
    with pytest.raises(DataError, match="not a folder"):
        images_in(tmp_path / "none")
    touch(tmp_path, "1.2.nii.gz", "1.2.840.nii.gz")
    assert len(images_in(tmp_path)) == 2
    (tmp_path / "1.2.840.mha").touch()
    with pytest.raises(DataError, match="one name"):
        images_in(tmp_path)


def test_dicom_folders(shared_data: Path) -> None:
    scans = images_in(shared_data / "prostatex-siemens-3t" / "dicom")
    assert [Path(scan["image"]).name for scan in scans] == [f"ProstateX-000{number}" for number in range(4)]
