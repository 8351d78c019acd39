"""``infer``: nothing of the user's is lost, and what cannot work is told before anything is written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from prostate_uda.cli import app
from prostate_uda.data.volumes import read_image, read_label
from prostate_uda.data.writing import write_label
from prostate_uda.errors import CheckpointError, DataError, SettingsError
from prostate_uda.recipes import InferSettings, infer
from tests.recipes.conftest import Heard
from tests.recipes.test_adapt import phantom_split

CPU = InferSettings(device="cpu")


@pytest.fixture
def scan(finished: Path, tmp_path: Path) -> Path:
    (tmp_path / "scans").mkdir()
    return Path(shutil.copy(phantom_split("phantom-1.5t").test[0].image, tmp_path / "scans" / "pat.nii.gz"))


@pytest.fixture
def bundle(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished / "bundle", tmp_path / "bundle"))


def test_a_scan_is_never_written_over(finished: Path, scan: Path) -> None:
    before = scan.read_bytes()
    zones = Path(shutil.copy(scan, scan.parent / "pat_zones.nii.gz"))
    with pytest.raises(SettingsError, match="one of the scans"):
        infer([scan, zones], finished, scan.parent, CPU)
    with pytest.raises(SettingsError, match="no label map"):
        infer([scan], finished, scan.parent, CPU)
    assert scan.read_bytes() == zones.read_bytes() == before


def test_a_label_map_of_ours_is_replaced(finished: Path, scan: Path, tmp_path: Path) -> None:
    for _ in range(2):
        (written,) = infer([scan], finished, tmp_path / "out", CPU).labels
    assert nibabel.load(written).get_data_dtype() == np.uint8


def test_a_truth_that_prepare_wrote_is_kept(finished: Path, scan: Path) -> None:
    """It is a label map of ours to look at, too."""
    case = phantom_split("phantom-1.5t").test[0]
    for folder in ("imagesTr", "labelsTr"):
        (scan.parent / folder).mkdir()
    image, truth = shutil.copy(scan, scan.parent / "imagesTr"), scan.parent / "labelsTr" / "pat_zones.nii.gz"
    write_label(truth, read_label(case.label, case.values).array, read_image(scan))
    before = truth.read_bytes()
    (scan.parent / "dataset.json").write_text("{}")
    with pytest.raises(SettingsError, match="belongs to a data set"):
        infer([Path(image)], finished, truth.parent, CPU)
    assert truth.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"notes", b"\x1f\x8b\x08\x00" + bytes(400), None])
def test_what_cannot_be_read_is_not_replaced(finished: Path, scan: Path, tmp_path: Path, content: bytes | None) -> None:
    place = tmp_path / "out" / "pat_zones.nii.gz"
    place.parent.mkdir()
    if content is None:
        place.mkdir()
    else:
        place.write_bytes(content)
    with pytest.raises(SettingsError, match="no label map"):
        infer([scan], finished, place.parent, CPU)
    assert place.is_dir() if content is None else place.read_bytes() == content


def test_names_that_no_disk_takes_are_one_line(finished: Path, scan: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be written"):
        infer([scan], finished, tmp_path / ("a" * 300), CPU)
    with pytest.raises(DataError, match="cannot be read"):
        infer([tmp_path / f"{'a' * 300}.nii.gz"], finished, tmp_path / "out", CPU)


@pytest.mark.parametrize("bad", ["missing.nii.gz", "notes.txt"])
def test_a_bad_input_stops_before_the_good_ones_are_segmented(
    finished: Path, scan: Path, tmp_path: Path, bad: str
) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=bad.split(".")[0]):
        infer([scan, tmp_path / bad], finished, tmp_path / "out", CPU)
    assert not (tmp_path / "out").exists()


def flipped(content: bytes) -> bytes:
    """One bit of a weight."""
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 64
    return bytes(damaged)


@pytest.mark.parametrize(
    "damage",
    [lambda _: b"", lambda _: b"garbage", lambda _: b"\x80\x02.", lambda content: content[:5000], flipped],
    ids=["empty", "garbage", "pickle", "cut", "one bit"],
)
def test_damaged_weights_are_one_line(
    bundle: Path, scan: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    weights = bundle / "models" / "model.pt"
    weights.write_bytes(damage(weights.read_bytes()))
    with pytest.raises(CheckpointError, match=r"model\.pt is damaged") as caught:
        infer([scan], bundle, tmp_path / "out", CPU)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_weights_of_another_network_are_one_line(bundle: Path, scan: Path, tmp_path: Path) -> None:
    torch.save({"network.stem.weight": torch.zeros(1)}, bundle / "models" / "model.pt")
    with pytest.raises(CheckpointError, match=r"model\.pt holds the weights of another network") as caught:
        infer([scan], bundle, tmp_path / "out", CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        *({"network_def": None}, {"preprocessing": None}, {"inferer": None}),
        *({"inferer": 3}, {"preprocessing": {"grid": 1}}, {"network_def": "$1+"}),
        {"network_def": {"_target_": "prostate_uda.networks.Nothing"}},
        "{",
    ],
    ids=str,
)
def test_a_damaged_configuration_is_one_line(
    bundle: Path, scan: Path, tmp_path: Path, change: str | dict[str, Any]
) -> None:
    config = bundle / "configs" / "inference.json"
    if isinstance(change, str):
        config.write_text(change)
    else:
        content = {**json.loads(config.read_text()), **change}
        config.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
    with pytest.raises(CheckpointError, match=r"inference\.json") as caught:
        infer([scan], bundle, tmp_path / "out", CPU)
    assert "\n" not in str(caught.value)


def test_an_output_that_is_a_file(finished: Path, scan: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(SettingsError, match="cannot be written"):
        infer([scan], finished, tmp_path / "out", CPU)
    assert (tmp_path / "out").read_text() == "mine"


def test_the_command_prints_long_paths_whole_in_a_pipe(finished: Path, scan: Path, tmp_path: Path) -> None:
    out = tmp_path / ("a" * 90)
    done = CliRunner().invoke(app, ["infer", str(scan), f"--bundle={finished}", f"--out={out}", "--device=cpu"])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-2] == str(out / "pat_zones.nii.gz")


def test_the_series_of_a_study_is_chosen_and_told(finished: Path, tmp_path: Path, shared_data: Path) -> None:
    heard = Heard()
    study = shared_data / "prostatex-full-study" / "ProstateX-0000"
    infer([study], finished, tmp_path / "out", CPU, progress=heard)
    assert heard.notes == ["ProstateX-0000: axial T2 series 't2_tse_tra' (19 images)"]


def test_several_patients_in_one_folder_are_named_as_such(finished: Path, tmp_path: Path, shared_data: Path) -> None:
    root = shared_data / "prostatex-siemens-3t" / "dicom"
    with pytest.raises(DataError, match=rf"these are 4 patients; give each one's folder, {root}/\*"):
        infer([root], finished, tmp_path / "out", CPU)
    assert not (tmp_path / "out").exists()
