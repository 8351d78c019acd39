"""Floor 5: ``infer``: scans in, label maps on the scans' own grids out."""

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser
from nibabel.filebasedimages import ImageFileError

from prostate_uda.data.dicom import choose_series
from prostate_uda.data.volumes import SUFFIXES, file_suffix, write_label
from prostate_uda.engines.evaluation import Segmenter
from prostate_uda.engines.observers import Progress, Silent
from prostate_uda.errors import CheckpointError, DataError, SettingsError
from prostate_uda.recipes.record import read_json, writing
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
        progress: Is told, also which series of a DICOM folder was taken.

    Returns:
        The files written, in the order of ``images``.

    Raises:
        CheckpointError: no bundle there.
        SettingsError: two scans would be written under one name, or a result over a scan.
        DataError: a scan cannot be read; those before it have been written.
    """
    progress = progress or Silent()
    wanted = {image: out / f"{name}.nii.gz" for image, name in zip(images, _names(images), strict=True)}
    series = {image: choose_series(image) for image in images if _readable(image).is_dir()}
    for path in wanted.values():
        _check_free(path, images)
    segmenter = load_segmenter(bundle, pick_device(device))
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    for image, chosen in series.items():
        progress.note(f"{image.resolve().name}: {chosen}")
    with progress.task("segmenting", len(images)) as task:
        for image, path in wanted.items():
            volume, label = segmenter(image)
            with writing(path):
                write_label(path, label, volume)
            task.advance()
    return list(wanted.values())


def load_segmenter(bundle: Path, device: torch.device) -> Segmenter:
    """What a bundle's ``inference.json`` describes, with its weights.

    Raises:
        CheckpointError: there is no bundle, a file of it is damaged, or its weights are not its network's.
    """
    root = bundle / "bundle" if (bundle / "bundle").is_dir() else bundle
    config, weights = root / "configs" / "inference.json", root / "models" / "model.pt"
    for path in (config, weights):
        if not path.is_file():
            raise CheckpointError(f"{bundle} is no bundle: {path} is missing; give the folder of a finished run")
    parser = ConfigParser(read_json(config))
    try:
        network, preprocessing, inferer = (
            parser.get_parsed_content(part) for part in ("network_def", "preprocessing", "inferer")
        )
    except (KeyError, ValueError, TypeError, RuntimeError, ModuleNotFoundError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{config} is not as adapt wrote it ({reason}); use the bundle as it was") from error
    _load_weights(network, weights)
    network = network.to(device).eval()
    return Segmenter(network=network, preprocessing=preprocessing, inferer=inferer, device=device)


def _load_weights(network: Any, weights: Path) -> None:  # noqa: ANN401  as the bundle names it
    try:
        saved = torch.load(weights, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, UnpicklingError) as error:
        raise CheckpointError(f"{weights} is damaged; copy the bundle again") from error
    try:
        network.load_state_dict(saved)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"{weights} holds the weights of another network; use the bundle as adapt wrote it"
        ) from error


def _names(images: Sequence[Path]) -> list[str]:
    """A name for each scan's result."""
    names = [_name(image) for image in images]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"more than one scan is named {', '.join(twice)}; rename them or run infer once for each")
    return names


def _name(image: Path) -> str:
    suffix = file_suffix(image)
    return image.name[: -len(suffix)] if suffix else image.resolve().name


def _readable(image: Path) -> Path:
    """The path, once it is known to be there and of a kind that can be read."""
    if not image.exists():
        raise DataError(f"{image} does not exist; check the path")
    if image.is_file() and not file_suffix(image):
        raise DataError(f"{image}: unknown kind of file; {', '.join(SUFFIXES)} or a DICOM folder can be read")
    return image


def _check_free(path: Path, images: Sequence[Path]) -> None:
    """Refuse to write over a scan, or over anything that is no label map of ours."""
    if any(path.resolve() == image.resolve() for image in images):
        raise SettingsError(f"{path} is one of the scans and would be lost; give another folder with --out")
    if not path.exists():
        return
    try:
        header = nib.load(path).header
        label = header.get_data_dtype() == np.uint8 and header.get_intent()[0] == "label"
    except (ImageFileError, OSError, EOFError, ValueError):
        label = False
    if not label:
        raise SettingsError(f"{path} exists and is no label map; give another folder with --out")
