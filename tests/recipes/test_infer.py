"""``infer``: nothing of the user's is lost, and what cannot work is told before anything is written."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from prostate_uda.errors import CheckpointError, DataError, SettingsError
from prostate_uda.recipes import infer
from tests.recipes.conftest import Heard
from tests.recipes.test_adapt import phantom_split


@pytest.fixture
def scan(finished: Path, tmp_path: Path) -> Path:
    (tmp_path / "scans").mkdir()
    return Path(shutil.copy(phantom_split("phantom-1.5t").test[0].image, tmp_path / "scans" / "pat.nii.gz"))


@pytest.fixture
def bundle(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished / "bundle", tmp_path / "bundle"))


def test_a_scan_is_never_written_over(finished: Path, scan: Path) -> None:
    before = scan.read_bytes()
    with pytest.raises(SettingsError, match="one of the scans"):
        infer([scan], finished, scan.parent, device="cpu")
    other = Path(shutil.copy(scan, scan.parent / "other.nii.gz"))
    (scan.parent / "here").mkdir()
    image = Path(shutil.copy(scan, scan.parent / "here" / "pat.nii.gz"))
    with pytest.raises(SettingsError, match="no label map"):
        infer([scan], finished, image.parent, device="cpu")
    assert scan.read_bytes() == image.read_bytes() == other.read_bytes() == before


def test_a_label_map_of_ours_is_replaced(finished: Path, scan: Path, tmp_path: Path) -> None:
    for _ in range(2):
        (written,) = infer([scan], finished, tmp_path / "out", device="cpu")
    assert nibabel.load(written).get_data_dtype() == np.uint8


@pytest.mark.parametrize("bad", ["missing.nii.gz", "notes.txt", "empty"])
def test_a_bad_input_stops_before_the_good_ones_are_segmented(
    finished: Path, scan: Path, tmp_path: Path, bad: str
) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=bad.split(".")[0]):
        infer([scan, tmp_path / bad], finished, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_damaged_weights_are_one_line(bundle: Path, scan: Path, tmp_path: Path, damage: bytes | None) -> None:
    weights = bundle / "models" / "model.pt"
    weights.write_bytes(weights.read_bytes()[:5000] if damage is None else damage)
    with pytest.raises(CheckpointError, match=r"model\.pt is damaged") as caught:
        infer([scan], bundle, tmp_path / "out", device="cpu")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", ["cut", "no network", "unknown class"])
def test_a_damaged_configuration_is_one_line(bundle: Path, scan: Path, tmp_path: Path, change: str) -> None:
    config = bundle / "configs" / "inference.json"
    content = json.loads(config.read_text())
    if change == "no network":
        del content["network_def"]
    else:
        content["network_def"]["_target_"] = "prostate_uda.networks.Nothing"
    config.write_text("{" if change == "cut" else json.dumps(content))
    with pytest.raises(CheckpointError, match=r"inference\.json") as caught:
        infer([scan], bundle, tmp_path / "out", device="cpu")
    assert "\n" not in str(caught.value)


def test_an_output_that_is_a_file(finished: Path, scan: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(SettingsError, match="cannot be written"):
        infer([scan], finished, tmp_path / "out", device="cpu")
    assert (tmp_path / "out").read_text() == "mine"


def test_the_series_of_a_study_is_chosen_and_told(finished: Path, tmp_path: Path, shared_data: Path) -> None:
    heard = Heard()
    study = shared_data / "prostatex-full-study" / "ProstateX-0000"
    infer([study], finished, tmp_path / "out", device="cpu", progress=heard)
    assert len(heard.notes) == 1
    assert "t2_tse_tra" in heard.notes[0]


def test_several_patients_in_one_folder_are_named_as_such(finished: Path, tmp_path: Path, shared_data: Path) -> None:
    with pytest.raises(DataError, match="4 studies; give each patient's folder"):
        infer([shared_data / "prostatex-siemens-3t" / "dicom"], finished, tmp_path / "out", device="cpu")
