"""A filled bundle: complete, silent about patients, and MONAI's own command runs it."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from prostate_uda.data.cache import content_hash
from prostate_uda.data.preprocessing import WorkingGrid
from prostate_uda.errors import SettingsError, UnknownNameError
from prostate_uda.recipes.bundle_folder import network_config, preprocessing_config
from prostate_uda.recipes.infer import InferSettings, infer
from tests.bundles.conftest import DEPTH, RECORD, network, write


def test_a_bundle_is_complete(tmp_path: Path) -> None:
    out = write(tmp_path / "bundle")
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert files == {
        *("LICENSE", "docs/README.md", "models/model.pt"),
        *("configs/inference.json", "configs/evaluate.json", "configs/metadata.json", "configs/logging.conf"),
        *("configs/train.json", "configs/adapt.json", "configs/multi_gpu_adapt.json"),
    }
    inference = json.loads((out / "configs/inference.json").read_text())
    assert inference["inferer"]["depth"] == inference["network_def"]["network"]["in_channels"] == DEPTH
    assert inference["preprocessing"]["grid"]["size"] == 64
    assert inference["preprocessing"]["normalize"]["_target_"].endswith(".minmax")
    metadata = json.loads((out / "configs/metadata.json").read_text())
    assert metadata["changelog"] == {"0.1.0": "adapted from decathlon to folder with metacorrection"}
    assert metadata["eval_metrics"] == RECORD["results"] | {"adapted": {"PZ": None, "WP": 0.9}}
    assert metadata["pytorch_version"] == torch.__version__.split("+")[0]
    image = metadata["network_data_format"]["inputs"]["image"]
    assert (image["num_channels"], image["spatial_shape"], len(image["channel_def"])) == (DEPTH, [64, 64], DEPTH)
    weights = torch.load(out / "models/model.pt", weights_only=True)
    assert all(torch.equal(weights[name], tensor) for name, tensor in network().state_dict().items())


def test_no_patient_and_no_path_travels(tmp_path: Path) -> None:
    out = write(tmp_path / "bundle")
    text = "".join(
        path.read_text(encoding="utf-8") for path in out.rglob("*") if path.suffix != ".pt" and path.is_file()
    )
    assert "Jane" not in text
    assert "anna" not in text
    assert "0" * 64 not in text
    assert '"seed": 7' in text


def test_the_training_configs_are_the_runs(tmp_path: Path) -> None:
    """The network, the working grid and what decided the run; what is of other configs is the template's."""
    out = write(tmp_path / "bundle")
    inference, train, adapt = (
        json.loads((out / f"configs/{n}.json").read_text()) for n in ("inference", "train", "adapt")
    )
    assert train["network_def"] == inference["network_def"]
    assert train["preprocessing"] == inference["preprocessing"]
    assert train["depth"] == DEPTH
    assert (train["batch_size"], train["learning_rate"], train["epochs"] * train["epoch_length"]) == (2, 1e-3, 600)
    assert train["optimization"]["algorithm"] == "sgd"
    assert train["optimization"]["head_factor"] == 10.0
    assert train["train"]["preprocessing"]["_target_"].endswith(".plain")
    assert adapt["method"]["name"] == "metacorrection"
    assert adapt["method"]["level_weights"] == [0.2, 1.0]
    assert (adapt["warm_up"], adapt["predictor_steps"], adapt["learning_rate"]) == (False, 40, 1e-4)
    assert (adapt["epochs"], adapt["pseudo_threshold"]) == (3, 0.5)  # 120 steps are three epochs of 50


def test_a_source_only_run_leaves_the_templates_adaptation(tmp_path: Path) -> None:
    out = write(tmp_path / "bundle", provenance={"settings": {"method": "source-only", "options": {}}})
    adapt = json.loads((out / "configs/adapt.json").read_text())
    assert (adapt["method"]["name"], adapt["warm_up"]) == ("recommended", True)


def test_the_page_shows_what_was_measured_and_nothing_else(tmp_path: Path) -> None:
    page = (write(tmp_path / "bundle") / "docs/README.md").read_text(encoding="utf-8")
    assert "| source network, target's test cases | 0.500 | 0.750 | 0.800 |" in page
    assert "| adapted network, target's test cases | - | - | 0.900 |" in page
    assert "(source: decathlon, 1 cases held out; target: folder, 2 test cases)" in page
    assert "source's held-out cases" not in page
    assert "This is the template" not in page
    assert "## Limitations" in page
    page = (write(tmp_path / "bundle", provenance={}) / "docs/README.md").read_text(encoding="utf-8")
    assert "Not measured" in page
    assert "| PZ | TZ |" not in page


def test_what_the_training_scans_were_like_goes_into_the_metadata(tmp_path: Path) -> None:
    out = write(tmp_path / "bundle", training_scans={"usual_uncertainty": 0.25})
    told = json.loads((out / "configs/metadata.json").read_text())["training_scans"]
    assert told == {"usual_uncertainty": 0.25, "of_weights": content_hash(out / "models/model.pt")}


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
    plain = InferSettings(device="cpu", follow=False, review=False)
    ours = infer([tmp_path / "scans" / "one.nii.gz"], bundle, tmp_path / "ours", plain)
    assert np.mean(found != np.asarray(nib.load(ours.labels[0]).dataobj)) < 1e-3  # rounding decides ties
