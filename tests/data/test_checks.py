"""One case with one thing wrong, and the finding that says so."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from prostate_uda.data.checks import examine, standard_quantiles
from prostate_uda.data.domains import Case

AXIAL = np.diag((-0.5, -0.5, 3.0, 1.0))
SHAPE = (200, 180, 12)


def scan(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 900, shape).astype(np.float32)


def gland(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """TZ in front, PZ behind: 45 × 35 × 24 mm, 37.8 mL."""
    label = np.zeros(shape, dtype=np.uint8)
    label[50:140, 50:90, 2:10] = 2
    label[50:140, 90:120, 2:10] = 1
    return label


def write(path: Path, array: np.ndarray, affine: np.ndarray = AXIAL) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def found(tmp_path: Path, image: np.ndarray, label: np.ndarray | None = None, affine=AXIAL, label_affine=None):
    path = write(tmp_path / "p1.nii.gz", image, affine)
    truth = None
    if label is not None:
        truth = write(tmp_path / "p1_seg.nii.gz", label, affine if label_affine is None else label_affine)
    seen = examine(Case("p1", path, truth))
    return {finding.check: finding for finding in seen.findings}, seen.facts


def test_a_good_case_has_facts_and_no_finding(tmp_path):
    wrong, facts = found(tmp_path, scan(), gland())
    assert wrong == {}
    assert facts.labelled
    assert facts.gland_ml == pytest.approx(90 * 70 * 8 * 0.75 / 1000)
    assert facts.grid.shape == SHAPE
    assert found(tmp_path, scan())[1].labelled is False


def shifted() -> np.ndarray:
    affine = AXIAL.copy()
    affine[0, 3] = 5
    return affine


def holed() -> np.ndarray:
    label = gland()
    label[:, :, 5] = 0
    return label


@pytest.mark.parametrize(
    ("change", "check", "level", "words"),
    [
        ({"label": gland(), "label_affine": shifted()}, "grid", "error", "not on the grid"),
        ({"label": np.where(gland() == 1, 7, 0).astype(np.uint8)}, "label", "error", "unknown label value 7"),
        ({"label": np.zeros(SHAPE, np.uint8)}, "empty-label", "error", "no zone at all"),
        ({"label": np.where(gland() == 1, 1, 0).astype(np.uint8)}, "one-zone", "warning", "PZ alone"),
        ({"label": np.choose(gland(), (0, 2, 1)).astype(np.uint8)}, "zones-exchanged", "error", "exchanged"),
        ({"label": holed()}, "label-holes", "warning", "slice 6 "),
        ({"affine": AXIAL / 2, "label": gland()}, "volume", "warning", "4.7 mL"),
        ({"affine": np.diag((-0.05, -0.05, 0.3, 1))}, "spacing", "warning", "0.15 to 2 mm"),
        ({"affine": np.diag((-0.5, -0.8, 3.0, 1))}, "spacing", "warning", "not square"),
        ({"affine": np.diag((-0.2, -0.2, 3.0, 1))}, "spacing", "warning", "field of view of 40 x 36 mm"),
        ({"affine": np.eye(4)}, "spacing", "warning", "probably lost"),
        ({"affine": np.diag((-3.0, -0.5, 0.5, 1))}, "axial", "error", "not an axial series"),
        ({"image": scan(shape=(200, 180, 1))}, "slices", "error", "one slice"),
        ({"image": scan(shape=(200, 180, 4))}, "slices", "warning", "4 slices"),
        ({"image": np.full(SHAPE, np.nan, np.float32)}, "image", "error", "not finite"),
        ({"image": np.ones(SHAPE, np.float32)}, "image", "error", "every voxel is 1"),
        ({"image": scan(shape=(20, 18))}, "image", "error", "2 dimensions"),
        ({"image": gland().astype(np.float32)}, "intensities", "error", "a label map"),
        ({"image": scan().clip(0, 500)}, "intensities", "warning", "clipped"),
    ],
)
def test_what_is_wrong_is_found(tmp_path, change, check, level, words):
    wrong, _ = found(tmp_path, **{"image": scan(), **change})
    finding = wrong[check]
    assert (finding.level, finding.where) == (level, "p1")
    assert words in finding.what
    assert finding.mend
    assert str(tmp_path / "p1.nii.gz") not in finding.what or check == "grid"


def test_a_cut_file_is_a_finding(tmp_path):
    path = write(tmp_path / "p1.nii.gz", scan())
    path.write_bytes(path.read_bytes()[:5000])
    seen = examine(Case("p1", path))
    assert [finding.check for finding in seen.findings] == ["image"]
    assert "cut short" in seen.findings[0].what
    assert seen.facts is None


def test_a_label_that_cannot_be_used_leaves_the_image(tmp_path):
    _, facts = found(tmp_path, scan(), np.full(SHAPE, 9, np.uint8))
    assert facts is not None
    assert not facts.labelled


def test_quantiles_know_no_unit():
    image = scan()
    assert np.allclose(standard_quantiles(image), standard_quantiles(3 * image), atol=1e-6)
    assert np.all(np.diff(standard_quantiles(image)) > 0)


def test_a_missing_slice_is_found(shared_data):
    seen = examine(Case("hole", shared_data / "prostatex-full-study" / "missing-slice"))
    assert "a slice is missing" in seen.findings[0].what


def test_dicom_says_who_took_it(shared_data):
    image = shared_data / "prostate-mri-philips-3t-erc" / "MIP-PROSTATE-01-0001"
    seen = examine(Case("p", image))
    assert seen.findings == []
    assert seen.facts.scanner.title == "Philips Achieva, 3 T"
    assert seen.facts.scanner.study
