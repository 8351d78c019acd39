"""A series, a label on its grid and the segmentation made of them, which is read back by highdicom and by pydicom."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from prostate_uda.data.dicom import choose_series
from prostate_uda.data.volumes import Volume, read_image
from prostate_uda.review.dicom_seg import Algorithm, write_dicom_seg

hd = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")
ALGORITHM = Algorithm("test net", "1.2.3", "Made by a test.")
RAS = np.diag((-1.0, -1.0, 1.0, 1.0))
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
Edit = Callable[[object], None]


@dataclass
class Case:
    """A series, the label on its grid and the segmentation made of them."""

    files: tuple[Path, ...]
    image: Volume
    label: np.ndarray
    path: Path

    def write(self, **changes: object) -> Path:
        settings = {"affine": self.image.grid.affine, "algorithm": ALGORITHM, **changes}
        label, files = settings.pop("label", self.label), settings.pop("files", self.files)
        write_dicom_seg(self.path, label, files, **settings)
        return self.path


def case_of(folder: Path, out: Path, seed: int = 0) -> Case:
    """The series of a folder with a label of noise: no two slices are alike."""
    series = choose_series(folder)
    image = read_image(series)
    label = np.random.default_rng(seed).integers(0, 3, image.grid.shape).astype(np.uint8)
    return Case(series.files, image, label, out / "new" / "case.dcm")


def edit(files: tuple[Path, ...], change: Edit) -> None:
    for file in files:
        header = pydicom.dcmread(file)
        change(header)
        header.save_as(file)


def check(case: Case, path: Path) -> object:
    """The file against the series: place, voxels and references, and returns it as pydicom reads it."""
    seg = hd.seg.segread(path)
    check_volume(seg, case)
    plain = pydicom.dcmread(path)
    assert plain.SegmentationType == "BINARY"
    assert plain.NumberOfFrames == 3 * case.label.shape[2] == len(plain.PerFrameFunctionalGroupsSequence)
    references = {one.ReferencedSOPInstanceUID for one in plain.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    sources = [pydicom.dcmread(file, stop_before_pixels=True) for file in case.files]
    assert references == {source.SOPInstanceUID for source in sources}
    assert len(plain.ReferencedSeriesSequence) == 1
    assert plain.ReferencedSeriesSequence[0].SeriesInstanceUID == sources[0].SeriesInstanceUID
    assert plain.StudyInstanceUID == sources[0].StudyInstanceUID
    assert plain.SeriesInstanceUID != sources[0].SeriesInstanceUID
    if "FrameOfReferenceUID" in sources[0]:
        assert plain.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
    if len(sources) > 1:
        check_overlay(plain, sources, case)
    return plain


def check_volume(seg: object, case: Case) -> None:
    """highdicom's volume, turned to the series' axes by the affines alone."""
    volume = seg.get_volume(combine_segments=False)
    slices, rows, columns, segments = volume.array.shape
    assert (columns, rows, slices, segments) == (*case.label.shape, 3)
    turn = np.linalg.inv(RAS @ case.image.grid.affine) @ volume.affine  # slice, row, column to X, Y, Z
    assert np.allclose(turn[:3, :3], np.round(turn[:3, :3]), atol=2e-3)
    places = np.indices((slices, rows, columns)).reshape(3, -1)
    x, y, z = np.round(turn[:3, :3] @ places + turn[:3, 3:]).astype(int)
    assert {tuple(np.unique(one)[[0, -1]]) for one in (x, y, z)} == {(0, size - 1) for size in case.label.shape}
    value = case.label[x, y, z].reshape(slices, rows, columns)
    for number, expected in enumerate((value > 0, value == 1, value == 2)):
        assert np.array_equal(volume.array[..., number], expected)


def check_overlay(plain: object, sources: list[object], case: Case, off_slice: float = 0.02) -> None:
    """Each source image's mask, found by its SOPInstanceUID, is the label's slice at the image's position."""
    frames = plain.pixel_array
    found = {}
    for frame, groups in zip(frames, plain.PerFrameFunctionalGroupsSequence, strict=True):
        (source,) = groups.DerivationImageSequence[0].SourceImageSequence
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        position = [float(one) for one in groups.PlanePositionSequence[0].ImagePositionPatient]
        found[str(source.ReferencedSOPInstanceUID), int(number)] = frame, position
    to_index = np.linalg.inv(case.image.grid.affine)
    for source in sources:
        position = np.array([float(one) for one in source.ImagePositionPatient])
        index = to_index @ (*(position * (-1, -1, 1)), 1)
        assert np.allclose(index[:2], 0, atol=0.02)
        assert abs(index[2] - round(index[2])) < off_slice
        part = case.label[:, :, round(index[2])].T
        for number, expected in enumerate((part > 0, part == 1, part == 2), start=1):
            frame, at = found[str(source.SOPInstanceUID), number]
            assert np.allclose(at, position, atol=1e-5)
            assert np.array_equal(frame, expected)


def raw(header: object, tag: int, vr: str, value: bytes) -> None:
    """Put bytes into a header as no writer would."""
    header[tag] = pydicom.dataelem.RawDataElement(pydicom.tag.Tag(tag), vr, len(value), value, 0, False, True)


def enhanced(files: tuple[Path, ...], path: Path) -> None:
    """One enhanced multi-frame MR file of a series, its frames in the order of the files."""
    parts = [pydicom.dcmread(file) for file in files]
    made = parts[0]
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = ENHANCED_MR
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = "1.2.3.99"

    def item(**elements):
        one = pydicom.Dataset()
        for name, value in elements.items():
            setattr(one, name, value)
        return one

    measures = item(PixelSpacing=made.PixelSpacing, SliceThickness=made.SliceThickness, SpacingBetweenSlices=3)
    made.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=made.ImageOrientationPatient)],
            PixelMeasuresSequence=[measures],
            PixelValueTransformationSequence=[item(RescaleIntercept=0, RescaleSlope=1, RescaleType="US")],
        )
    ]
    made.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=part.ImagePositionPatient)],
            FrameContentSequence=[item(StackID="1", InStackPositionNumber=at, DimensionIndexValues=[1, at])],
        )
        for at, part in enumerate(parts, start=1)
    ]
    uid, group = "1.2.3.98", 0x00209111
    made.DimensionOrganizationSequence = [item(DimensionOrganizationUID=uid)]
    made.DimensionIndexSequence = [
        item(DimensionOrganizationUID=uid, DimensionIndexPointer=tag, FunctionalGroupPointer=group)
        for tag in (0x00209056, 0x00209057)
    ]
    made.NumberOfFrames, made.PixelData = len(parts), b"".join(part.PixelData for part in parts)
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(made, name)
    path.parent.mkdir()
    made.save_as(path)


def refused(case: Case, error: type[Exception], match: str, **changes: object) -> None:
    with pytest.raises(error, match=match) as told:
        case.write(**changes)
    assert "\n" not in str(told.value)
    assert not case.path.exists()
    assert not case.path.parent.exists()
