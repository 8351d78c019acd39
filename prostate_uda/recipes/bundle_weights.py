"""Floor 5: a bundle's weights: read into a network, and put in place so that what was there is never lost."""

import logging
import shutil
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import nn

from prostate_uda.errors import CheckpointError
from prostate_uda.recipes.processes import is_first, together
from prostate_uda.recipes.record import whole, writing

LOGGER = "prostate_uda.bundle"


def with_weights(network: nn.Module, path: str, device: torch.device) -> nn.Module:
    """The network with the weights of a file, on the device.

    Raises:
        CheckpointError: no such file, or weights of another network.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"no weights at {path}; train them first with configs/train.json")
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (
        UnpicklingError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        raise CheckpointError(f"{path} does not hold the weights of network_def; train them again") from error
    return network.to(device)


def put_weights(new: nn.Module | str, path: str, kept: str) -> None:
    """Put a network's weights in place, whole or not at all; what was there is kept beside it.

    Args:
        new: The network, or the file of its weights.
        path: Usually ``models/model.pt``.
        kept: Gets what was at ``path``; where that name is taken, the first free one of ``…_2``, ``…_3``.

    Raises:
        SettingsError: it cannot be written.
    """
    place = Path(path)
    with together():
        if not is_first():
            return
        with writing(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            with whole(place) as partial:
                if isinstance(new, nn.Module):
                    torch.save({name: value.detach().cpu() for name, value in new.state_dict().items()}, partial)
                else:
                    shutil.copyfile(new, partial)
                _keep(place, Path(kept))
        logging.getLogger(LOGGER).info("weights: %s", place)


def _keep(place: Path, kept: Path) -> None:
    if not place.exists():
        return
    free, number = kept, 1
    while free.exists():
        number += 1
        free = kept.with_name(f"{kept.stem}_{number}{kept.suffix}")
    with whole(free) as partial:
        shutil.copyfile(place, partial)
    logging.getLogger(LOGGER).info("the weights before: %s", free)
