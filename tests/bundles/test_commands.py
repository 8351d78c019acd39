"""``python -m monai.bundle run`` with every config, as the bundle's page has it: train, adapt, segment, judge."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from monai.bundle.scripts import run_workflow

from prostate_uda.recipes import evaluate
from prostate_uda.recipes.bundle_folder import template
from tests.bundles.conftest import write

MONAI = [sys.executable, "-m", "monai.bundle", "run"]
TORCHRUN = [
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--nproc-per-node=2",
    "-m",
    "monai.bundle",
    "run",
]
FEW = {"epochs": 1, "epoch_length": 2, "batch_size": 2}
TRAIN, ADAPT = ["configs/train.json"], ["configs/train.json", "configs/adapt.json"]


def run(bundle: Path, start: list[str], configs: list[str], **settings: object) -> str:
    """What a command in the bundle's folder says."""
    files = "[" + ",".join(f"'{name}'" for name in configs) + "]" if len(configs) > 1 else configs[0]
    flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    done = subprocess.run(
        [*start, "--config_file", files, "--bundle_root", ".", *flags],
        cwd=bundle,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_evaluate_judges_as_our_command_does(tmp_path: Path, phantoms: dict[str, Path]) -> None:
    bundle, scans, truths = write(tmp_path / "bundle"), phantoms["target"] / "imagesTr", phantoms["target"] / "labelsTr"
    configs = ["configs/inference.json", "configs/evaluate.json"]
    out = tmp_path / "out"
    told = run(bundle, MONAI, configs, dataset_dir=scans, labels_dir=truths, output_dir=out)
    rows, means = evaluate(out, truths, out=tmp_path / "theirs.csv")
    assert (out / "metrics.csv").read_text() == (tmp_path / "theirs.csv").read_text()
    assert len(rows) == 3
    assert f"PZ {means['PZ']:.3f}, TZ {means['TZ']:.3f}, WP {means['WP']:.3f}" in told
    assert all(f"{row['case']}: PZ {row['PZ']:.3f}" in told for row in rows)


@pytest.mark.filterwarnings("ignore:.*GHSA-873f-pvrv-4x83.*:UserWarning")
def test_the_same_from_python(tmp_path: Path, phantoms: dict[str, Path]) -> None:
    """``ConfigWorkflow`` as the page has it, and ``run_workflow``; flips are another answer."""
    bundle, scans = write(tmp_path / "bundle"), phantoms["target"] / "imagesTs"
    common = {"bundle_root": str(bundle), "dataset_dir": str(scans), "device": "$torch.device('cpu')"}
    config, out = str(bundle / "configs/inference.json"), tmp_path / "one"
    workflow = ConfigWorkflow(config, workflow_type="infer", logging_file=False, **common, output_dir=str(out))
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    more = {
        "logging_file": False,
        "workflow_type": "infer",
        "output_dir": str(tmp_path / "two"),
        "inferer::flips": True,
    }
    run_workflow("ConfigWorkflow", config_file=config, **common, **more)
    (name,) = [path.name for path in out.iterdir()]
    first, second = (np.asarray(nib.load(tmp_path / place / name).dataobj) for place in ("one", "two"))
    assert set(np.unique(first)) <= {0, 1, 2}
    assert first.shape == second.shape
    assert not np.array_equal(first, second)


@pytest.mark.slow
def test_train_adapt_segment(tmp_path: Path, phantoms: dict[str, Path]) -> None:
    """From an empty template to label maps on the target's grids; each step leaves what the next one needs."""
    bundle = write(tmp_path / "bundle")
    (bundle / "models" / "model.pt").unlink()
    places = {"source_dir": phantoms["source"], "target_dir": phantoms["target"]}
    told = run(bundle, MONAI, TRAIN, source_dir=phantoms["source"], **FEW)
    assert "source_mean_dice" in told
    trained = bundle / "models" / "model.pt"
    assert same(trained, bundle / "eval" / "model_best.pt")
    shape = {name: value.shape for name, value in weights(trained).items()}

    told = run(bundle, MONAI, ADAPT, **places, **FEW, predictor_steps=2, warm_up=True)
    adapted, kept = bundle / "models" / "model.pt", bundle / "models" / "model_source.pt"
    assert same(kept, bundle / "eval" / "model_best.pt")
    assert {name: value.shape for name, value in weights(adapted).items()} == shape
    assert not same(adapted, kept)
    labels = sorted((bundle / "eval" / "pseudo_labels" / "round_1").glob("*.nii.gz"))
    assert len(labels) == 4
    assert all(set(np.unique(np.asarray(nib.load(path).dataobj))) <= {0, 1, 2, 255} for path in labels)
    assert "pseudo-labels (4)" in told

    run(bundle, MONAI, ["configs/inference.json"], dataset_dir=phantoms["target"], output_dir=tmp_path / "zones")
    for scan in (phantoms["target"] / "imagesTr").iterdir():
        zones = nib.load(tmp_path / "zones" / scan.name.replace(".nii.gz", "_zones.nii.gz"))
        image = nib.load(scan)
        assert zones.shape == image.shape[:3]
        assert zones.get_data_dtype() == np.uint8
        assert np.allclose(zones.affine, image.affine, atol=1e-4)


@pytest.mark.slow
def test_two_processes_adapt_to_one_network(tmp_path: Path, phantoms: dict[str, Path]) -> None:
    """Both label their own patients, and one set of weights comes out, written once."""
    bundle = write(tmp_path / "bundle")
    before = weights(bundle / "models" / "model.pt")
    places = {"source_dir": phantoms["source"], "target_dir": phantoms["target"]}
    told = run(bundle, TORCHRUN, [*ADAPT, "configs/multi_gpu_adapt.json"], **places, **FEW, predictor_steps=2)
    assert told.count("prostate_uda.bundle: weights: ") == 1
    assert told.count("pseudo-labels (2)") == 1  # two of the four patients are the other's
    assert len(list((bundle / "eval" / "pseudo_labels" / "round_1").glob("*.nii.gz"))) == 4
    assert {path.name for path in (bundle / "models").iterdir()} == {"model.pt", "model_source.pt"}
    after = weights(bundle / "models" / "model.pt")
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert all(torch.isfinite(value).all() for value in after.values())


def test_the_page_has_no_command_that_cannot_be_typed() -> None:
    """Every command of the page parses, its configs are there, and each setting is one of theirs."""
    page = (template() / "docs" / "README.md").read_text(encoding="utf-8")
    commands = [line for line in page.splitlines() if "monai.bundle run" in line]
    assert len(commands) == 5
    for line in commands:
        words = shlex.split(line)
        files = words[words.index("--config_file") + 1]
        names = re.findall(r"configs/\w+\.json", files)
        known = {key for name in names for key in json.loads((template() / name).read_text(encoding="utf-8"))}
        flags = {word.removeprefix("--") for word in words if re.match(r"--[a-z_]+$", word)}
        assert flags - {"config_file", "standalone"} <= known, line
