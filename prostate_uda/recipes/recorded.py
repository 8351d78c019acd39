"""Floor 5: a finished run read back: its record, the settings it was made with, and its networks."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prostate_uda.data.cache import content_hash
from prostate_uda.engines import checkpoints
from prostate_uda.errors import CheckpointError, SettingsError
from prostate_uda.networks import build_network
from prostate_uda.recipes.record import Record
from prostate_uda.recipes.settings import AdaptSettings


def read_finished(run: Path) -> Record:
    """The record of a finished run.

    Raises:
        CheckpointError: no run is there, or it is not finished.
    """
    if not (run / "run.json").is_file():
        what = "holds no run (no run.json)" if run.is_dir() else "does not exist"
        raise CheckpointError(f"{run} {what}; give the folder of a run, the --out of adapt, once it has begun")
    record = Record.read(run / "run.json")
    if record.content.get("status") != "done":
        raise CheckpointError(f"{run} is not finished; wait for it, or go on with it (adapt --resume, compare)")
    return record


def check_same_image(image: Path, name: str, run: Path, hashes: Mapping[str, str]) -> None:
    """Refuse to draw a run's result on another image.

    Args:
        image: As it is now.
        name: Of it among the hashes, ``role/part/case/image``.
        run: The run's folder.
        hashes: What it read, from ``run.json``.

    Raises:
        SettingsError: the run read another file, or none of that name.
    """
    if content_hash(image) != hashes.get(name):
        raise SettingsError(f"{image} is not the file that {run} read; bring it back")


def recorded_settings(recorded: Mapping[str, Any]) -> AdaptSettings:
    """A run's settings from ``run.json``, which has paths as text and tuples as lists; what it lacks has its default.

    Raises:
        SettingsError: a value is not allowed.
        UnknownNameError: a method, network or data set of that name is not there any more.
    """
    known = {field.name: recorded[field.name] for field in fields(AdaptSettings) if field.name in recorded}
    for field in fields(AdaptSettings):
        if field.type == Path | None and known.get(field.name) is not None:
            known[field.name] = Path(known[field.name])
    options = known.get("options", {}).items()
    known["options"] = {name: tuple(value) if isinstance(value, list) else value for name, value in options}
    return AdaptSettings(**known)


def load_network(run: Path, settings: AdaptSettings, stage: str, device: torch.device) -> nn.Module:
    """The network as it was at the end of a stage, in evaluation mode.

    Args:
        run: Its folder.
        settings: Of the run.
        stage: ``source``, ``round_1`` …
        device: Where it goes.

    Raises:
        CheckpointError: there is no such checkpoint, or it is of another network.
    """
    path = run / "checkpoints" / f"{stage}.pt"
    network = build_network(settings.network, in_channels=settings.channels, num_classes=len(settings.kind.classes))
    try:
        network.load_state_dict(checkpoints.load(path)["state"]["network"])
    except (LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{path} does not hold the run's network; bring it back as adapt wrote it") from error
    return network.to(device).eval()
