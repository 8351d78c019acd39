"""Floor 2, starting a DeepLab backbone from ImageNet weights stored under torchvision's names.

Nothing is downloaded: the user brings the file (``torchvision.models.resnet50(weights=…).state_dict()`` saved
with ``torch.save``). torchvision's bottleneck, and MONAI's, has its stride in the 3×3 convolution ("v1.5"), so
the weights fit as they are; those of a Caffe ResNet (stride in the 1×1) would load, but were trained for another
network.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from prostate_uda.errors import CheckpointError, SettingsError
from prostate_uda.networks.deeplab import DeepLab

STEM = "conv1.weight"
COUNTER = "num_batches_tracked"


def load_imagenet_weights(network: DeepLab, source: Mapping[str, Tensor] | Path, *, keep_colours: bool = False) -> None:
    """Fill the backbone with ImageNet weights, in place; the heads stay as they are.

    The first convolution is made for k channels: each gets the sum over red, green and blue divided by k, so k
    equal slices give the response that a grey picture gave. The weights expect images normalised as on
    ImageNet (roughly mean 0, standard deviation 1).

    Args:
        network: The network to fill; its depth must be the weights' own.
        source: A state dictionary in torchvision's ResNet naming, or a file holding one (also under a
            ``state_dict`` key). A ``module.`` prefix and ``fc.*`` are ignored, ``num_batches_tracked`` may be
            absent.
        keep_colours: Take the first convolution unchanged, for colour images (channels in the same order).

    Raises:
        SettingsError: ``keep_colours`` with a network that does not take three channels.
        CheckpointError: An unreadable file, another depth or width, a missing, unknown, non-finite or
            misshapen tensor. The network is unchanged.
    """
    if keep_colours and network.in_channels != 3:
        msg = f"keep_colours with in_channels {network.in_channels}; only 3 allowed: leave keep_colours out"
        raise SettingsError(msg)
    origin = str(source) if isinstance(source, Path) else "state dict"
    given = _backbone_entries(_read(source) if isinstance(source, Path) else source, origin)
    if not keep_colours:
        given = _adapt_stem(given, network.in_channels, origin)
    expected: dict[str, Tensor] = network.backbone.state_dict()
    hint = f"expected a torchvision ResNet-{network.depth} state dict: choose the network or the file to match"
    _check_names(given, expected, origin, hint)
    _check_tensors(given, expected, origin, hint)
    network.backbone.load_state_dict({**expected, **given})


def _read(path: Path) -> Mapping[str, object]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        msg = f"{path}: cannot be read as weights ({reason}); save a plain state dict with torch.save"
        raise CheckpointError(msg) from error
    inner = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not isinstance(inner, Mapping):
        msg = f"{path}: holds a {type(inner).__name__}; a dictionary of tensors is allowed: save a state dict"
        raise CheckpointError(msg)
    return inner


def _backbone_entries(given: Mapping[str, object], origin: str) -> dict[str, Tensor]:
    entries: dict[str, Tensor] = {}
    for full_name, value in given.items():
        name = str(full_name).removeprefix("module.")
        if name.startswith("fc."):
            continue
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            msg = f"{origin}: {name!r} is a {kind}; only tensors are allowed: save a state dict"
            raise CheckpointError(msg)
        entries[name] = value
    return entries


def _adapt_stem(given: dict[str, Tensor], channels: int, origin: str) -> dict[str, Tensor]:
    stem = given.get(STEM)
    if stem is None:
        return given
    if stem.ndim != 4 or stem.shape[1] != 3:
        msg = f"{origin}: {STEM!r} has shape {tuple(stem.shape)}; (F, 3, 7, 7) is allowed: bring RGB weights"
        raise CheckpointError(msg)
    per_channel = stem.sum(dim=1, keepdim=True) / channels
    return {**given, STEM: per_channel.repeat(1, channels, 1, 1)}


def _check_names(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], origin: str, hint: str) -> None:
    missing = [name for name in expected if name not in given and not name.endswith(COUNTER)]
    unknown = [name for name in given if name not in expected]
    if missing:
        raise CheckpointError(f"{origin}: lacks {missing[0]!r} and {len(missing) - 1} more; {hint}")
    if unknown:
        raise CheckpointError(f"{origin}: {unknown[0]!r} and {len(unknown) - 1} more have no place; {hint}")


def _check_tensors(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], origin: str, hint: str) -> None:
    for name, tensor in given.items():
        wanted = expected[name].shape
        if tensor.shape != wanted:
            got = f"{tuple(tensor.shape)} instead of {tuple(wanted)}"
            raise CheckpointError(f"{origin}: {name!r} has shape {got}; {hint}")
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{origin}: {name!r} holds NaN or infinity; only finite weights: get the file anew")
