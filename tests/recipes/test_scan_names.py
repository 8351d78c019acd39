"""What scans' results are called, which files of a folder are scans, and what is never written over."""

from contextlib import suppress
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from prostate_uda.data.canonical import DATASET
from prostate_uda.data.geometry import Grid
from prostate_uda.data.volumes import Volume
from prostate_uda.data.writing import write_label
from prostate_uda.errors import DataError, SettingsError
from prostate_uda.recipes.record import write_json
from prostate_uda.recipes.scan_names import KEPT, check_places, named_scans
from tests.conftest import MakeSeries

ENDINGS = ("_zones.nii.gz", "_uncertainty.nii.gz", "_probabilities.nii.gz", "_zones.seg.nrrd", ".dcm")


def touch(*paths: Path) -> list[Path]:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"scan")
    return list(paths)


def test_files_are_named_without_their_ending(tmp_path: Path) -> None:
    given = touch(*(tmp_path / name for name in ("a.nii.gz", "b.NII", "c.nrrd", "d.mha", "e.f.mhd", "g h [1].nii.gz")))
    assert named_scans(given) == dict(zip(["a", "b", "c", "d", "e.f", "g h [1]"], given, strict=True))


def test_files_of_one_name_get_the_folders_above_them(tmp_path: Path) -> None:
    given = touch(tmp_path / "x" / "t2.nii.gz", tmp_path / "y" / "t2.nii.gz", tmp_path / "y" / "other.nii.gz")
    assert list(named_scans(given)) == ["x_t2", "y_t2", "other"]
    deep = touch(*(tmp_path / site / "one" / "t2.nii.gz" for site in ("A", "B")))
    assert list(named_scans([*deep, given[0]])) == ["A_one_t2", "B_one_t2", "x_t2"]


def test_a_longer_name_is_no_other_scans(tmp_path: Path) -> None:
    given = touch(tmp_path / "b" / "a_t2.nii.gz", tmp_path / "a" / "t2.nii.gz", tmp_path / "c" / "t2.nii.gz")
    found = named_scans(given)
    assert len(found) == 3
    assert list(found.values()) == given


def test_two_formats_of_one_scan_in_one_folder(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"more than one scan is named .*t2; rename them or run infer once for each"
    ):
        named_scans(touch(tmp_path / "t2.nii.gz", tmp_path / "t2.mha"))


def test_a_scan_given_twice(tmp_path: Path) -> None:
    (scan,) = touch(tmp_path / "a" / "t2.nii.gz")
    (tmp_path / "link.nii.gz").symlink_to(scan)
    for other in (scan, scan.parent / ".." / "a" / "t2.nii.gz", tmp_path / "link.nii.gz", scan.parent):
        with pytest.raises(SettingsError, match=r"given more than once: .*t2\.nii\.gz; give each scan once"):
            named_scans([scan, other])


def test_a_folder_of_volumes_is_its_volumes(tmp_path: Path) -> None:
    """Not hidden files, labels beside their scans, notes, or what lies deeper."""
    files = touch(*(tmp_path / "in" / name for name in ("b.nii.gz", "a.mha")))
    touch(*(tmp_path / "in" / name for name in ("._a.mha", ".b.nii.gz", "a_seg.nii.gz", "notes.txt", "old/c.nii.gz")))
    alone = touch(tmp_path / "z.nrrd")
    assert named_scans([tmp_path / "in", *alone]) == {"a": files[1], "b": files[0], "z": alone[0]}


def test_folders_of_volumes_with_like_names(tmp_path: Path) -> None:
    touch(*(tmp_path / site / f"{n}.nii.gz" for site in ("A", "B") for n in (1, 2)))
    assert list(named_scans([tmp_path / "A", tmp_path / "B"])) == ["A_1", "A_2", "B_1", "B_2"]


def test_a_folder_of_hidden_volumes_alone_is_no_folder_of_scans(tmp_path: Path) -> None:
    """As a Mac leaves it; no scan is no result, and that is said."""
    touch(tmp_path / "in" / "._a.nii.gz")
    with suppress(DataError, SettingsError):
        assert named_scans([tmp_path / "in"]) == {"in": tmp_path / "in"}  # and that holds no DICOM, as reading tells


