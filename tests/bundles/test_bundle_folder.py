"""A filled bundle: complete, silent about patients, and MONAI's own command runs it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from prostate_uda.data.preprocessing import WorkingGrid
from prostate_uda.errors import SettingsError, UnknownNameError
from prostate_uda.networks import FinalLogits, build_network
from prostate_uda.recipes.bundle_folder import network_config, preprocessing_config, write_bundle
from prostate_uda.recipes.infer import infer

DEPTH = 3
RECORD = {
    "settings": {"source": "decathlon", "target": "folder", "method": "metacorrection", "source_root": "/home/anna/x"},
    "cases": {"target": {"train": ["Jane-Doe"], "test": []}},
    "hashes": {"target/train/Jane-Doe/image": "0" * 64},
    "results": {"source_only": {"PZ": 0.5}, "adapted": {"PZ": float("nan")}},
    "seed": 7,
}


def network() -> FinalLogits:
    """Untrained, but with heads large enough that all three classes are predicted."""
    made = FinalLogits(
        build_network("deeplab-small", in_channels=DEPTH, num_classes=3, generator=torch.Generator().manual_seed(0))
    ).eval()
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "heads" in name:
                weight.mul_(50)
    return made


def write(out: Path, **changes: Any) -> Path:
    arguments = {
        "network_config": network_config("deeplab-small", in_channels=DEPTH),
        "state_dict": network().state_dict(),
        "preprocessing_config": preprocessing_config(WorkingGrid(spacing_mm=2.0, size=64), "minmax"),
        "depth": DEPTH,
        "provenance": RECORD,
    }
    return write_bundle(out, **(arguments | changes))


def test_a_bundle_is_complete(tmp_path: Path) -> None:
    out = write(tmp_path / "bundle")
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert files == {
        *("LICENSE", "docs/README.md", "models/model.pt"),
        *("configs/inference.json", "configs/metadata.json", "configs/logging.conf"),
    }
    inference = json.loads((out / "configs/inference.json").read_text())
    assert inference["inferer"]["depth"] == inference["network_def"]["network"]["in_channels"] == DEPTH
    assert inference["preprocessing"]["grid"]["size"] == 64
    assert inference["preprocessing"]["normalize"]["_target_"].endswith(".minmax")
    metadata = json.loads((out / "configs/metadata.json").read_text())
    assert metadata["changelog"] == {"0.1.0": "adapted from decathlon to folder with metacorrection"}
    assert metadata["eval_metrics"] == {"source_only": {"PZ": 0.5}, "adapted": {"PZ": None}}
    assert metadata["pytorch_version"] == torch.__version__.split("+")[0]
    image = metadata["network_data_format"]["inputs"]["image"]
    assert (image["num_channels"], image["spatial_shape"], len(image["channel_def"])) == (DEPTH, [64, 64], DEPTH)
    weights = torch.load(out / "models/model.pt", weights_only=True)
    assert all(torch.equal(weights[name], tensor) for name, tensor in network().state_dict().items())


def test_no_patient_and_no_path_travels(tmp_path: Path) -> None:
    out = write(tmp_path / "bundle")
    text = (out / "configs/metadata.json").read_text()
    assert "Jane" not in text
    assert "anna" not in text
    assert '"seed": 7' in text


def test_a_bundle_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    out = write(tmp_path / "bundle")
    (out / "old").touch()
    write(out)
    assert not (out / "old").exists()
    assert list(tmp_path.iterdir()) == [out]


def test_a_failure_leaves_the_old_bundle(tmp_path: Path) -> None:
    out = write(tmp_path / "bundle")
    before = (out / "configs/metadata.json").read_text()
    with pytest.raises(KeyError):
        write(out, preprocessing_config={})
    assert (out / "configs/metadata.json").read_text() == before
    assert list(tmp_path.iterdir()) == [out]


def test_mistakes_are_told(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(SettingsError, match="in use and is no bundle"):
        write(tmp_path)
    with pytest.raises(SettingsError, match="FinalLogits"):
        write(tmp_path / "bundle", state_dict=network().network.state_dict())
    with pytest.raises(UnknownNameError):
        network_config("alexnet", in_channels=1)
    with pytest.raises(UnknownNameError):
        preprocessing_config(WorkingGrid(1.0, 64), "loudness")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def scan(path: Path) -> nib.Nifti1Image:
    """Smooth noise on an oblique grid with a flipped axis."""
    rng = np.random.default_rng(0)
    tilt = np.linalg.qr(np.eye(3) + 0.1 * rng.normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = tilt * np.sign(np.diag(tilt)) @ np.diag([-1.6, 1.7, 4.0])
    affine[:3, 3] = (31.5, -40.25, 7.125)
    image = nib.Nifti1Image(rng.normal(100, 20, (70, 66, 6)).astype(np.float32), affine)
    nib.save(image, path)
    return nib.load(path)


def test_monai_runs_the_bundle_as_infer_does(tmp_path: Path) -> None:
    """``python -m monai.bundle run`` writes whole-number labels on the scan's grid, the same as ours."""
    bundle = write(tmp_path / "bundle")
    (tmp_path / "scans").mkdir()
    image = scan(tmp_path / "scans" / "one.nii.gz")
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    command += ["--meta_file", "configs/metadata.json", "--logging_file", "configs/logging.conf"]
    command += ["--bundle_root", ".", "--dataset_dir", str(tmp_path / "scans"), "--output_dir", str(tmp_path / "out")]
    command += ["--device", "$torch.device('cpu')"]
    done = subprocess.run(
        command, cwd=bundle, capture_output=True, encoding="utf-8", errors="replace", timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    label = nib.load(tmp_path / "out" / "one_zones.nii.gz")
    assert label.get_data_dtype() == np.uint8
    assert label.shape == image.shape
    assert np.allclose(label.affine, image.affine, atol=1e-5)
    found = np.asarray(label.dataobj)
    assert set(np.unique(found)) == {0, 1, 2}
    ours = infer([tmp_path / "scans" / "one.nii.gz"], bundle, tmp_path / "ours", device="cpu")
    assert np.array_equal(found, np.asarray(nib.load(ours[0]).dataobj))
