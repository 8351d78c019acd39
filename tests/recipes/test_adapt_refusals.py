"""What ``adapt`` refuses before anything is trained or written, and what it checks before it resumes."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from prostate_uda.errors import CheckpointError, DataError, ProstateUDAError, SettingsError
from prostate_uda.recipes import AdaptSettings, adapt, make_phantom
from prostate_uda.recipes.record import claimed
from tests.recipes.conftest import TINY


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``source`` and ``target`` folders of three training cases and one test case."""
    root = tmp_path_factory.mktemp("pair")
    make_phantom("phantom-3t", root / "source", train=3, test=1)
    make_phantom("phantom-1.5t", root / "target", train=3, test=1)
    return root


@pytest.fixture
def own(pair: Path, tmp_path: Path) -> Path:
    shutil.copytree(pair, tmp_path / "own")
    return tmp_path / "own"


def settings(own: Path, **more: object) -> AdaptSettings:
    return AdaptSettings(**{**TINY, "source_root": own / "source", "target_root": own / "target", **more})


@pytest.mark.parametrize("part", ["source/imagesTr", "source/imagesTs", "target/imagesTr", "target/imagesTs"])
def test_a_damaged_image_anywhere_stops_before_anything_is_written(own: Path, tmp_path: Path, part: str) -> None:
    victim = sorted((own / part).glob("*.nii.gz"))[0]
    victim.write_bytes(victim.read_bytes()[:2000])
    with pytest.raises(DataError, match=victim.name):
        adapt(settings(own), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("part", ["source/labelsTr", "source/labelsTs", "target/labelsTs"])
def test_an_unknown_value_in_any_label_that_is_read_stops_it_too(own: Path, tmp_path: Path, part: str) -> None:
    victim = sorted((own / part).glob("*.nii.gz"))[0]
    image = nibabel.load(victim)
    array = np.asarray(image.dataobj).copy()
    array[0, 0, 0] = 7
    nibabel.save(nibabel.Nifti1Image(array, image.affine, image.header), victim)
    with pytest.raises(DataError, match="unknown label value 7"):
        adapt(settings(own), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def replace_a_scan(own: Path, part: str) -> str:
    victim = sorted((own / part).glob("*.nii.gz"))[0]
    image = nibabel.load(victim)
    array = np.asarray(image.dataobj).copy()
    array[0, 0, 0] += 1
    nibabel.save(nibabel.Nifti1Image(array, image.affine, image.header), victim)
    return victim.name.removesuffix(".nii.gz")


def test_a_run_is_not_resumed_on_other_scans(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    adapt(settings(own, method="self-training"), out)
    record = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(record | {"status": "running"}))
    name = replace_a_scan(own, "target/imagesTr")
    with pytest.raises(SettingsError, match=f"target/train/{name}/image has changed"):
        adapt(settings(own, method="self-training"), out, resume=True)


def test_a_source_network_of_other_scans_is_not_started_from(own: Path, tmp_path: Path) -> None:
    adapt(settings(own, method="self-training"), tmp_path / "first")
    name = replace_a_scan(own, "source/imagesTr")
    with pytest.raises(SettingsError, match=f"source/train/{name}/image has changed"):
        adapt(settings(own, method="self-training", start_from=tmp_path / "first"), tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_a_finished_run_is_told_again_and_left_alone(finished: Path) -> None:
    files = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    record = adapt(AdaptSettings(**TINY), finished, resume=True)
    assert record["status"] == "done"
    assert files == {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with claimed(out), pytest.raises(SettingsError, match="another process is working"):
        adapt(AdaptSettings(**TINY, method="self-training"), out)
    assert adapt(AdaptSettings(**TINY, method="self-training"), out)["status"] == "done"


def test_what_a_killed_run_leaves_before_its_record_does_not_lock_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / ".run.json.partial").write_text("{")
    assert adapt(AdaptSettings(**TINY, method="source-only"), out)["status"] == "done"


def test_source_only_adapts_nothing(tmp_path: Path) -> None:
    record = adapt(AdaptSettings(**TINY, method="source-only"), tmp_path / "run")
    assert record["results"]["adapted"] == record["results"]["source_only"]
    assert not (tmp_path / "run" / "checkpoints" / "round_1.pt").exists()
    assert (tmp_path / "run" / "bundle" / "models" / "model.pt").is_file()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"weights": Path("/nowhere.pth")}, "nowhere.pth"),
        ({"options": {"level_weights": (1.0,)}}, "1 level weights"),
        ({"method": "adaptsegnet", "options": {"discriminator_stages": 9}}, "96 pixels"),
        ({"seed": 2**64}, "seed"),
        ({"device": "meta"}, "device"),
        ({"learning_rate": float("inf")}, "finite"),
        ({"phantom_size": "tiny"}, "small or full"),
        ({"options": {"epsilon": "abc"}}, "a number"),
        ({"options": {"virtual_rate": None}}, "a number"),
        ({"options": {"level_weights": 1}}, "a list of numbers"),
        ({"options": {"ntm_mode": "fixed"}}, "'per-step' or 'learned'"),
        ({"method": "adaptsegnet", "options": {"discriminator_rate": -1}}, "rate > 0"),
        ({"method": "self-training", "options": {"level_weights": (0.0, 0.0)}}, "at least one"),
    ],
)
def test_settings_that_cannot_work_leave_nothing(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    with pytest.raises(ProstateUDAError, match=reason) as caught:
        adapt(AdaptSettings(**{**TINY, **change}), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_weights_of_another_network_leave_nothing(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(2, 3, 7, 7)}, tmp_path / "weights.pth")
    with pytest.raises(ProstateUDAError):
        adapt(AdaptSettings(**TINY, weights=tmp_path / "weights.pth"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", ["{}", '{"settings": [], "timing": {}, "hashes": {}}', "[", "[]"])
def test_a_damaged_record_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(CheckpointError) as caught:
        adapt(AdaptSettings(**TINY), tmp_path, resume=True)
    assert "\n" not in str(caught.value)


def test_a_damaged_log_line_is_dropped(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    record = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(record | {"status": "running"}))
    (out / "checkpoints" / "round_1.pt").unlink()
    with (out / "logs" / "round_1.jsonl").open("a") as file:
        file.write("not JSON\n")
    adapt(AdaptSettings(**TINY), out, resume=True)
    lines = (out / "logs" / "round_1.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, TINY["steps"] + 1))
