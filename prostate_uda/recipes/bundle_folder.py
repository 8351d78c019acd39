"""Floor 5: a finished network as a MONAI bundle, the template in ``bundles/`` filled in.

A bundle travels, so it says how the network was made and how well it does, but no patient id, no file hash and no path.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor

from prostate_uda.data.cache import content_hash
from prostate_uda.data.files import synced
from prostate_uda.data.preprocessing import WorkingGrid
from prostate_uda.errors import SettingsError, UnknownNameError
from prostate_uda.networks import NETWORKS
from prostate_uda.recipes.bundle_filling import fill_readme, fill_training, performance
from prostate_uda.recipes.record import read_json, write_json
from prostate_uda.transforms import NORMALIZATIONS

TEMPLATE = "prostate_zones_uda"
DISTRIBUTION = "prostate-uda"
WEIGHTS = Path("models", "model.pt")
PAGE = Path("docs", "README.md")
"""Where a bundle has its weights and its page."""
OF_WEIGHTS = "of_weights"
"""SHA-256 of the weights that ``training_scans`` are told of: other weights were trained with others."""
TOLD = ("status", "seed", "selection_rule", "versions", "results")
"""What a bundle repeats of a run's record, beside :data:`TOLD_SETTINGS`."""
TOLD_SETTINGS = (
    *("source", "target", "method", "options", "network", "depth", "spacing_mm", "size", "normalize", "augment"),
    *("source_steps", "predictor_steps", "steps", "rounds", "batch_size", "algorithm", "learning_rate", "adapt_rate"),
    *("head_factor", "warm_up", "pseudo_threshold", "label_noise"),
)


def network_config(name: str, *, in_channels: int, num_classes: int = 3) -> dict[str, Any]:
    """A network of ``NETWORKS`` as a bundle names it, every setting written out.

    Raises:
        UnknownNameError: no such network.
    """
    if name not in NETWORKS:
        raise UnknownNameError("network", name, NETWORKS)
    factory = NETWORKS[name]
    settings = factory.keywords if isinstance(factory, partial) else {}
    target = factory.func if isinstance(factory, partial) else factory
    config = {"_target_": dotted(target), **settings, "in_channels": in_channels, "num_classes": num_classes}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}


def preprocessing_config(
    grid: WorkingGrid, normalize: str, learned: Mapping[str, Any] | None = None, *, channel: int = 0
) -> dict[str, Any]:
    """``preprocessing(grid, NORMALIZATIONS[normalize].build(**learned))`` as a bundle names it.

    Raises:
        UnknownNameError: no such normalization.
    """
    if normalize not in NORMALIZATIONS:
        raise UnknownNameError("normalization", normalize, NORMALIZATIONS)
    return {
        "_target_": "prostate_uda.data.preprocessing.preprocessing",
        "grid": {"_target_": dotted(WorkingGrid), "spacing_mm": grid.spacing_mm, "size": grid.size},
        "normalize": {"_target_": dotted(NORMALIZATIONS[normalize].build), **(learned or {})},
        "channel": channel,
    }


def write_bundle(
    out: Path,
    *,
    network_config: Mapping[str, Any],
    state_dict: Mapping[str, Tensor],
    preprocessing_config: Mapping[str, Any],
    depth: int,
    provenance: Mapping[str, Any],
    training_scans: Mapping[str, Any] | None = None,
) -> Path:
    """Fill the template and put it at ``out``, whole or not at all; a bundle already there is replaced.

    Args:
        out: The bundle's folder.
        network_config: The network inside ``FinalLogits``, see :func:`network_config`.
        state_dict: The weights of ``FinalLogits(network)``, names beginning with ``network.``.
        preprocessing_config: See :func:`preprocessing_config`.
        depth: Adjacent slices a prediction sees.
        provenance: A run's record (``run.json``); of it :data:`TOLD` and :data:`TOLD_SETTINGS` go into the metadata,
            and what decides a training into ``train.json`` and ``adapt.json``.
        training_scans: What the scans were like that the network learned from, for the metadata; of no single patient.

    Returns:
        ``out``.

    Raises:
        SettingsError: ``out`` holds something that is no bundle, the weights are not ``FinalLogits``', or the
            template is not installed.
    """
    with new_bundle(out, TEMPLATE, state_dict) as bundle:
        configs = bundle / "configs"
        _fill_inference(configs / "inference.json", network_config, preprocessing_config, depth)
        fill_training(configs, network_config, preprocessing_config, depth, provenance.get("settings", {}))
        of_weights = {OF_WEIGHTS: content_hash(bundle / WEIGHTS)}
        usual = None if training_scans is None else {**training_scans, **of_weights}
        _fill_metadata(configs / "metadata.json", preprocessing_config, depth, provenance, usual)
        fill_readme(bundle / PAGE, performance(provenance))
    return out


