"""Every loader of images and labels, on volumes of any shape, type and affine, and on files with changed bytes."""

import gzip
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial.transform import Rotation

from prostate_uda.data.geometry import Grid
from prostate_uda.data.scene_classes import SCENE_CLASSES
from prostate_uda.data.scene_images import read_scene, read_scene_label
from prostate_uda.data.volumes import ITK_SUFFIXES, LPS_TO_RAS, NIFTI_SUFFIXES, read_image, read_label
from prostate_uda.errors import DataError, ProstateUDAError
from tests.conftest import _series
from tests.fuzz_headers import KINDS, Harness, changed

QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large)
FEW = settings(max_examples=25, deadline=None, suppress_health_check=QUIET)
MANY = settings(max_examples=1000, deadline=None, suppress_health_check=QUIET)

NIFTI_TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "c8")
DAMAGES = ("none", "none", "none", "none", "singular", "sheared", "nan", "huge", "small")
SFORM = slice(280, 328)
"""The three rows of a NIfTI header's affine."""
MAPPING = {0: 0, 1: 1, 2: 2, 255: 255}


@contextmanager
def folder() -> Iterator[Path]:
    """Hypothesis asks for a new one in every example, which ``tmp_path`` is not."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@st.composite
def arrays(draw: st.DrawFn, types: tuple[str, ...] = NIFTI_TYPES) -> np.ndarray:
    """One to five axes, numbers of any kind, now and then constant or not finite."""
    axes = draw(st.sampled_from((3, 3, 3, 3, 4, 2, 1, 5)))
    shape = draw(st.tuples(*[st.integers(1, 6)] * axes))
    rng, dtype = np.random.default_rng(draw(st.integers(0, 2**32 - 1))), np.dtype(draw(st.sampled_from(types)))
    array = rng.integers(0, 127, shape).astype(dtype)
    if draw(st.integers(0, 5)) == 0:
        array[...] = array.flat[0]
    if dtype.kind == "f" and draw(st.integers(0, 4)) == 0:
        array.flat[0] = draw(st.sampled_from((np.nan, np.inf, -np.inf, np.finfo(dtype).max)))
    return array


@st.composite
def affines(draw: st.DrawFn) -> tuple[np.ndarray, bool]:
    """A turned grid, and whether it is one: some have no volume, a shear, no number, or voxels of no scanner."""
    angles = draw(st.tuples(*[st.floats(-180, 180)] * 3))
    affine = np.eye(4)
    spacing = draw(st.tuples(*[st.floats(0.05, 20)] * 3))
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    match damage := draw(st.sampled_from(DAMAGES)):
        case "singular":
            affine[:3, 1] = 0
        case "sheared":
            affine[:3, 1] += 0.5 * affine[:3, 0] / spacing[0] * spacing[1]
        case "nan":
            affine[1, 1] = np.nan
        case "huge":
            affine[:3, :3] *= 1e4
        case "small":
            affine[:3, :3] *= 1e-5
    return affine, damage == "none"


def write_volume(path: Path, array: np.ndarray, affine: np.ndarray) -> bool:
    """Whether the format can hold it at all."""
    if path.name.endswith(NIFTI_SUFFIXES):
        content = bytearray(nib.Nifti1Image(array, np.eye(4), dtype=array.dtype).to_bytes())
        content[SFORM] = np.asarray(affine[:3], dtype="<f4").tobytes()  # nibabel writes no grid that is none
        path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
        return True
    if array.ndim != 3 or array.dtype.kind == "c" or not np.isfinite(affine).all():
        return False
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    lps = LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    try:
        image.SetSpacing(spacing.tolist())
        image.SetDirection((lps[:3, :3] / spacing.clip(1e-300)).ravel().tolist())
        image.SetOrigin(lps[:3, 3].tolist())
        sitk.WriteImage(image, str(path))
    except RuntimeError:
        return False
    return True


def check_image(array: np.ndarray, affine: tuple[np.ndarray, bool], suffix: str) -> None:
    """What is a volume is read as it is, on its grid; what is none is refused in one line."""
    matrix, fine_grid = affine
    plain = np.asarray(array.real, dtype=np.float64)
    fine = array.ndim == 3 and array.dtype.kind != "c" and fine_grid
    fine = fine and bool((np.abs(plain) <= np.finfo(np.float32).max).all()) and plain.min() < plain.max()
    with folder() as place:
        path = place / f"a volume{suffix}"
        if not write_volume(path, array, matrix):
            return
        try:
            volume = read_image(path)
        except DataError as error:
            assert not fine, error  # noqa: PT017  a result is right, too
            assert "\n" not in str(error)  # noqa: PT017  a result is right, too
            return
    assert fine or array.ndim == 4
    if array.ndim == 3:
        assert np.array_equal(volume.array, array.astype(np.float32))
    else:
        assert np.array_equal(volume.array, array[..., 0].astype(np.float32))
    assert np.allclose(volume.grid.affine, matrix, rtol=1e-4, atol=1e-3 * np.abs(matrix).max())
    assert volume.grid.same_as(Grid(volume.array.shape, matrix), tolerance_mm=0.05)


@pytest.mark.parametrize("suffix", [*NIFTI_SUFFIXES, *ITK_SUFFIXES])
@FEW
@given(array=arrays(), affine=affines())
def test_volumes(suffix: str, array: np.ndarray, affine: tuple[np.ndarray, bool]) -> None:
    check_image(array, affine, suffix)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [*NIFTI_SUFFIXES, *ITK_SUFFIXES])
@MANY
@given(array=arrays(), affine=affines())
def test_volumes_many_times(suffix: str, array: np.ndarray, affine: tuple[np.ndarray, bool]) -> None:
    check_image(array, affine, suffix)


@FEW
@given(array=arrays(("u1", "i2", "f4", "f8")), extra=st.sampled_from((None, 3, 0.5, -1, 255, np.nan)))
def test_labels_hold_what_the_mapping_names(array: np.ndarray, extra: float | None) -> None:
    with np.errstate(invalid="ignore"):
        array = (array.real.clip(0, 127) % 3).astype(array.dtype)
    array[~np.isfinite(array)] = 0
    if extra is not None and (array.dtype.kind == "f" or (extra == int(extra) if extra == extra else False)):
        array.flat[0] = extra if array.dtype.kind != "u" else abs(extra)
    fine = array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 1)
    fine = fine and set(np.unique(array).tolist()) <= {*MAPPING}
    with folder() as place:
        nib.save(nib.Nifti1Image(array, np.eye(4), dtype=array.dtype), place / "label.nii")
        try:
            label = read_label(place / "label.nii", MAPPING)
        except DataError as error:
            assert not fine, error  # noqa: PT017  a result is right, too
            assert "\n" not in str(error)  # noqa: PT017  a result is right, too
            return
    assert fine
    assert np.array_equal(label.array, array.reshape(label.array.shape))


@FEW
@given(
    count=st.integers(1, 7),
    lost=st.sets(st.integers(0, 6), max_size=3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    angles=st.tuples(*[st.floats(-40, 40)] * 3),
)
def test_series_have_all_slices_or_are_refused(
    count: int, lost: set[int], spacing: tuple[float, ...], angles: tuple[float, ...]
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing * (-1, -1, 1)
    left = sorted(set(range(count)) - lost)
    whole = len(left) >= 2 and len(set(np.diff(left).tolist())) == 1
    array = np.random.default_rng(count).integers(0, 900, (5, 4, count), dtype=np.uint16)
    with folder() as place:
        _series(place / "series", array, affine=affine, leave_out=tuple(lost))
        try:
            volume = read_image(place / "series")
        except ProstateUDAError as error:
            assert not whole, error  # noqa: PT017  a result is right, too
            return
    assert whole
    step = left[1] - left[0]  # nothing tells a series of every other slice from one with thick slices
    here = affine @ np.diag((1.0, 1.0, step, 1.0))
    here[:3, 3] = affine[:3, 2] * left[0]
    assert volume.grid.same_as(Grid((5, 4, len(left)), here), tolerance_mm=0.02)
    assert np.array_equal(volume.array, array[:, :, left])


MODES = ("L", "P", "RGB", "RGBA", "1", "LA", "I;16", "CMYK")


@FEW
@given(
    mode=st.sampled_from(MODES), size=st.tuples(*[st.integers(1, 9)] * 2), jpeg=st.booleans(), seed=st.integers(0, 99)
)
def test_pictures_and_labels_are_read_as_they_are_or_refused(
    mode: str, size: tuple[int, int], jpeg: bool, seed: int
) -> None:
    numbers = np.random.default_rng(seed).integers(0, len(SCENE_CLASSES) + seed % 2, size[::-1], dtype=np.uint8)
    picture = Image.fromarray(numbers.astype(np.uint16)) if mode == "I;16" else Image.fromarray(numbers).convert(mode)
    values = {value: value for value in range(len(SCENE_CLASSES))}
    with folder() as place:
        path = place / ("a.jpg" if jpeg and mode in ("L", "RGB", "CMYK") else "a.png")
        try:
            picture.save(path)
        except OSError:  # no PNG can hold CMYK
            return
        for read in (read_scene, lambda path: read_scene_label(path, values)):
            try:
                found = read(path)
            except DataError as error:
                assert "\n" not in str(error)  # noqa: PT017  a result is right, too
                continue
            assert found.dtype == np.uint8
            assert found.shape[:2] == size[::-1]
            if found.ndim == 2:
                assert np.array_equal(found, np.asarray(picture))
                assert set(np.unique(found).tolist()) <= {*values}
            elif mode in ("L", "RGB") and path.suffix == ".png":
                assert np.array_equal(found, np.asarray(picture.convert("RGB")))


def fuzz_bytes(kind: str, tries: int, seed: int, findings: Path) -> None:
    """Changed files, each read or refused; what happens else is kept with its file, as ``fuzz_headers`` does."""
    findings.mkdir()
    harness, rng = Harness(findings), random.Random(seed)
    for _ in range(tries):
        harness.one(kind, changed(rng.choice(harness.seeds[kind]), rng))
    told = [path.read_text(encoding="utf-8") for path in findings.glob(f"{kind}-*.txt")]
    assert not told, told[0]
    assert harness.ends.total() == tries
    assert harness.ends[f"{kind}: refused"] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_changed_bytes(kind: str, tmp_path: Path) -> None:
    fuzz_bytes(kind, 40, 0, tmp_path / "findings")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_changed_bytes_many_times(kind: str, tmp_path: Path) -> None:
    fuzz_bytes(kind, 2000, 1, tmp_path / "findings")
