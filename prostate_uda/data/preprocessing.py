"""Floor 2: from a file to the working grid and back.

The working grid is axial, axes LPS (so that a transposed slice is looked at as usual), square, with one in-plane
spacing for all scans; slices stay where they were acquired.
"""

from collections.abc import Hashable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Orientationd, ResizeWithPadOrCropd, Spacingd, allow_missing_keys_mode
from monai.transforms.transform import MapTransform, Transform
from torch import Tensor

from prostate_uda.data.labels import ZONE_VALUES
from prostate_uda.data.volumes import Volume, check_same_grid, read_image, read_label
from prostate_uda.errors import GeometryError, ProstateUDAError, SettingsError

IMAGE, LABEL, LABEL_VALUES = "image", "label", "label_values"
STRIDE = 8


@dataclass(frozen=True)
class WorkingGrid:
    """Where slices are cut.

    Attributes:
        spacing_mm: In-plane pixel size.
        size: Pixels along each side, a multiple of the networks' output stride.

    Raises:
        SettingsError: not such a grid.
    """

    spacing_mm: float
    size: int

    def __post_init__(self) -> None:
        if not 0.1 <= self.spacing_mm <= 10 or self.size < 4 * STRIDE or self.size % STRIDE:
            raise SettingsError(
                f"working grid of {self.size} pixels of {self.spacing_mm} mm; allowed are multiples of {STRIDE} from "
                f"{4 * STRIDE} on, and 0.1 to 10 mm"
            )


class LoadVolumed(MapTransform):  # type: ignore[misc]  # MONAI ships no types
    """Reads ``image``, and ``label`` where there is one, as ``(1, X, Y, Z)`` MetaTensors on one grid.

    MONAI's ``LoadImaged`` would do for NIfTI; this one also picks the channel and the DICOM series, refuses what
    cannot be used with one line, and translates label values by ``label_values`` of the entry.

    Args:
        channel: Which channel of a 4D image is T2.
    """

    def __init__(self, channel: int = 0) -> None:
        super().__init__(keys=(IMAGE, LABEL), allow_missing_keys=True)
        self.channel = channel

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Paths, or an image that is read already, to tensors.

        Raises:
            DataError: a file cannot be used, or the image is not axial.
        """
        out = dict(data)
        given = data[IMAGE]
        image = given if isinstance(given, Volume) else read_image(Path(given), self.channel)
        _check_axial(image)
        out[IMAGE] = _meta_tensor(image)
        if LABEL in data:
            label = read_label(Path(data[LABEL]), data.get(LABEL_VALUES, ZONE_VALUES))
            check_same_grid(label, image)
            out[LABEL] = _meta_tensor(label)
        out.pop(LABEL_VALUES, None)
        return out


def _check_axial(image: Volume) -> None:
    """Refuse what was not acquired axially; the message names the file.

    Raises:
        GeometryError: so it is.
    """
    try:
        _ = image.grid.slice_axis
    except GeometryError as error:
        raise GeometryError(f"{image.source}: {error}") from error


def _meta_tensor(volume: Volume) -> MetaTensor:
    affine = torch.from_numpy(volume.grid.affine.copy())
    meta = {
        "filename_or_obj": str(volume.source),
        "original_affine": affine,
        "spatial_shape": np.array(volume.grid.shape),
        "original_channel_dim": float("nan"),
    }
    return MetaTensor(torch.from_numpy(volume.array)[None].float(), affine=affine, meta=meta)


class Preprocessing(Compose):  # type: ignore[misc]  # MONAI ships no types
    """A Compose that lets our own errors through; MONAI's hides what is wrong with a file in a RuntimeError."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  MONAI's contract
        """As MONAI's.

        Raises:
            ProstateUDAError: What a transform of ours found wrong.
        """
        try:
            return super().__call__(*args, **kwargs)
        except RuntimeError as error:
            if isinstance(error.__cause__, ProstateUDAError):
                raise error.__cause__ from None
            raise


class Spaced(Spacingd):  # type: ignore[misc]  # MONAI ships no types
    """Stock ``Spacingd`` for entries that hold more: it takes ``image_path``, which MONAI Label adds, for metadata."""

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """As the parent's, of nothing but its own keys."""
        own = {key: data[key] for key in self.keys if key in data}
        return {**data, **super().__call__(own, lazy)}


def as_acquired(*, channel: int = 0) -> Compose:
    """From paths to ``(1, X, Y, Z)`` in LPS, voxels as they were acquired: what a normalization sees.

    Args:
        channel: Which channel of a 4D image is T2.
    """
    return Preprocessing([LoadVolumed(channel), _orient()])


def _orient() -> Orientationd:
    return Orientationd((IMAGE, LABEL), axcodes="LPS", labels=None, allow_missing_keys=True)


def preprocessing(grid: WorkingGrid, normalize: Transform, *, channel: int = 0) -> Compose:
    """From paths to the working grid: ``{"image": path, "label": path}`` to ``(1, size, size, slices)`` each.

    The grid's centre is the scan's. Where the scan is smaller, its border is repeated (image and label alike), so that
    no step in brightness tells one scanner's field of view from the other's.

    Args:
        grid: The working grid.
        normalize: Intensity normalization of ``image``; sees the volume before it is cropped.
        channel: Which channel of a 4D image is T2.
    """
    both = {"keys": (IMAGE, LABEL), "allow_missing_keys": True}
    pixdim = (grid.spacing_mm, grid.spacing_mm, -1.0)
    return Preprocessing(
        [
            LoadVolumed(channel),
            _orient(),
            normalize,
            Spaced(**both, pixdim=pixdim, mode=("bilinear", "nearest")),
            ResizeWithPadOrCropd(**both, spatial_size=(grid.size, grid.size, -1), mode="edge"),
        ]
    )


def to_native(probabilities: Tensor, transform: Compose, data: Mapping[Hashable, Any]) -> Tensor:
    """Class probabilities from the working grid back onto the image's own grid, linearly.

    What lies outside the working grid gets probability 0 for every class, so its argmax is the background.

    Args:
        probabilities: ``(C, size, size, slices)``.
        transform: What :func:`preprocessing` returned.
        data: What ``transform`` made of the image.

    Returns:
        ``(C, X, Y, Z)``.
    """
    image = data[IMAGE]
    moved = MetaTensor(probabilities, affine=image.affine, applied_operations=deepcopy(image.applied_operations))
    with allow_missing_keys_mode(transform):
        native = transform.inverse({IMAGE: moved})[IMAGE]
    plain: Tensor = native.as_tensor()
    return plain
