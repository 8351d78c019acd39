"""A sick folder is told everything at once; a healthy one is told so."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from prostate_uda.errors import DataError
from prostate_uda.recipes.doctor import doctor
from prostate_uda.recipes.places import Place

AXIAL = np.diag((-0.5, -0.5, 3.0, 1.0))
SHAPE = (160, 150, 8)


def add(root: Path, name: str, *, seed: int, label: np.ndarray | None = None, affine=AXIAL, images: str = "images"):
    image = np.random.default_rng(seed).gamma(2.0, 200.0, SHAPE).astype(np.float32)
    for part, array in ((images, image), ("labels", label)):
        if array is not None:
            (root / part).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, affine), root / part / f"{name}.nii.gz")


def gland() -> np.ndarray:
    label = np.zeros(SHAPE, dtype=np.uint8)
    label[40:120, 40:80, 1:7] = 2
    label[40:120, 80:110, 1:7] = 1
    return label


def place(root: Path) -> Place:
    return Place.of(str(root))


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    for number in range(5):
        add(tmp_path / "healthy", f"case_{number}", seed=number, label=gland())
    return tmp_path / "healthy"


def test_a_healthy_folder(healthy):
    told = doctor(place(healthy), role="source")
    assert told.healthy
    assert (told.cases, told.readable, told.labelled) == (5, 5, 5)
    assert [finding.level for finding in told.findings] == ["ok", "ok"]
    assert "5 of 5 cases in order: 0.50 x 0.50 x 3.00 mm, glands of 25 to 25 mL" in told.findings[-1].what
    assert json.loads(json.dumps(told.record()))["healthy"] is True


def test_a_sick_folder_is_told_everything(healthy):
    add(healthy, "swapped", seed=10, label=np.choose(gland(), (0, 2, 1)).astype(np.uint8))
    add(healthy, "again", seed=0)
    (healthy / "images" / "cut.nii.gz").write_bytes((healthy / "images" / "case_0.nii.gz").read_bytes()[:999])
    nib.save(nib.Nifti1Image(gland(), AXIAL), healthy / "labels" / "lonely.nii.gz")
    before = sorted(path.stat().st_mtime_ns for path in healthy.rglob("*"))
    told = doctor(place(healthy))
    assert not told.healthy
    assert (told.cases, told.readable, told.labelled) == (8, 7, 6)
    errors = {(finding.check, finding.where) for finding in told.findings if finding.level == "error"}
    assert {("zones-exchanged", "swapped"), ("image", "cut")} < errors
    assert ("duplicate", "case_0") in errors  # again comes first
    assert any(finding.check == "layout" and "lonely" in finding.what for finding in told.findings)
    assert [finding.level for finding in told.findings] == sorted(
        (finding.level for finding in told.findings), key=["error", "warning", "ok"].index
    )
    assert before == sorted(path.stat().st_mtime_ns for path in healthy.rglob("*"))


def test_names_of_label_values_mend_a_swap(tmp_path):
    for number in range(5):
        add(tmp_path, f"case_{number}", seed=number, label=np.choose(gland(), (0, 2, 1)).astype(np.uint8))
    assert not doctor(place(tmp_path)).healthy
    assert doctor(Place.of(str(tmp_path), label_names="1=TZ,2=PZ")).healthy


def test_a_source_needs_labels(healthy, tmp_path):
    for number in range(5):
        add(tmp_path / "bare", f"case_{number}", seed=number)
    assert doctor(place(tmp_path / "bare"), role="target").healthy
    assert not doctor(place(tmp_path / "bare"), role="source").healthy
    add(healthy, "bare", seed=10)
    told = doctor(place(healthy), role="source")
    assert told.healthy
    assert any("without: bare" in finding.what for finding in told.findings)


def test_two_places(healthy, tmp_path):
    for number in range(5):
        add(tmp_path / "other", f"other_{number}", seed=20 + number)
    told = doctor(place(healthy), against=place(tmp_path / "other"))
    assert told.healthy
    assert any(finding.level == "warning" and "look alike" in finding.what for finding in told.findings)
    add(tmp_path / "other", "shared", seed=3)
    told = doctor(place(healthy), against=place(tmp_path / "other"))
    shared = next(finding for finding in told.findings if finding.check == "shared-patient")
    assert (shared.level, shared.where) == ("error", "shared")


def test_progress_is_told(healthy):
    class Counting:
        done, notes = 0, 0

        def task(self, title, total, done=0):
            assert total == 5
            return self

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def advance(self, amount=1, values=None):
            self.done += amount

        def note(self, text):
            self.notes += 1

    progress = Counting()
    doctor(place(healthy), progress=progress)
    assert progress.done == 5


def test_places_as_users_say_them(tmp_path, healthy):
    assert Place.of("phantom-3t").title == "phantom-3t"
    assert place(healthy).domain.name == "folder"
    for text, name in (('{"numTraining": 5}', "folder"), ('{"training": []}', "decathlon"), ("{", "decathlon")):
        (healthy / "dataset.json").write_text(text)
        assert place(healthy).domain.name == name
    with pytest.raises(DataError, match="neither a folder nor a domain"):
        Place.of(str(tmp_path / "none"))
    with pytest.raises(DataError, match="needs its folder"):
        Place.of("decathlon")
    with pytest.raises(DataError, match="is no domain"):
        Place.of("typo", root=tmp_path)


def test_a_broken_data_list_is_told_and_the_files_are_looked_at(tmp_path):
    for number in range(5):
        add(tmp_path, f"case_{number}", seed=number, label=gland())
    (tmp_path / "dataset.json").write_text("{")
    told = doctor(place(tmp_path))
    assert [finding.check for finding in told.findings if finding.level == "error"] == ["layout"]
    assert told.labelled == 5


def test_real_scanners_are_told_apart(shared_data):
    siemens = shared_data / "prostatex-siemens-3t"
    told = doctor(
        Place.of(str(siemens / "dicom"), labels=siemens / "zones-ai" / "Yuan23"),
        against=Place.of(str(shared_data / "prostate-mri-philips-3t-erc")),
        role="source",
    )
    assert told.healthy
    assert told.labelled == 4
    shift = next(finding for finding in told.findings if finding.check == "shift")
    assert "Siemens Skyra, 3 T | Philips Achieva, 3 T" in shift.what


def test_a_diffusion_series_is_no_t2(shared_data: Path) -> None:
    (adc,) = (shared_data / "prostatex-full-study" / "ProstateX-0000").glob("*/7*ADC*")
    found = doctor(Place.of(str(adc)))
    assert any(finding.check == "contrast" and "no T2" in finding.what for finding in found.findings)
    assert not found.healthy
