"""What a network's training scans were like: numpy's quantiles, nothing of a patient, and read back from a bundle."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose
from torch import Tensor, nn

from prostate_uda.data.cache import content_hash
from prostate_uda.data.slices import SliceSet
from prostate_uda.engines.evaluation import Segmenter
from prostate_uda.engines.inference import SliceStackInferer
from prostate_uda.engines.observers import Silent
from prostate_uda.metrics.likeness import LEVELS, MARGIN, profile
from prostate_uda.recipes.bundle_reading import Bundle, TrainingScans, open_bundle
from prostate_uda.recipes.training_scans import UNSURE, training_scans

SIZES = (4, 1, 3)
IDS = ("patient-4711", "Müller_Hans", "c")


class Sure(nn.Module):
    """The brighter, the surer of gland; dark pixels are background."""

    def forward(self, image: Tensor) -> Tensor:
        middle = image[:, image.shape[1] // 2]
        return torch.stack([torch.zeros_like(middle), 2 * middle, middle], dim=1)


def slices(seed: int, shift: float = 0.0) -> SliceSet:
    rng = torch.Generator().manual_seed(seed)
    count, sizes = sum(SIZES), torch.tensor(SIZES)
    ends = sizes.cumsum(0)
    images = torch.randn(count, 16, 24, generator=rng) + shift + torch.arange(3).repeat_interleave(sizes)[:, None, None]
    return SliceSet(
        images,
        torch.zeros(count, 16, 24, dtype=torch.uint8),
        (ends - sizes).repeat_interleave(sizes),
        (ends - 1).repeat_interleave(sizes),
        tuple(name for name, size in zip(IDS, SIZES, strict=True) for _ in range(size)),
    )


def told(**domains: SliceSet) -> dict[str, Any]:
    segmenter = Segmenter(Sure(), Compose([]), SliceStackInferer(), torch.device("cpu"))
    return training_scans(domains, next(reversed(domains)), segmenter, Silent())


def volumes(given: SliceSet) -> list[np.ndarray]:
    return np.split(given.images.numpy().astype(np.float64), np.cumsum(SIZES)[:-1])


def test_quantiles_are_numpys() -> None:
    source, target = slices(0), slices(1, 0.5)
    found = told(source=source, target=target)["grey_values"]
    assert list(found) == ["source", "target"]
    for name, given in (("source", source), ("target", target)):
        each = np.stack([np.quantile(volume, LEVELS) for volume in volumes(given)])
        np.testing.assert_allclose(found[name]["quantiles"], each.mean(axis=0), atol=1e-5)
        others = [np.delete(each, index, axis=0).mean(axis=0) for index in range(3)]
        middle = np.median([np.abs(one - mean).mean() for one, mean in zip(each, others, strict=True)])
        assert found[name]["usual_distance"] == pytest.approx(MARGIN * middle, rel=1e-4)


def test_uncertainty_is_the_entropy_in_the_gland_of_the_target() -> None:
    target = slices(1)
    expected = []
    for volume in volumes(target):
        logits = np.stack([0 * volume, 2 * volume, volume])
        shares = np.exp(logits) / np.exp(logits).sum(axis=0)
        entropy = -(shares * np.log(shares)).sum(axis=0) / math.log(3)
        expected.append(entropy[volume > 0].mean())
    found = told(source=slices(0, 9), target=target)["usual_uncertainty"]
    assert found == pytest.approx(UNSURE * np.median(expected), rel=1e-4)


def test_where_no_gland_is_found_nothing_is_usual() -> None:
    assert told(source=slices(0), target=slices(1, -100))["usual_uncertainty"] is None


def test_nothing_of_a_patient_is_told() -> None:
    text = json.dumps(told(source=slices(0), target=slices(1)), ensure_ascii=False)
    assert not any(name in text for name in IDS[:2])
    assert set(json.loads(text)) == {"grey_values", "usual_uncertainty"}
    assert all(set(one) == {"quantiles", "usual_distance"} for one in json.loads(text)["grey_values"].values())


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "model.pt"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    return path


def bundle(content: Any, weights: Path) -> Bundle:
    whose = {"of_weights": content_hash(weights)} | content if isinstance(content, dict) else content
    return Bundle(weights.parents[1], {}, {"training_scans": whose})


def test_a_bundle_tells_what_was_told(weights: Path) -> None:
    source, target = slices(0), slices(1, 4.0)
    content = json.loads(json.dumps(told(source=source, target=target)))
    found = bundle(content, weights).training_scans()
    assert bundle({**content, "of_weights": "others"}, weights).training_scans() == TrainingScans({}, None)
    assert found.uncertainty == content["usual_uncertainty"]
    assert {*found.profiles} == {"source", "target"}
    for given in (source, target):  # each of them is usual: near one of the two
        assert all(found.distance(profile(torch.from_numpy(volume))) < 1 for volume in volumes(given))
    assert found.distance(profile(torch.randn(999) * 20 + 50)) > 5


def test_the_nearer_domain_counts() -> None:
    flat = torch.zeros(25, dtype=torch.float64)
    found = TrainingScans({"a": (flat, 2.0), "b": (flat + 10, 0.5), "c": (flat + 3, 0.0)}, None)
    assert found.distance(flat + 3) == pytest.approx(1.5)
    assert found.distance(flat + 9.9) == pytest.approx(0.2)
    assert TrainingScans({"c": (flat, 0.0)}, None).distance(flat) is None
    assert TrainingScans({}, None).distance(flat) is None


GOOD = {"quantiles": [0.0] * 25, "usual_distance": 1.0}


@pytest.mark.parametrize(
    "content",
    [
        *(None, [], "text", 3, {}, {"grey_values": None, "usual_uncertainty": 0.1}, {"grey_values": {}}),
        {"grey_values": {"a": GOOD}},
        {"grey_values": [GOOD], "usual_uncertainty": 0.1},
        {"grey_values": {"a": 1}, "usual_uncertainty": 0.1},
        {"grey_values": {"a": {"quantiles": [0.0] * 25}}, "usual_uncertainty": 0.1},
        {"grey_values": {"a": {**GOOD, "quantiles": ["x"] * 25}}, "usual_uncertainty": 0.1},
        {"grey_values": {"a": {**GOOD, "quantiles": None}}, "usual_uncertainty": 0.1},
        {"grey_values": {"a": {**GOOD, "quantiles": [[1.0], [1.0, 2.0]]}}, "usual_uncertainty": 0.1},
        {"grey_values": {"a": {**GOOD, "usual_distance": None}}, "usual_uncertainty": 0.1},
        {"grey_values": {"a": {**GOOD, "usual_distance": "far"}}, "usual_uncertainty": 0.1},
        {"grey_values": {"a": {**GOOD, "quantiles": [0.0] * 24}}, "usual_uncertainty": 0.1},
        {"grey_values": {"a": {**GOOD, "quantiles": 0.0}}, "usual_uncertainty": 0.1},
        {"grey_values": {"a": {**GOOD, "quantiles": []}}, "usual_uncertainty": 0.1},
        {"grey_values": {"a": GOOD}, "usual_uncertainty": [1]},
    ],
    ids=lambda content: json.dumps(content).replace("0.0, ", "")[:70],
)
def test_damaged_metadata_tells_nothing(content: Any, weights: Path) -> None:
    found = bundle(content, weights).training_scans()
    assert found.distance(profile(torch.arange(100.0))) is None


def test_adapt_tells_it_in_the_bundle(finished: Path) -> None:
    opened = open_bundle(finished)
    found = opened.training_scans()
    assert {*found.profiles} == {"source", "target"} or {*found.profiles} == {"phantom-3t", "phantom-1.5t"}
    assert all(limit > 0 and len(mean) == 25 for mean, limit in found.profiles.values())
    text = json.dumps(opened.metadata["training_scans"])
    cases = json.loads((finished / "run.json").read_text(encoding="utf-8"))["cases"]
    ids = [case for parts in cases.values() for part in parts.values() for case in part]
    assert ids
    assert not any(case in text for case in ids)
