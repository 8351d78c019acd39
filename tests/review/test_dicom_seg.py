"""Segmentations of made series and of real ones, read back by highdicom and by pydicom alone."""

import sys
from pathlib import Path

import numpy as np
import pytest

from prostate_uda.data.dicom import choose_series, list_series
from prostate_uda.data.volumes import read_image, read_label
from prostate_uda.errors import DataError, GeometryError, SettingsError, ShapeError
from prostate_uda.review.dicom_seg import Algorithm, can_write_dicom_seg
from tests.review.dicom_cases import Case, case_of, check, hd, pydicom, refused


@pytest.fixture
def case(tmp_path, make_series, voxels):
    return case_of(make_series(tmp_path / "series", voxels), tmp_path)


def test_a_made_series_comes_back(case):
    check(case, case.write())
    assert [one.name for one in case.path.parent.iterdir()] == ["case.dcm"]


@pytest.mark.parametrize("order", [(4, 3, 2, 1, 0), (2, 0, 4, 1, 3)])
def test_the_order_of_the_files_does_not_matter(case, order):
    check(case, case.write(files=[case.files[index] for index in order]))


@pytest.mark.parametrize("flip", [(-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_mirrored_and_reversed_axes(tmp_path, make_series, voxels, oblique_affine, flip):
    affine = oblique_affine @ np.diag((*flip, 1))
    case = case_of(make_series(tmp_path / "series", voxels, affine=affine), tmp_path)
    check(case, case.write())


def test_voxels_that_are_not_square(tmp_path, make_series, voxels, oblique_affine):
    affine = oblique_affine @ np.diag((1, 1.3, 1, 1))
    case = case_of(make_series(tmp_path / "series", voxels, affine=affine), tmp_path)
    measures = check(case, case.write()).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert [float(one) for one in measures.PixelSpacing] == pytest.approx([0.91, 0.7], abs=1e-4)


def test_it_says_what_it_is(case):
    plain = check(case, case.write())
    segments = plain.SegmentSequence
    assert [one.SegmentLabel for one in segments] == ["Prostate", "Peripheral zone", "Transition zone"]
    types = [one.SegmentedPropertyTypeCodeSequence[0] for one in segments]
    assert [(one.CodeValue, one.CodingSchemeDesignator) for one in types] == [
        ("41216001", "SCT"),
        ("279706003", "SCT"),
        ("399384005", "SCT"),
    ]
    assert types[1].CodeMeaning == "Peripheral zone of the prostate"
    categories = {one.SegmentedPropertyCategoryCodeSequence[0].CodeValue for one in segments}
    assert categories == {"123037004"}
    assert {one.SegmentAlgorithmType for one in segments} == {"AUTOMATIC"}
    identified = segments[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (identified.AlgorithmName, identified.AlgorithmVersion) == ("test net", "1.2.3")
    assert segments[2].SegmentDescription == "Research use only. Made by a test."
    assert segments[1].RecommendedDisplayCIELabValue != segments[2].RecommendedDisplayCIELabValue
    assert plain.SegmentsOverlap == "YES"
    assert "RESEARCH USE ONLY" in plain.SeriesDescription
    assert "RESEARCH USE ONLY" in plain.ContentDescription
    assert plain.ContentLabel == "RESEARCH_ONLY"
    assert plain.ManufacturerModelName == "prostate-uda"
    assert plain.SoftwareVersions
    assert plain.Modality == "SEG"


def test_two_writes_have_their_own_uids(case, tmp_path):
    first = pydicom.dcmread(case.write())
    case.path = tmp_path / "other.dcm"
    second = pydicom.dcmread(case.write())
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
    assert first.SOPInstanceUID == first.file_meta.MediaStorageSOPInstanceUID


@pytest.mark.parametrize("value", [0, 1])
def test_empty_segments_are_written_all_the_same(case, value):
    case.label = np.full_like(case.label, value)
    plain = check(case, case.write())
    assert plain.pixel_array.any() == bool(value)


def shifted(affine: np.ndarray, by: tuple[float, float, float]) -> np.ndarray:
    """An affine whose voxels lie ``by`` voxels further along their axes."""
    moved = np.eye(4)
    moved[:3, 3] = by
    return affine @ moved


@pytest.mark.parametrize(
    ("by", "match"),
    [((0.2, 0, 0), "beside the label's slices"), ((0, 0, 0.4), "0.40 slices"), ((0, 0, 1), "not one image per slice")],
)
def test_another_place_is_refused(case, by, match):
    refused(case, GeometryError, match, affine=shifted(case.image.grid.affine, by))


@pytest.mark.parametrize("change", [np.diag((1.0, -1, 1, 1)), np.eye(4)[[1, 0, 2, 3]], np.diag((1.01, 1, 1, 1))])
def test_other_axes_are_refused(case, change):
    label = np.zeros((8, 8, 5), dtype=np.uint8) if change[0, 1] else case.label
    match = "against a label of 8 x 8 x 5" if change[0, 1] else "rows and columns run otherwise"
    refused(case, GeometryError, match, affine=case.image.grid.affine @ change, label=label)


def test_other_counts_are_refused(case):
    refused(case, GeometryError, "10 x 8 x 4 voxels against a label of 10 x 8 x 5", files=case.files[1:])
    refused(case, DataError, "no DICOM file", files=())
    refused(case, DataError, "two images have one SOPInstanceUID", files=case.files[1:] + case.files[1:2])
    refused(case, ShapeError, "float64 label", label=case.label.astype(float))
    refused(case, DataError, "value 3; allowed", label=case.label + np.uint8(1))


def test_a_write_that_fails_leaves_the_old_file(case, monkeypatch):
    case.write()
    before = case.path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        case.write()
    assert case.path.read_bytes() == before
    assert [one.name for one in case.path.parent.iterdir()] == ["case.dcm"]


def test_without_the_extra(case, monkeypatch):
    assert can_write_dicom_seg()
    monkeypatch.setitem(sys.modules, "highdicom", None)
    assert not can_write_dicom_seg()
    refused(case, SettingsError, r"pip install highdicom pydicom")


@pytest.mark.parametrize("bad", [{"name": ""}, {"version": "x" * 65}, {"name": "a\\b"}, {"description": "x" * 901}])
def test_an_algorithm_is_checked(bad):
    with pytest.raises(SettingsError, match="algorithm"):
        Algorithm(**{"name": "net", "version": "1", **bad})


@pytest.mark.parametrize("name", ["ProstateX-0000", "ProstateX-0001", "ProstateX-0002", "ProstateX-0003"])
def test_real_siemens_series(shared_data, tmp_path, name):
    root = shared_data / "prostatex-siemens-3t"
    series = choose_series(root / "dicom" / name)
    label = read_label(root / "zones-ai" / "Yuan23" / f"{name}.nii.gz", {0: 0, 1: 1, 2: 2}).array
    case = Case(series.files, read_image(series), label, tmp_path / "case.dcm")
    plain = check(case, case.write(files=series.files[::-1]))
    assert plain.PatientID == plain.PatientName == name
    seg = hd.seg.segread(case.path)
    source = pydicom.dcmread(series.files[9], stop_before_pixels=True)
    masks = seg.get_pixels_by_source_instance([source.SOPInstanceUID], segment_numbers=[2, 3], combine_segments=True)
    assert set(np.unique(masks)) == {0, 2, 3}
    assert np.array_equal(masks[0] == 2, label[:, :, 9].T == 1)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_real_philips_series(shared_data, tmp_path, number):
    case = case_of(shared_data / "prostate-mri-philips-3t-erc" / f"MIP-PROSTATE-01-000{number}", tmp_path, number)
    assert check(case, case.write()).PatientID == f"MIP-PROSTATE-01-000{number}"


def test_every_real_series_of_a_study(shared_data, tmp_path):
    written = 0
    for series in list_series(shared_data / "prostatex-full-study" / "ProstateX-0000"):
        try:
            image = read_image(series)
        except DataError:
            continue  # a localizer, several b-values
        label = np.random.default_rng(0).integers(0, 3, image.grid.shape).astype(np.uint8)
        case = Case(series.files, image, label, tmp_path / f"{written}.dcm")
        check(case, case.write())
        written += 1
    assert written >= 5
