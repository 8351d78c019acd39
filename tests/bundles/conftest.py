"""Bundles that many tests look at, and scans for them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from prostate_uda.data.preprocessing import WorkingGrid
from prostate_uda.networks import FinalLogits, build_network
from prostate_uda.recipes import make_phantom
from prostate_uda.recipes.bundle_folder import network_config, preprocessing_config, write_bundle

DEPTH = 3
RECORD: dict[str, Any] = {
    "settings": {
        "source": "decathlon",
        "target": "folder",
        "source_root": "/home/anna/x",
        "method": "metacorrection",
        "options": {"level_weights": (0.2, 1.0)},
        "augment": "plain",
        "warm_up": "none",
        "batch_size": 2,
        "source_steps": 600,
        "steps": 120,
        "predictor_steps": 40,
        "learning_rate": 1e-3,
        "adapt_rate": 1e-4,
        "algorithm": "sgd",
        "head_factor": 10.0,
        "pseudo_threshold": 0.5,
    },
    "cases": {"source": {"train": [], "test": ["a"]}, "target": {"train": ["Jane-Doe"], "test": ["b", "c"]}},
    "hashes": {"target/train/Jane-Doe/image": "0" * 64},
    "results": {"source_only": {"PZ": 0.5, "TZ": 0.75, "WP": 0.8}, "adapted": {"PZ": float("nan"), "WP": 0.9}},
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
    """A filled bundle at ``out``."""
    arguments = {
        "network_config": network_config("deeplab-small", in_channels=DEPTH),
        "state_dict": network().state_dict(),
        "preprocessing_config": preprocessing_config(WorkingGrid(spacing_mm=2.0, size=64), "minmax"),
        "depth": DEPTH,
        "provenance": RECORD,
    }
    return write_bundle(out, **(arguments | changes))


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    return write(tmp_path / "bundle")


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """``source`` and ``target``: data sets in Decathlon's layout, four scans each, all labelled."""
    folder = tmp_path_factory.mktemp("phantoms")
    domains = (("source", "phantom-3t"), ("target", "phantom-1.5t"))
    return {role: make_phantom(name, folder / role, train=3, test=1) for role, name in domains}
