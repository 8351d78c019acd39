"""Floor 5: ``infer``: scans in, label maps on the scans' own grids out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from prostate_uda.data.volumes import file_suffix, write_label
from prostate_uda.engines.evaluation import Segmenter
from prostate_uda.engines.observers import Progress, Silent
from prostate_uda.errors import CheckpointError, SettingsError
from prostate_uda.recipes.settings import pick_device


def infer(
    images: Sequence[Path], bundle: Path, out: Path, *, device: str = "auto", progress: Progress | None = None
) -> list[Path]:
    """Segment scans with the network, preprocessing and depth that a bundle holds.

    Args:
        images: NIfTI, NRRD or MHA files, or DICOM series folders.
        bundle: A run's folder or its ``bundle/``.
        out: Gets ``<name>.nii.gz`` for each scan: 0 background, 1 PZ, 2 TZ.
        device: See :func:`pick_device`.
        progress: Is told.

    Returns:
        The files written, in the order of ``images``.

    Raises:
        CheckpointError: no bundle there.
        SettingsError: two scans would be written under one name.
        DataError: a scan cannot be read; those before it have been written.
    """
    names = [_name(image) for image in images]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"more than one scan is named {', '.join(twice)}; rename them or run infer once for each")
    segmenter = load_segmenter(bundle, pick_device(device))
    out.mkdir(parents=True, exist_ok=True)
    written = []
    with (progress or Silent()).task("segmenting", len(images)) as task:
        for image, name in zip(images, names, strict=True):
            volume, label = segmenter(image)
            write_label(out / f"{name}.nii.gz", label, volume)
            written.append(out / f"{name}.nii.gz")
            task.advance()
    return written


def load_segmenter(bundle: Path, device: torch.device) -> Segmenter:
    """What a bundle's ``inference.json`` describes, with its weights.

    Raises:
        CheckpointError: there is no bundle, or its weights are not its network's.
    """
    root = bundle / "bundle" if (bundle / "bundle").is_dir() else bundle
    config, weights = root / "configs" / "inference.json", root / "models" / "model.pt"
    for path in (config, weights):
        if not path.is_file():
            raise CheckpointError(f"{bundle} is no bundle: {path} is missing; give the folder of a finished run")
    parser = ConfigParser()
    parser.read_config(str(config))
    network: Any = parser.get_parsed_content("network_def")
    try:
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except RuntimeError as error:
        raise CheckpointError(
            f"{weights} holds the weights of another network; use the bundle as adapt wrote it"
        ) from error
    return Segmenter(
        network=network.to(device).eval(),
        preprocessing=parser.get_parsed_content("preprocessing"),
        inferer=parser.get_parsed_content("inferer"),
        device=device,
    )


def _name(image: Path) -> str:
    suffix = file_suffix(image)
    return image.name[: -len(suffix)] if suffix else image.resolve().name
