"""Series that are uneven, multi-frame, incomplete or damaged."""

import warnings

import numpy as np
import pytest

from prostate_uda.errors import DataError
from tests.review.dicom_cases import (
    RAS,
    case_of,
    check,
    check_overlay,
    check_volume,
    edit,
    enhanced,
    hd,
    pydicom,
    raw,
    refused,
)


@pytest.fixture
def case(tmp_path, make_series, voxels):
    return case_of(make_series(tmp_path / "series", voxels), tmp_path)


def test_slices_that_are_a_little_off_keep_their_own_place(case):
    """Directions differ in the fourth digit, distances by 4 %, positions have more digits than DICOM allows."""
    for number, file in enumerate(case.files):
        header = pydicom.dcmread(file)
        turned = [float(one) + 5e-5 * number for one in header.ImageOrientationPatient]
        header.ImageOrientationPatient = [f"{one:.9f}" for one in turned]
        normal = np.cross(turned[:3], turned[3:])
        place = np.array([float(one) for one in header.ImagePositionPatient]) + 0.12 * (number % 2) * normal
        raw(header, 0x00200032, "DS", "\\".join(f"{one:.20f}" for one in place).encode())
        pydicom.dcmwrite(file, header)
    case = case_of(case.files[0].parent, case.path.parents[1])
    plain = pydicom.dcmread(case.write())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Invalid value for VR DS|Value .* is not valid|Values for elements")
        check_overlay(plain, [pydicom.dcmread(file) for file in case.files], case, off_slice=0.1)


def test_files_without_a_preamble(case):
    for file in case.files:
        header = pydicom.dcmread(file)
        plain = pydicom.Dataset({element.tag: element for element in header})
        pydicom.dcmwrite(file, plain, implicit_vr=True, little_endian=True)
        assert file.read_bytes()[128:132] != b"DICM"
    path = case.write()
    assert len(pydicom.dcmread(path).SourceImageSequence) == len(case.files)
    check_volume(hd.seg.segread(path), case)


@pytest.mark.parametrize("step", [1, -1])
def test_one_enhanced_file(case, tmp_path, step):
    enhanced(case.files[::step], tmp_path / "enhanced" / "one.dcm")
    case = case_of(tmp_path / "enhanced", tmp_path)
    assert len(case.files) == 1
    check(case, case.write())
    seg = hd.seg.segread(case.path)
    numbers = [1, 4, 5]
    masks = seg.get_pixels_by_source_frame("1.2.3.99", numbers)
    source = pydicom.dcmread(case.files[0])
    for mask, number in zip(masks, numbers, strict=True):
        place = source.PerFrameFunctionalGroupsSequence[number - 1].PlanePositionSequence[0].ImagePositionPatient
        index = np.linalg.inv(RAS @ case.image.grid.affine) @ (*map(float, place), 1)
        assert np.array_equal(mask[..., 2], case.label[:, :, round(index[2])].T == 2)


def test_frames_of_an_enhanced_file_are_matched_by_place(case, tmp_path):
    enhanced([case.files[index] for index in (3, 0, 4, 1, 2)], tmp_path / "enhanced" / "one.dcm")
    case.files = (tmp_path / "enhanced" / "one.dcm",)
    check_volume(hd.seg.segread(case.write()), case)


def test_another_series_among_the_files_is_refused(case, tmp_path, make_series, voxels):
    other = sorted(make_series(tmp_path / "other", voxels, uid="1.2.3.7").iterdir())
    refused(case, DataError, "differ in SeriesInstanceUID", files=(*case.files[1:], other[0]))


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("SeriesInstanceUID", "no SeriesInstanceUID, so nothing can refer to it"),
        ("ImagePositionPatient", "without a ImagePositionPatient of 3 numbers"),
        ("ImageOrientationPatient", "without a ImageOrientationPatient of 6 numbers"),
        ("PixelSpacing", "without a PixelSpacing of 2 numbers"),
    ],
)
def test_what_places_or_names_an_image_must_be_there(case, name, match):
    edit(case.files[2:3], lambda header: delattr(header, name))
    refused(case, DataError, match)


def test_an_instance_uid_is_found_in_the_files_own_header(case):
    edit(case.files, lambda header: delattr(header, "SOPClassUID"))
    case.write()
    assert pydicom.dcmread(case.path).SourceImageSequence[0].ReferencedSOPClassUID


def test_damaged_files_and_strange_kinds_are_one_line(case, tmp_path):
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"no image at all")
    refused(case, DataError, "broken.dcm: (cannot be read as DICOM|no StudyInstanceUID)", files=(broken,))
    refused(case, DataError, "cannot be read as DICOM", files=(tmp_path / "missing.dcm",))
    edit(case.files, lambda header: setattr(header, "SOPClassUID", "1.3.46.670589.11.0.0.12.1"))
    refused(case, DataError, r"images of SOP class 1\.3\.46")
