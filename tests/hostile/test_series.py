"""DICOM as it comes from archives and discs: slices lost, twice, mixed or cut; frames in any order."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from prostate_uda.data.volumes import read_image
from prostate_uda.errors import DataError
from prostate_uda.recipes import InferSettings, infer
from tests.conftest import MakeSeries
from tests.hostile.conftest import Command, leftovers
from tests.hostile.faults import AFFINE, save, scan
from tests.review.dicom_cases import enhanced

pydicom = pytest.importorskip("pydicom")
UNSIGNED = scan().astype(np.uint16)


@pytest.fixture
def series(tmp_path: Path, make_series: MakeSeries) -> Path:
    return make_series(tmp_path / "in" / "series", UNSIGNED, affine=AFFINE)


def edit(file: Path, **changes: object) -> None:
    header = pydicom.dcmread(file)
    for name, value in changes.items():
        delattr(header, name) if value is None else setattr(header, name, value)
    header.save_as(file)


def cut_last(folder: Path) -> None:
    """In the header, so that the file is of no series; as the last slice it leaves no gap either."""
    file = min(folder.iterdir())
    file.write_bytes(file.read_bytes()[:400])


def cut_all(folder: Path) -> None:
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes()[:200])


def cut_voxels(folder: Path) -> None:
    file = folder / "003.dcm"
    file.write_bytes(file.read_bytes()[:-1000])


def twice(folder: Path) -> None:
    shutil.copy(folder / "003.dcm", folder / "again.dcm")


def without_spacing(folder: Path) -> None:
    for file in folder.iterdir():
        edit(file, PixelSpacing=None)


def huge(folder: Path) -> None:
    for file in folder.iterdir():
        edit(file, Rows=65535, Columns=65535)


def say_distance(folder: Path, thickness: float | None, between: float | None) -> None:
    for file in folder.iterdir():
        edit(file, SliceThickness=thickness, SpacingBetweenSlices=between)


def every_second(folder: Path) -> None:
    say_distance(folder, 3, 3)
    for number in (2, 4, 6):
        (folder / f"{number:03d}.dcm").unlink()


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (
        lambda folder: (folder / "003.dcm").unlink(),
        r"slices 3 and 4 .* are 6\.00 mm apart.*a slice is missing",
    ),
    "every-second": (
        every_second,
        r"are 6\.00 mm apart, by their headers 3\.00 mm: every second one is missing; export",
    ),
    "duplicate": (twice, "lie at the same position .*keep one image per position"),
    "cut-last": (cut_last, r"001\.dcm: cannot be read as DICOM and may be a slice of .*export the series again"),
    "empty-last": (
        lambda folder: min(folder.iterdir()).write_bytes(b""),
        r"001\.dcm: cannot be read as DICOM and may be",
    ),
    "cut-voxels": (cut_voxels, "export the series again"),
    "cut-all": (cut_all, r"none of 6 DICOM files is an image that can be read, such as 001\.dcm; export"),
    "other-patient": (lambda folder: edit(folder / "003.dcm", PatientID="B"), "are of 2 patients; keep those of"),
    "other-rows": (lambda folder: edit(folder / "003.dcm", Rows=20), "are of 2 numbers of rows; keep those of"),
    "other-spacing": (
        lambda folder: edit(folder / "003.dcm", PixelSpacing=[3, 3]),
        "pixels of several sizes; keep those of",
    ),
    "other-plane": (
        lambda folder: edit(folder / "003.dcm", ImageOrientationPatient=[1, 0, 0, 0, 0, -1]),
        "are not parallel; a localizer is no volume",
    ),
    "no-position": (
        lambda folder: edit(folder / "003.dcm", ImagePositionPatient=None),
        "without position or orientation",
    ),
    "no-spacing": (without_spacing, "images without PixelSpacing in .*export the series again"),
    "huge": (huge, "needs more memory than there is; see if its size in voxels is right"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_series_that_is_no_volume(series: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    spoil, message = FAULTS[name]
    spoil(series)
    with pytest.raises(DataError, match=message) as error:
        read_image(series)
    assert "\n" not in str(error.value)
    assert str(series) in str(error.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("thickness", "between"),
    [(2.5, 0.5), (3, 3), (1, 3), (1, -3), (2, 1), (1, 1), (None, 1.5), (3, None), (None, None)],
)
def test_the_distance_that_headers_say_may_be_the_gap_or_missing(
    series: Path, thickness: float | None, between: float | None
) -> None:
    say_distance(series, thickness, between)
    read = read_image(series)
    assert read.array.shape[-1] == 6
    assert np.linalg.norm(read.grid.affine[:3, 2]) == pytest.approx(3)


def test_infer_names_each_and_segments_the_others(finished: Path, tmp_path: Path, make_series: MakeSeries) -> None:
    given = []
    for number, (name, (spoil, _)) in enumerate(FAULTS.items(), start=1):
        folder = make_series(
            tmp_path / "in" / name, UNSIGNED, affine=AFFINE, uid=f"1.2.3.{number}", study=f"1.2.4.{number}"
        )
        spoil(folder)
        given.append(folder)
    given.append(make_series(tmp_path / "in" / "good", UNSIGNED, affine=AFFINE, uid="1.2.3.99", study="1.2.4.99"))
    found = infer(given, finished, tmp_path / "out", InferSettings(device="cpu", review=False, keep_identifiers=True))
    assert found.failures.keys() == FAULTS.keys()
    for name, (_, message) in FAULTS.items():
        assert re.search(message, found.failures[name]), found.failures[name]
    assert [path.name for path in found.labels] == ["good_zones.nii.gz"]
    assert not leftovers(tmp_path / "out")


def test_reports_and_directories_beside_a_series_are_no_slices_of_it(series: Path) -> None:
    report = pydicom.dcmread(series / "001.dcm")
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.22"
    report.SeriesInstanceUID = "1.2.3.4"
    del report.PixelData
    report.save_as(series / "report.dcm")
    (series / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(10))
    assert np.array_equal(read_image(series).array, UNSIGNED)


ORDERS = {"in order": range(6), "reversed": range(5, -1, -1), "mixed": (3, 0, 5, 4, 1, 2)}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_frames_of_any_order_lie_where_the_header_says(series: Path, tmp_path: Path, order: tuple[int, ...]) -> None:
    plain = read_image(series)
    files = sorted(series.iterdir(), reverse=True)
    enhanced(tuple(files[index] for index in order), tmp_path / "enhanced" / "one.dcm")
    volume = read_image(tmp_path / "enhanced")
    assert np.array_equal(volume.array, plain.array)
    assert volume.grid.same_as(plain.grid, tolerance_mm=1e-3)


def rescaled(file: Path) -> None:
    header = pydicom.dcmread(file)
    for number, frame in enumerate(header.PerFrameFunctionalGroupsSequence):
        frame.PixelValueTransformationSequence = [pydicom.Dataset()]
        frame.PixelValueTransformationSequence[0].RescaleSlope = 1 + number
    header.save_as(file)


def placeless(file: Path) -> None:
    edit(file, PerFrameFunctionalGroupsSequence=None)


@pytest.mark.parametrize(
    ("frames", "spoil", "message"),
    [
        ((0, 1, 3, 4, 5), None, r"6\.00 mm apart, the others 3\.00 mm: a slice is missing"),
        ((0, 1, 1, 2, 3), None, "lie at the same position"),
        ((2,), None, "has a single slice; a stack of slices is needed"),
        ((0, 1, 2), placeless, "frames without ImagePositionPatient; export the series again"),
        ((0, 1, 2), rescaled, "its frames are scaled by 3 slopes; convert the series to NIfTI"),
    ],
    ids=["missing", "duplicate", "single", "without places", "scaled"],
)
def test_frames_that_are_no_volume(
    series: Path, tmp_path: Path, frames: tuple[int, ...], spoil: Callable[[Path], None] | None, message: str
) -> None:
    files = sorted(series.iterdir(), reverse=True)
    one = tmp_path / "enhanced" / "one.dcm"
    enhanced(tuple(files[index] for index in frames), one)
    if spoil is not None:
        spoil(one)
    with pytest.raises(DataError, match=message) as error:
        read_image(one.parent)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [None, "notes.txt", "deeper/scan.nii.gz"])
def test_a_folder_without_a_scan_says_what_would_be_one(
    finished: Path, tmp_path: Path, command: Command, content: str | None
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    if content is not None:
        save((folder / content).with_name("scan.nii.gz"), scan()) if "scan" in content else (folder / content).touch()
    told = command("infer", folder, "--bundle", finished, "--out", tmp_path / "out").complaint
    assert f"{folder} holds no scan: no NIfTI, NRRD or MHA file right in it, no DICOM at any depth" in told
    assert not (tmp_path / "out").exists()
