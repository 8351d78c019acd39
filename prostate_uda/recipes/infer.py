"""Floor 5: ``infer``: scans in, label maps on the scans' own grids out."""

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from struct import error as StructError  # noqa: N812  an exception
from typing import Any
from zipfile import BadZipFile
from zlib import error as ZlibError  # noqa: N812  likewise

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.inferers import Inferer
from monai.transforms import Compose
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError
from torch import nn

from prostate_uda.data.cache import load_whole
from prostate_uda.data.canonical import DATASET
from prostate_uda.data.dicom import Series, choose_series
from prostate_uda.data.volumes import SUFFIXES, file_suffix, write_label
from prostate_uda.engines.evaluation import Segmenter
from prostate_uda.engines.observers import Progress, Silent
from prostate_uda.errors import CheckpointError, DataError, SettingsError
from prostate_uda.recipes.record import read_json, writing
from prostate_uda.recipes.settings import pick_device

PARTS = {"network_def": nn.Module, "preprocessing": Compose, "inferer": Inferer}
"""What is taken from ``inference.json``, and what each part makes."""


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
        CheckpointError: no bundle there, or a damaged one.
        SettingsError: two scans would be written under one name, a result over anything but an earlier one, or
            ``out`` cannot be written.
        DataError: a scan cannot be read; those before it have been written.
    """
    progress = progress or Silent()
    wanted = {image: out / f"{name}.nii.gz" for image, name in zip(images, _names(images), strict=True)}
    series = {image: choose_series(image) for image in images if _readable(image).is_dir()}
    for path in wanted.values():
        with writing(path):
            _check_free(path, images)
    segmenter = load_segmenter(bundle, pick_device(device))
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    for image, chosen in series.items():
        progress.note(f"{_name(image)}: {_described(chosen)}")
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
    network, preprocessing, inferer = _parsed(config)
    _load_weights(network, weights)
    network = network.to(device).eval()
    return Segmenter(network=network, preprocessing=preprocessing, inferer=inferer, device=device)


def _parsed(config: Path) -> list[Any]:
    """What the :data:`PARTS` describe."""
    parser = ConfigParser(read_json(config))
    try:
        parts = [parser.get_parsed_content(name) for name in PARTS]
        for part, (name, kind) in zip(parts, PARTS.items(), strict=True):
            if not isinstance(part, kind):
                raise TypeError(f"{name} makes a {type(part).__name__}, not a {kind.__name__}")
    except (LookupError, ValueError, TypeError, AttributeError, RuntimeError, ImportError, SyntaxError) as error:
        reason = " ".join(str(error).split())[:200]
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


def _described(series: Series) -> str:
    """``axial T2 series 't2_tse_tra' (19 images)``, or a warning where it is another contrast."""
    if series.other_contrast:
        return f"warning: series {series.name!r} is no T2 by its name; the labels mean nothing on it"
    kind = " ".join(["axial" if series.axial else "not axial", *["T2"] * series.t2])
    return f"{kind} series {series.name or series.uid!r} ({len(series.files)} images)"


def _readable(image: Path) -> Path:
    """The path, once it is known to be there and of a kind that can be read."""
    try:
        image.stat()
    except OSError as error:
        what = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise DataError(f"{image} {what}; check the path") from error
    if image.is_file() and not file_suffix(image):
        raise DataError(f"{image}: unknown kind of file; {', '.join(SUFFIXES)} or a DICOM folder can be read")
    return image


def _check_free(path: Path, images: Sequence[Path]) -> None:
    """Refuse to write over a scan, a truth that ``prepare`` wrote, or anything that is no label map of ours."""
    if any(path.resolve() == image.resolve() for image in images):
        raise SettingsError(f"{path} is one of the scans and would be lost; give another folder with --out")
    if not path.exists():
        return
    if (path.resolve().parent.parent / DATASET).exists():
        raise SettingsError(f"{path} belongs to a data set and would be lost; give another folder with --out")
    try:
        with LoggingOutputSuppressor():
            header = nib.load(path).header
        label = header.get_data_dtype() == np.uint8 and header.get_intent()[0] == "label"
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, LookupError, ZlibError):
        label = False
    if not label:
        raise SettingsError(f"{path} exists and is no label map; give another folder with --out")
