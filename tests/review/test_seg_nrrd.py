import errno
import shutil
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from prostate_uda.errors import DataError, GeometryError, ShapeError
from prostate_uda.review.seg_nrrd import write_seg_nrrd
from prostate_uda.review.segments import PERIPHERAL_ZONE, TRANSITION_ZONE

RAS = np.diag((-1.0, -1.0, 1.0, 1.0))


@pytest.fixture(params=["oblique", "left-handed", "flipped", "turned axes"])
def affine(request, oblique_affine):
    """Oblique, and the same with a mirrored axis, with two reversed axes, and sagittal slices."""
    change = {
        "oblique": np.eye(4),
        "left-handed": np.diag((-1.0, 1, 1, 1)),
        "flipped": np.diag((1.0, -1, -1, 1)),
        "turned axes": np.eye(4)[[2, 0, 1, 3]],
    }
    return oblique_affine @ change[request.param]


@pytest.fixture
def label():
    return np.random.default_rng(0).integers(0, 3, (7, 5, 4)).astype(np.uint8)


def test_simpleitk_reads_voxels_and_place(tmp_path, label, affine):
    path = tmp_path / "new" / "case.seg.nrrd"
    write_seg_nrrd(path, label, affine)
    image = sitk.ReadImage(str(path))
    assert image.GetPixelID() == sitk.sitkUInt8
    assert np.array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), label)
    for index in ((0, 0, 0), (6, 0, 0), (0, 4, 0), (0, 0, 3), (6, 4, 3)):
        expected = RAS @ affine @ (*index, 1)
        assert np.allclose(image.TransformIndexToPhysicalPoint(index), expected[:3], atol=1e-5)
    assert [one.name for one in path.parent.iterdir()] == ["case.seg.nrrd"]


def test_pynrrd_reads_the_same_header(tmp_path, label, affine):
    nrrd = pytest.importorskip("nrrd")
    path = tmp_path / "case.seg.nrrd"
    write_seg_nrrd(path, label, affine)
    array, header = nrrd.read(str(path))
    assert np.array_equal(array, label)
    assert header["space"] == "left-posterior-superior"
    assert header["encoding"] == "gzip"
    assert header["kinds"] == ["domain"] * 3
    assert np.allclose(header["space directions"].T, (RAS @ affine)[:3, :3], atol=1e-6)
    assert np.allclose(header["space origin"], (RAS @ affine)[:3, 3], atol=1e-6)
    assert header["Segmentation_SourceRepresentation"] == header["Segmentation_MasterRepresentation"]


def test_slicerio_reads_names_values_and_codes(tmp_path, label, affine):
    slicerio = pytest.importorskip("slicerio")
    path = tmp_path / "case.seg.nrrd"
    write_seg_nrrd(path, label, affine)
    read = slicerio.read_segmentation(str(path))
    assert np.array_equal(read["voxels"], label)
    assert np.allclose(read["ijkToLPS"], RAS @ affine, atol=1e-6)
    assert read["containedRepresentationNames"] == ["Binary labelmap"]
    assert read["masterRepresentation"] == "Binary labelmap"
    assert read["referenceImageExtentOffset"] == [0, 0, 0]
    for found, zone, value in zip(read["segments"], (PERIPHERAL_ZONE, TRANSITION_ZONE), (1, 2), strict=True):
        assert (found["name"], found["labelValue"], found["layer"]) == (zone.name, value, 0)
        assert found["color"] == pytest.approx([part / 255 for part in zone.color], abs=1e-6)
        assert found["extent"] == [0, 6, 0, 4, 0, 3]
        assert found["terminology"]["category"] == ["SCT", "123037004", "Anatomical Structure"]
        assert found["terminology"]["type"] == ["SCT", zone.code.value, zone.code.meaning]
        assert "anatomicRegion" not in found["terminology"]
    assert len({found["id"] for found in read["segments"]}) == 2
    chosen = slicerio.extract_segments(read, [(TRANSITION_ZONE.name, 7)])
    assert np.array_equal(chosen["voxels"] == 7, label == 2)


@pytest.mark.parametrize("value", [0, 1])
def test_a_segment_without_voxels_is_listed(tmp_path, oblique_affine, value):
    slicerio = pytest.importorskip("slicerio")
    path = tmp_path / "empty.seg.nrrd"
    write_seg_nrrd(path, np.full((4, 3, 2), value, dtype=np.uint8), oblique_affine)
    read = slicerio.read_segmentation(str(path))
    assert [found["name"] for found in read["segments"]] == ["Peripheral zone", "Transition zone"]
    assert np.unique(read["voxels"]).tolist() == [value]


def test_a_large_label_is_packed(tmp_path, oblique_affine):
    path = tmp_path / "case.seg.nrrd"
    write_seg_nrrd(path, np.zeros((256, 256, 20), dtype=np.uint8), oblique_affine)
    assert path.stat().st_size < 256 * 256


def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, label, oblique_affine):
    path = tmp_path / "case.seg.nrrd"
    with pytest.raises(DataError, match=r"end it in \.seg\.nrrd"):
        write_seg_nrrd(tmp_path / "case.nrrd", label, oblique_affine)
    with pytest.raises(ShapeError, match="int64 label"):
        write_seg_nrrd(path, label.astype(np.int64), oblique_affine)
    with pytest.raises(DataError, match="value 3, 4"):
        write_seg_nrrd(path, label + np.uint8(2), oblique_affine)
    with pytest.raises(GeometryError, match="invertible"):
        write_seg_nrrd(path, label, np.zeros((4, 4)))
    assert list(tmp_path.iterdir()) == []


WRITE = """
import sys, resource
from pathlib import Path
import numpy as np
from prostate_uda.review.seg_nrrd import write_seg_nrrd
path, limit = Path(sys.argv[1]), int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
label = np.random.default_rng(0).integers(0, 3, (100, 100, 20)).astype(np.uint8)
try:
    write_seg_nrrd(path, label, np.eye(4))
except OSError as error:
    sys.stdout.write(f"{error.errno} {len(str(error).splitlines())} {[one.name for one in path.parent.iterdir()]}")
"""


@pytest.mark.parametrize("limit", [20_000, 52_000])
def test_a_place_that_takes_no_more_says_why(tmp_path, limit):
    """No file may be larger than half of what is written, or than all but its end."""
    command = [sys.executable, "-c", WRITE, str(tmp_path / "case.seg.nrrd"), str(limit)]
    told = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout
    assert told == f"{errno.EFBIG} 1 []"


def test_a_full_disk_says_so():
    """On a disk of 32 kB of its own."""
    inside = 'mount -t tmpfs -o size=32k none /mnt && exec "$@"'
    alone = ["unshare", "--map-root-user", "--mount", "sh", "-c", inside, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no mount of one's own is allowed here")
    command = [*alone, sys.executable, "-c", WRITE, "/mnt/case.seg.nrrd", "0"]
    told = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout
    assert told == f"{errno.ENOSPC} 1 []"


def test_what_nobody_can_explain_is_an_error_of_the_disk(tmp_path, label, oblique_affine, monkeypatch):
    """A writer that fails where there is room."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("many\nlines")

    monkeypatch.setattr(sitk, "WriteImage", fail)
    with pytest.raises(OSError, match=r"case\.seg\.nrrd") as caught:
        write_seg_nrrd(tmp_path / "case.seg.nrrd", label, oblique_affine)
    assert caught.value.errno == errno.EIO
    assert list(tmp_path.iterdir()) == []
