"""DICOM to NIfTI: where every voxel lies, by our affine, by SimpleITK, by nibabel and by the DICOM tags themselves."""

from itertools import product
from pathlib import Path
from shutil import copytree

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from prostate_uda.data.canonical import check_finished, describe
from prostate_uda.data.dicom import choose_series
from prostate_uda.data.preparing.convert import Source, convert
from prostate_uda.data.volumes import check_same_grid, read_image
from prostate_uda.errors import DataError, GeometryError

TO_RAS = np.array([-1.0, -1.0, 1.0])


def converted(folder: Path, out: Path) -> Path:
    """The folder's series in the canonical layout."""
    entry = convert(Source("case", "Tr", choose_series(folder)), out, folder)
    assert entry["label"] is None
    assert entry["warnings"] == entry["repairs"] == entry["doubts"] == []
    return out / entry["image"]


def corners(shape) -> list[tuple[int, ...]]:
    return [*product(*[(0, n // 2, n - 1) for n in shape])]


def by_tags(folder: Path) -> tuple[dict[tuple[int, ...], np.ndarray], np.ndarray]:
    """RAS place of some voxels ``(x, y, z)`` and all values, from the tags of each file, with pydicom."""
    files = [pydicom.dcmread(path) for path in choose_series(folder).files]
    places = {}
    for x, y, z in corners((files[0].Columns, files[0].Rows, len(files))):
        tags = files[z]
        row, column = np.array(tags.ImageOrientationPatient, float).reshape(2, 3)
        down, right = (float(value) for value in tags.PixelSpacing)
        place = np.array(tags.ImagePositionPatient, float) + x * right * row + y * down * column
        places[x, y, z] = place * TO_RAS
    values = [
        one.pixel_array.T * float(one.get("RescaleSlope", 1)) + float(one.get("RescaleIntercept", 0)) for one in files
    ]
    return places, np.stack(values, axis=-1)


def check_places(folder: Path, path: Path) -> None:
    """Every reader puts every voxel within a micrometre of where the tags say, and holds the tags' values."""
    places, values = by_tags(folder)
    written, volume = nib.load(path), read_image(path)
    image = sitk.ReadImage(str(path))
    series = sitk.ReadImage([str(file) for file in choose_series(folder).files])
    for index, place in places.items():
        there = [
            (written.affine @ (*index, 1))[:3],
            (written.header.get_qform() @ (*index, 1))[:3],
            (volume.grid.affine @ (*index, 1))[:3],
            np.array(image.TransformIndexToPhysicalPoint(index)) * TO_RAS,
            np.array(series.TransformIndexToPhysicalPoint(index)) * TO_RAS,
        ]
        assert np.abs(np.array(there) - place).max() < 1e-3, index
    assert written.shape == values.shape
    assert np.allclose(np.asarray(written.dataobj), values, rtol=1e-6, atol=1e-3)
    assert np.array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), np.asarray(written.dataobj))


def test_an_oblique_series(tmp_path, make_series, voxels, oblique_affine):
    folder = make_series(tmp_path / "t2", voxels)
    path = converted(folder, tmp_path / "out")
    check_places(folder, path)
    assert np.allclose(nib.load(path).affine, oblique_affine, atol=1e-4)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_every_handedness(tmp_path, make_series, voxels, oblique_affine, signs):
    """The stack's direction is the images' cross product; whichever way the rows and columns run."""
    affine = oblique_affine @ np.diag((*signs, 1.0))
    folder = make_series(tmp_path / "t2", voxels, affine=affine)
    check_places(folder, converted(folder, tmp_path / "out"))


def test_a_series_that_is_not_axial_is_refused_and_leaves_nothing(tmp_path, make_series, voxels):
    sagittal = np.array([[0, 0, 3.0, 0], [-0.7, 0, 0, 0], [0, -0.7, 0, 0], [0, 0, 0, 1]])
    folder = make_series(tmp_path / "sag", voxels, affine=sagittal)
    with pytest.raises(GeometryError, match="not an axial series"):
        converted(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_same_source_gives_the_same_bytes_and_digest(tmp_path, make_series, voxels):
    one = make_series(tmp_path / "a", voxels)
    two = Path(copytree(one, tmp_path / "b"))
    assert converted(one, tmp_path / "1").read_bytes() == converted(two, tmp_path / "2").read_bytes()
    series = choose_series(one)
    digest = Source("case", "Tr", series).digest()
    assert digest == Source("case", "Tr", choose_series(two)).digest()
    assert digest != Source("case", "Ts", series).digest()
    (series.files[2]).write_bytes(series.files[2].read_bytes() + b"\0\0")
    assert digest != Source("case", "Tr", series).digest()
    series.files[2].unlink()
    with pytest.raises(DataError, match="cannot be read"):
        Source("case", "Tr", series).digest()


def test_a_report_that_is_none(tmp_path):
    check_finished(tmp_path)
    for content in ("", "[]", '{"status": "running"}'):
        (tmp_path / "prepare_report.json").write_text(content)
        with pytest.raises(DataError, match="run the same prepare command again"):
            check_finished(tmp_path)


def test_an_empty_list_is_described():
    content = describe("folder", {}, title="t", licence="l", source="s")
    assert (content["training"], content["numTest"], content["sha256"]) == ([], 0, {})


@pytest.mark.parametrize(
    "case",
    [
        "prostatex-siemens-3t/dicom/ProstateX-0002",
        pytest.param("prostate-mri-philips-3t-erc/MIP-PROSTATE-01-0001", marks=pytest.mark.slow),
        "prostate-mri-philips-3t-erc/MIP-PROSTATE-01-0004",
    ],
)
def test_real_series_lie_where_their_tags_say_and_hold_what_they_say(shared_data, tmp_path, case, capfd):
    check_places(shared_data / case, converted(shared_data / case, tmp_path))
    assert "WARNING" not in capfd.readouterr().err


def test_a_real_study_becomes_what_another_tool_made_of_it(shared_data, tmp_path):
    root = shared_data / "prostatex-full-study"
    image = read_image(converted(root / "ProstateX-0000", tmp_path))
    other = read_image(root / "reference-conversions" / "ProstateX-0000_07-07-2011_t2w.mha")
    assert np.array_equal(image.array, other.array)
    check_same_grid(image, other)


def test_the_hole_in_a_real_series_is_named(shared_data, tmp_path):
    with pytest.raises(DataError, match=r"slices 13 and 14 of .* 6\.00 mm apart, the others 3\.00 mm: a slice is miss"):
        converted(shared_data / "prostatex-full-study" / "missing-slice", tmp_path / "out")
    assert not (tmp_path / "out").exists()
