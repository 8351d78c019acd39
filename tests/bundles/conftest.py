"""Bundles that many tests look at, and scans for them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from prostate_uda.data.preprocessing import WorkingGrid
from prostate_uda.networks import FinalLogits, build_network
from prostate_uda.recipes import make_phantom
from prostate_uda.recipes.bundle_folder import network_config, preprocessing_config, write_bundle
from prostate_uda.recipes.scene_bundle import write_scene_bundle

DEPTH = 3
SIZE = (64, 128)
"""Height and width that the bundle of scenes resizes pictures to."""
SCENE_RECORD: dict[str, Any] = {
    "settings": {
        "source": "synthia",
        "target": "cityscapes",
        "source_root": "/home/anna/x",
        "method": "advent",
        "options": {},
        "network": "deeplab-small",
        "depth": 1,
        "spacing_mm": None,
        "normalize": "imagenet",
        "augment": "plain",
        "label_noise": "none",
    },
    "cases": {"source": {"train": [], "test": ["0000001"]}, "target": {"train": [], "test": ["ulm_1", "ulm_2"]}},
    "results": {
        "source_only": {"road": 0.5, "train": None, "mIoU": 0.25, "mIoU_16": 0.3, "mIoU_13": 0.4},
        "adapted": {"road": 0.75, "train": None, "mIoU": 0.5, "mIoU_16": 0.6, "mIoU_13": 0.7},
    },
    "seed": 7,
}
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


def network(classes: int = 3) -> FinalLogits:
    """Untrained, but with heads large enough that all three classes, or most of 19, are predicted."""
    generator = torch.Generator().manual_seed(0)
    made = FinalLogits(
        build_network("deeplab-small", in_channels=DEPTH, num_classes=classes, generator=generator)
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


def write_scenes(out: Path, **changes: Any) -> Path:
    """Likewise of driving scenes."""
    arguments = {
        "network_config": network_config("deeplab-small", in_channels=3, num_classes=19),
        "state_dict": network(19).state_dict(),
        "size": SIZE,
        "provenance": SCENE_RECORD,
    }
    return write_scene_bundle(out, **(arguments | changes))


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    return write(tmp_path / "bundle")


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    return write_scenes(tmp_path / "scenes")


def street(path: Path, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A picture of large, soft spots at ``path``; its pixels as RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (height // 12 + 1, width // 12 + 1, 3), dtype=np.uint8)
    Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR).save(path)
    return np.array(Image.open(path).convert("RGB"))


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """``source`` and ``target``: data sets in Decathlon's layout, four scans each, all labelled."""
    folder = tmp_path_factory.mktemp("phantoms")
    domains = (("source", "phantom-3t"), ("target", "phantom-1.5t"))
    return {role: make_phantom(name, folder / role, train=3, test=1) for role, name in domains}