def test_a_volume_beside_dicom_is_not_left_out_without_a_word(
    tmp_path: Path, make_series: MakeSeries, voxels: np.ndarray
) -> None:
    folder = make_series(tmp_path / "in", voxels)
    (volume,) = touch(folder / "a.nii.gz")
    with suppress(DataError, SettingsError):
        assert volume in named_scans([folder]).values()


def test_a_dicom_folder_is_named_as_the_folder(
    tmp_path: Path, make_series: MakeSeries, voxels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_series(tmp_path / "Patient 1.2", voxels)
    assert named_scans([folder]) == {"Patient 1.2": folder}
    monkeypatch.chdir(folder)
    assert list(named_scans([Path()])) == ["Patient 1.2"]
    assert list(named_scans([Path("../Patient 1.2/")])) == ["Patient 1.2"]


def test_what_is_not_there_or_of_no_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.nii\.gz does not exist; check the path"):
        named_scans([tmp_path / "no.nii.gz"])
    with pytest.raises(DataError, match=r"a\.txt: unknown kind of file; \.nii, .* or a DICOM folder can be read"):
        named_scans(touch(tmp_path / "a.txt"))
    with pytest.raises(DataError, match="does not exist"):
        named_scans([*touch(tmp_path / "b.nii.gz"), tmp_path / "folder"])


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_of_somebody_else_is_kept(tmp_path: Path, ending: str) -> None:
    (mine,) = touch(tmp_path / "out" / f"a{ending}")
    with pytest.raises(SettingsError, match=r"give another folder with --out"):
        check_places({"a": tmp_path / "a.nii.gz"}, tmp_path / "out")
    check_places({"b": tmp_path / "b.nii.gz"}, tmp_path / "out")
    assert mine.read_bytes() == b"scan"


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_an_earlier_call_made_is_replaced(tmp_path: Path, ending: str) -> None:
    touch(tmp_path / f"a{ending}")
    record = {"written": [ending], "path": str(tmp_path / "scans" / "a.nii.gz")}
    write_json(tmp_path / KEPT / "a.json", record)
    check_places({"a": tmp_path / "scans" / "a.nii.gz"}, tmp_path)
    write_json(tmp_path / KEPT / "a.json", {**record, "written": []})
    with pytest.raises(SettingsError, match="give another folder"):
        check_places({"a": tmp_path / "scans" / "a.nii.gz"}, tmp_path)


def test_a_label_map_of_ours_without_a_record_is_replaced_outside_of_data_sets(tmp_path: Path) -> None:
    like = Volume(np.zeros((4, 4, 2), np.float32), Grid((4, 4, 2), np.eye(4)), tmp_path / "none")
    path = tmp_path / "labelsTr" / "a_zones.nii.gz"
    write_label(path, np.ones((4, 4, 2), np.uint8), like)
    check_places({"a": tmp_path / "a.nii.gz"}, path.parent)
    (tmp_path / DATASET).write_text("{}", encoding="utf-8")
    with pytest.raises(SettingsError, match="belongs to a data set and would be lost"):
        check_places({"a": tmp_path / "a.nii.gz"}, path.parent)


def test_a_uint8_image_is_no_label_map(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((4, 4, 2), np.uint8), np.eye(4)), tmp_path / "a_zones.nii.gz")
    with pytest.raises(SettingsError, match="exists and is no label map"):
        check_places({"a": tmp_path / "a.nii.gz"}, tmp_path)


@pytest.mark.parametrize("ending", [*ENDINGS[:4]])
def test_a_scan_named_as_a_result_is_never_written_over(tmp_path: Path, ending: str) -> None:
    """Not even where a record says that it is a result."""
    scan, result = touch(tmp_path / "a.nii.gz", tmp_path / f"a{ending}")
    touch(tmp_path / KEPT / "a.json")
    with pytest.raises(SettingsError, match="is one of the scans and would be lost; give another folder with --out"):
        check_places({"a": scan, f"a{ending}": result}, tmp_path)
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(SettingsError, match="is one of the scans"):
        check_places({"a": scan, "other": result}, tmp_path / "link")
