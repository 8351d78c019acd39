"""Floor 5: a finished network of driving scenes as a MONAI bundle, ``bundles/driving_scenes_uda`` filled in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from prostate_uda.data.domains import DOMAINS
from prostate_uda.data.scene_classes import SCENE_CLASSES
from prostate_uda.errors import SettingsError
from prostate_uda.recipes.bundle_filling import figure, fill_readme, is_known, judged_on
from prostate_uda.recipes.bundle_folder import PAGE, TOLD_SETTINGS, new_bundle, tell_run
from prostate_uda.recipes.record import read_json, write_json
from prostate_uda.recipes.tasks import OF_VOLUMES

SCENE_TEMPLATE = "driving_scenes_uda"
MEANS = {"mIoU": "mIoU", "mIoU_16": "mIoU of SYNTHIA's 16 classes", "mIoU_13": "mIoU of its 13 classes"}
"""Means that a run has, and how the page calls them."""
STAGES = {
    "source_only_on_source": "source network, source's held-out pictures",
    "source_only": "source network, target's test pictures",
    "adapted": "adapted network, target's test pictures",
}
"""What a run judges, in the order and the words of the page."""


def write_scene_bundle(
    out: Path,
    *,
    network_config: Mapping[str, Any],
    state_dict: Mapping[str, Tensor],
    size: tuple[int, int],
    provenance: Mapping[str, Any],
) -> Path:
    """Fill the template and put it at ``out``, whole or not at all; a bundle already there is replaced.

    Args:
        out: The bundle's folder.
        network_config: The network inside ``FinalLogits``, see
            :func:`~prostate_uda.recipes.bundle_folder.network_config`.
        state_dict: The weights of ``FinalLogits(network)``, names beginning with ``network.``.
        size: Height and width that pictures are resized to.
        provenance: A run's record (``run.json``); its ``results`` have, by stage, the IoU of each class and the means.

    Returns:
        ``out``.

    Raises:
        SettingsError: ``out`` holds something that is no bundle, the weights are not ``FinalLogits``', the size is
            none, or the template is not installed.
    """
    if len(size) != 2 or min(size) < 1:
        raise SettingsError(f"a size of {size}; a height and a width of at least 1 are needed")
    with new_bundle(out, SCENE_TEMPLATE, state_dict) as bundle:
        configs = bundle / "configs"
        _fill_inference(configs / "inference.json", network_config, size)
        _fill_evaluate(configs / "evaluate.json", provenance.get("settings", {}))
        _fill_metadata(configs / "metadata.json", size, provenance)
        fill_readme(bundle / PAGE, scene_performance(provenance))
    return out


def _fill_inference(path: Path, network: Mapping[str, Any], size: tuple[int, int]) -> None:
    config = read_json(path)
    config["network_def"]["network"] = dict(network)
    config["preprocessing"]["size"] = list(size)
    write_json(path, config)


def _fill_evaluate(path: Path, settings: Mapping[str, Any]) -> None:
    """The mean is over the classes that the run's was over."""
    config = read_json(path)
    source = DOMAINS.get(settings.get("source", ""))
    config["absent_classes"] = [] if source is None else [SCENE_CLASSES[place] for place in source.absent]
    write_json(path, config)


def _fill_metadata(path: Path, size: tuple[int, int], provenance: Mapping[str, Any]) -> None:
    config = read_json(path)
    tell_run(config, provenance, [name for name in TOLD_SETTINGS if name not in OF_VOLUMES])
    data = config["network_data_format"]
    for tensor in (data["inputs"]["image"], data["outputs"]["pred"]):
        tensor["spatial_shape"] = list(size)
    write_json(path, config)


def scene_performance(provenance: Mapping[str, Any]) -> str:
    """A run's IoU by class as a table, and how many pictures it is of; a sentence where nothing was judged.

    Args:
        provenance: The run's record; ``results`` by stage, ``cases`` by role and part.
    """
    results = provenance.get("results", {})
    rows = {**MEANS, **{name: name for name in SCENE_CLASSES}}
    judged = [stage for stage in STAGES if any(is_known(results.get(stage, {}).get(row)) for row in rows)]
    if not judged:
        return "Not measured: no picture of the run had a label to judge by."
    told = "Intersection over union (IoU), pixels added up over the pictures at their own size "
    told += judged_on(provenance, "pictures")
    table = [
        f"| {title} | {' | '.join(figure(results[stage].get(row)) for stage in judged)} |"
        for row, title in rows.items()
    ]
    heads = " | ".join(STAGES[stage] for stage in judged)
    return "\n".join([told, "", f"| | {heads} |", f"|---|{'---|' * len(judged)}", *table])
