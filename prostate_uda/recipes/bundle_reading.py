"""Floor 5: a bundle read back: its network with weights, its preprocessing, and what its training scans were like."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from struct import error as StructError  # noqa: N812  an exception
from typing import Any
from zipfile import BadZipFile
from zlib import error as ZlibError  # noqa: N812  likewise

import torch
from monai.bundle import ConfigParser
from monai.inferers import Inferer
from monai.transforms import Compose
from torch import Tensor, nn

from prostate_uda.data.cache import content_hash, load_whole
from prostate_uda.engines.scans import ScanSegmenter
from prostate_uda.errors import CheckpointError
from prostate_uda.metrics.likeness import LEVELS, distance
from prostate_uda.recipes.bundle_folder import OF_WEIGHTS
from prostate_uda.recipes.record import read_json

PARTS = {"network_def": nn.Module, "preprocessing": Compose, "inferer": Inferer}
"""What is taken from ``inference.json``, and what each part makes."""
TRAINING_SCANS = "training_scans"
"""Where ``metadata.json`` says what the training scans were like."""
OF_SCENES = "prostate_uda.bundle.ReadScene"
"""The ``preprocessing`` of a bundle of driving scenes."""


@dataclass(frozen=True)
class TrainingScans:
    """What was usual on the scans that a network was trained with.

    Attributes:
        profiles: Name of a domain to its mean ``(Q,)`` quantiles of grey values and the distance that is still usual.
        uncertainty: Mean entropy within the gland up to which a scan is usual; None where it was not measured.
    """

    profiles: Mapping[str, tuple[Tensor, float]]
    uncertainty: float | None

    def distance(self, profile: Tensor) -> float | None:
        """How far a scan is from the nearer domain, over what is usual there; None where nothing is known."""
        known = [distance(profile, mean) / limit for mean, limit in self.profiles.values() if limit > 0]
        return min(known, default=None)


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk.

    Attributes:
        root: Its folder.
        config: ``inference.json``.
        metadata: ``metadata.json``; empty where there is none.
    """

    root: Path
    config: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def weights(self) -> Path:
        """The network's."""
        return self.root / "models" / "model.pt"

    def identity(self) -> dict[str, str]:
        """What says which bundle it is: its name, version, and the hashes of its weights and configuration."""
        told = {key: str(self.metadata.get(key, "")) for key in ("name", "version")}
        config = self.root / "configs" / "inference.json"
        return {**told, "weights": content_hash(self.weights), "configuration": content_hash(config)}

    def training_scans(self) -> TrainingScans:
        """What ``metadata.json`` says of them; nothing where that cannot be read, or is told of other weights."""
        try:
            told = self.metadata[TRAINING_SCANS]
            if told.get(OF_WEIGHTS, "") != content_hash(self.weights):
                return TrainingScans({}, None)
            profiles = {str(name): _profile(one) for name, one in told["grey_values"].items()}
            usual = told["usual_uncertainty"]
            return TrainingScans(profiles, None if usual is None else float(usual))
        except (TypeError, KeyError, ValueError, AttributeError, RuntimeError):
            return TrainingScans({}, None)


def _profile(told: Mapping[str, Any]) -> tuple[Tensor, float]:
    """Quantiles and usual distance; ValueError where there are others than :data:`LEVELS`."""
    quantiles = torch.tensor(told["quantiles"], dtype=torch.float64)
    if quantiles.shape != (len(LEVELS),):
        raise ValueError("other quantiles")
    return quantiles, float(told["usual_distance"])


def open_bundle(folder: Path) -> Bundle:
    """Find a bundle.

    Args:
        folder: A run's folder or its ``bundle/``.

    Raises:
        CheckpointError: there is none, its configuration is damaged, or it is of driving scenes.
    """
    root = folder / "bundle" if (folder / "bundle").is_dir() else folder
    config, weights, metadata = root / "configs" / "inference.json", root / "models" / "model.pt", root / "configs"
    for path in (config, weights):
        if not path.is_file():
            raise CheckpointError(f"{folder} is no bundle: {path} is missing; give the folder of a finished run")
    parts, told = read_json(config), metadata / "metadata.json"
    if _is_of_scenes(parts):
        raise CheckpointError(
            f"{root} is of driving scenes, and this command of scans; use python -m monai.bundle run --config_file "
            f"{config} --bundle_root {root} --dataset_dir PICTURES --output_dir OUT"
        )
    return Bundle(root, parts, read_json(told) if told.is_file() else {})


def check_of_scans(folder: Path) -> None:
    """Refuse a bundle of driving scenes, whatever else may be wrong with it; nothing is said of a folder that is none.

    Raises:
        CheckpointError: it is one, or its configuration is damaged.
    """
    root = folder / "bundle" if (folder / "bundle").is_dir() else folder
    config = root / "configs" / "inference.json"
    if config.is_file() and _is_of_scenes(read_json(config)):
        open_bundle(folder)


def _is_of_scenes(parts: Mapping[str, Any]) -> bool:
    preprocessing = parts.get("preprocessing")
    return isinstance(preprocessing, dict) and preprocessing.get("_target_") == OF_SCENES


def load_segmenter(bundle: Path | Bundle, device: torch.device) -> ScanSegmenter:
    """What a bundle's ``inference.json`` describes, with its weights.

    Raises:
        CheckpointError: there is no bundle, a file of it is damaged, or its weights are not its network's.
    """
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    network, preprocessing, inferer = _parsed(opened)
    _load_weights(network, opened.weights)
    network = network.to(device).eval()
    channel = int(opened.config["preprocessing"].get("channel", 0))
    return ScanSegmenter(network, preprocessing, inferer, device, channel)


def _parsed(bundle: Bundle) -> list[Any]:
    """What the :data:`PARTS` describe."""
    parser = ConfigParser(bundle.config)
    try:
        parts = [parser.get_parsed_content(name) for name in PARTS]
        for part, (name, kind) in zip(parts, PARTS.items(), strict=True):
            if not isinstance(part, kind):
                raise TypeError(f"{name} makes a {type(part).__name__}, not a {kind.__name__}")
    except (LookupError, ValueError, TypeError, AttributeError, RuntimeError, ImportError, SyntaxError) as error:
        reason = " ".join(str(error).split())[:200]
        config = bundle.root / "configs" / "inference.json"
        raise CheckpointError(f"{config} is not as adapt wrote it ({reason}); use the bundle as it was") from error
    return parts


def _load_weights(network: nn.Module, weights: Path) -> None:
    """Load what is whole: a flipped bit is a weight."""
    try:
        saved = load_whole(weights)
    except (
        *(OSError, EOFError, RuntimeError, ValueError, LookupError, AttributeError, TypeError),
        *(BadZipFile, UnpicklingError, StructError, ZlibError),
    ) as error:
        raise CheckpointError(f"{weights} is damaged; copy the bundle again") from error
    try:
        network.load_state_dict(saved)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"{weights} holds the weights of another network; use the bundle as adapt wrote it"
        ) from error
