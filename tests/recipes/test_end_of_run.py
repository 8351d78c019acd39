"""The end of a run whose networks have learned something: each stage's results are that stage's network's."""

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from prostate_uda.data.preprocessing import preprocessing
from prostate_uda.engines.evaluation import Segmenter
from prostate_uda.engines.inference import SliceStackInferer
from prostate_uda.networks import FinalLogits, build_network
from prostate_uda.recipes import AdaptSettings, InferSettings, adapt, infer
from prostate_uda.transforms import NORMALIZATIONS
from tests.recipes.conftest import TINY, Heard
from tests.recipes.test_adapt import phantom_split

LEARNED = {**TINY, "source_steps": 150, "steps": 12, "batch_size": 4, "learning_rate": 5e-3, "adapt_rate": 5e-3}
LEARNED |= {"normalize": "nyul", "predictor_steps": 8}
CHECKPOINTS = {"source_only": "source", "adapted": "round_1"}


@pytest.fixture(scope="module")
def learned(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("learned") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROSTATE_UDA_CACHE", str(cache))
        adapt(AdaptSettings(**LEARNED), out)
    return out


def predictions(run: Path, stage: str) -> dict[str, np.ndarray]:
    files = sorted((run / "predictions" / stage).glob("*.nii.gz"))
    return {path.name.removesuffix(".nii.gz"): np.asarray(nibabel.load(path).dataobj) for path in files}


@pytest.mark.slow
def test_both_stages_found_both_zones_and_differ(learned: Path) -> None:
    found = {stage: predictions(learned, stage) for stage in CHECKPOINTS}
    for stage in CHECKPOINTS:
        assert {1, 2} <= set(np.unique(np.concatenate([array.ravel() for array in found[stage].values()])))
    assert any((found["adapted"][case] != found["source_only"][case]).any() for case in found["adapted"])


@pytest.mark.slow
@pytest.mark.parametrize("stage", CHECKPOINTS)
def test_each_stages_predictions_are_its_networks(learned: Path, stage: str) -> None:
    settings = AdaptSettings(**LEARNED)
    network = build_network(settings.network, in_channels=1, num_classes=3)
    saved = torch.load(learned / "checkpoints" / f"{CHECKPOINTS[stage]}.pt", weights_only=True)
    network.load_state_dict(saved["state"]["network"])
    config = json.loads((learned / "bundle" / "configs" / "inference.json").read_text())["preprocessing"]["normalize"]
    normalize = NORMALIZATIONS["nyul"].build(**{name: value for name, value in config.items() if name != "_target_"})
    pre = preprocessing(settings.grid, normalize)
    segmenter = Segmenter(FinalLogits(network), pre, SliceStackInferer(1, 16), torch.device("cpu"))
    case = phantom_split("phantom-1.5t").test[0]
    _, label = segmenter(case.image)
    assert np.array_equal(label, predictions(learned, stage)[case.id])


@pytest.mark.slow
def test_the_bundle_holds_what_the_source_taught(learned: Path, tmp_path: Path) -> None:
    """Nyúl's landmarks travel in the bundle: inference elsewhere, without the source, gives the same labels."""
    for case in phantom_split("phantom-1.5t").test:
        (written,) = infer([case.image], learned / "bundle", tmp_path / "out", InferSettings(device="cpu")).labels
        assert np.array_equal(np.asarray(nibabel.load(written).dataobj), predictions(learned, "adapted")[case.id])


@pytest.mark.slow
def test_the_recorded_volumes_are_those_of_the_files(learned: Path) -> None:
    record = json.loads((learned / "run.json").read_text())
    with (learned / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    for stage in CHECKPOINTS:
        found = predictions(learned, stage)
        size = 1.0
        volumes = []
        for case, array in found.items():
            zooms = nibabel.load(learned / "predictions" / stage / f"{case}.nii.gz").header.get_zooms()
            size = float(np.prod(zooms))
            volumes.append((array == 1).sum() * size / 1000)
            (row,) = (row for row in rows if row["case"] == case and row["stage"] == stage)
            assert float(row["PZ_mL"]) == pytest.approx(volumes[-1], rel=1e-4)
        assert record["volumes_mL"][stage]["PZ"]["mean"] == pytest.approx(np.mean(volumes), rel=1e-4)


def shares(run: Path) -> list[float]:
    """How much of the labelled source was meta data, step by step."""
    return [json.loads(line)["meta_share"] for line in (run / "logs" / "round_1.jsonl").read_text().splitlines()]


def test_the_round_asked_its_domain_predictor(learned: Path, tmp_path: Path) -> None:
    """Without one every labelled source pixel is meta data, in every step."""
    assert any(share < 1 for share in shares(learned))
    adapt(AdaptSettings(**{**TINY, "predictor_steps": 0}), tmp_path / "run")
    assert set(shares(tmp_path / "run")) == {1.0}


def test_a_run_that_found_nothing_says_so(tmp_path: Path) -> None:
    heard = Heard()
    adapt(AdaptSettings(**{**TINY, "source_steps": 1}, method="source-only"), tmp_path / "run", progress=heard)
    assert any("no PZ in 2 of 2 adapted predictions" in note for note in heard.notes)