@contextmanager
def new_bundle(out: Path, name: str, state_dict: Mapping[str, Tensor]) -> Iterator[Path]:
    """A copy of a template with its weights, to be filled: put at ``out`` at the end, whole or not at all.

    Args:
        out: The bundle's folder; a bundle already there is replaced.
        name: Of the template.
        state_dict: The weights of ``FinalLogits(network)``, names beginning with ``network.``.

    Yields:
        The folder to fill, which has another name until the end.

    Raises:
        SettingsError: ``out`` holds something that is no bundle, the weights are not ``FinalLogits``', or the
            template is not installed.
    """
    if out.exists() and not (out / "configs" / "metadata.json").is_file():
        raise SettingsError(f"{out} is in use and is no bundle; give another folder or remove it")
    if not all(key.startswith("network.") for key in state_dict):
        raise SettingsError("weights of a bare network; allowed are those of FinalLogits(network): wrap it first")
    partial_out = out.with_name(f".{out.name}.{uuid4().hex}")
    try:
        shutil.copytree(template(name), partial_out)
        saved = partial_out / WEIGHTS
        saved.parent.mkdir()
        torch.save({key: tensor.detach().cpu() for key, tensor in state_dict.items()}, saved)
        yield partial_out
        _put(partial_out, out)
    finally:
        shutil.rmtree(partial_out, ignore_errors=True)


def template(name: str = TEMPLATE) -> Path:
    """A bundle template: the checkout's ``bundles/``, else where the wheel put its copy.

    Args:
        name: Of its folder.

    Raises:
        SettingsError: neither is there.
    """
    checkout = Path(__file__).resolve().parents[2] / "bundles" / name
    if (checkout / "configs" / "inference.json").is_file():
        return checkout
    try:
        installed = files(DISTRIBUTION) or []
    except PackageNotFoundError:
        installed = []
    for file in installed:
        if file.parts[-3:] == (name, "configs", "inference.json"):
            return Path(str(file.locate())).resolve().parents[1]
    raise SettingsError(f"the bundle template {name} is not installed; install {DISTRIBUTION} again")


def _fill_inference(path: Path, network: Mapping[str, Any], preprocessing: Mapping[str, Any], depth: int) -> None:
    config = read_json(path)
    config["network_def"]["network"] = dict(network)
    config["preprocessing"] = dict(preprocessing)
    config["inferer"]["depth"] = depth
    write_json(path, config)


def _fill_metadata(
    path: Path,
    preprocessing: Mapping[str, Any],
    depth: int,
    provenance: Mapping[str, Any],
    training_scans: Mapping[str, Any] | None,
) -> None:
    config = read_json(path)
    if training_scans is not None:
        config["training_scans"] = dict(training_scans)
    tell_run(config, provenance, TOLD_SETTINGS)
    size, data = preprocessing["grid"]["size"], config["network_data_format"]
    data["inputs"]["image"] |= {
        "num_channels": depth,
        "spatial_shape": [size, size],
        "channel_def": _channels(depth),
    }
    data["outputs"]["pred"]["spatial_shape"] = [size, size]
    write_json(path, config)


def tell_run(metadata: dict[str, Any], provenance: Mapping[str, Any], names: Iterable[str]) -> None:
    """Put into a bundle's metadata what made it: of a run's record :data:`TOLD`, its settings, and the versions here.

    Args:
        metadata: Is changed.
        provenance: The run's record.
        names: The settings that are told.
    """
    settings = provenance.get("settings", {})
    told = {key: provenance[key] for key in TOLD if key in provenance}
    told["settings"] = {key: settings[key] for key in names if key in settings}
    made = "adapted from {source} to {target} with {method}".format_map(_Unsaid(told["settings"]))
    metadata["changelog"] = {metadata["version"]: made}
    metadata["data_source"] = f"{told['settings'].get('source', 'unsaid')} with labels, "
    metadata["data_source"] += f"{told['settings'].get('target', 'unsaid')} without"
    metadata["eval_metrics"] = provenance.get("results", {})
    metadata["provenance"] = told
    for key, package in (("monai", "monai"), ("pytorch", "torch"), ("numpy", "numpy")):
        metadata[f"{key}_version"] = _release(package)
    required = metadata["required_packages_version"]
    metadata["required_packages_version"] = {package: _release(package) for package in required}


class _Unsaid(dict[str, Any]):
    """Settings in a sentence; what is not recorded reads as such."""

    def __missing__(self, key: str) -> str:
        return f"an unsaid {key}"


def _channels(depth: int) -> dict[str, str]:
    """What each input channel is: the slice and its neighbours, inferior to superior."""
    offsets = range(-(depth // 2), depth // 2 + 1)
    return {str(place): f"slice {offset:+d}" if offset else "slice" for place, offset in enumerate(offsets)}


def _put(new: Path, out: Path) -> None:
    """Rename into place; a folder cannot be replaced in one move, so the old one steps aside first."""
    old = out.with_name(f".{out.name}.{uuid4().hex}.old")
    for path in filter(Path.is_file, new.rglob("*")):
        synced(path)
    if out.exists():
        out.rename(old)
    new.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _release(package: str) -> str:
    """A package's version without the build (``2.13.0+cpu`` is ``2.13.0``)."""
    return version(package).split("+")[0]


def dotted(target: Any) -> str:  # noqa: ANN401  a class or a function
    """The name that a bundle's ``_target_`` needs."""
    return f"{target.__module__}.{target.__qualname__}"
