"""Floor 4: which square of a scan the network is shown, and when another one is worth a look.

The working grid is a square about the scan's middle. A gland that lies elsewhere would be cut, or lost without a word.
So where the gland reaches an edge of the square, or none is found, and the scan goes on beyond it, the whole field is
searched once and the square is put where the gland is.
"""

from typing import NamedTuple

import numpy as np
import torch
from monai.transforms import Compose, DivisiblePadd, ResizeWithPadOrCropd, SpatialCropd, SpatialPadd
from scipy import ndimage
from torch import Tensor

from prostate_uda.data.preprocessing import IMAGE, LABEL, STRIDE, Preprocessing

LEAST_ML = 1.0
"""Less than this may be a speck, and more is looked for elsewhere."""
EDGE = 2
"""Pixels from the square's edge within which a gland counts as cut."""


class Windows(NamedTuple):
    """A preprocessing in two parts.

    Attributes:
        field: From a file to the whole field at the working spacing.
        centred: The square about its middle.
        size: Pixels along each side of it.
    """

    field: Compose
    centred: ResizeWithPadOrCropd
    size: int


def windows_of(preprocessing: Compose) -> Windows | None:
    """The two parts; None where the preprocessing ends with anything but such a square."""
    last = preprocessing.transforms[-1]
    if not isinstance(last, ResizeWithPadOrCropd):
        return None
    first, second = last.padder.padder.spatial_size[:2]
    return Windows(Preprocessing(preprocessing.transforms[:-1]), last, int(first)) if first == second else None


def window_about(windows: Windows, centre: tuple[float, float], field: tuple[int, ...]) -> Compose:
    """A square about a pixel of the field, pushed inside it; where the field is smaller, padded as the centred one is.

    Args:
        windows: The parts.
        centre: In pixels along X and Y.
        field: ``(X, Y, Z)`` of the field.
    """
    size = windows.size
    starts = [round(min(max(c - size / 2, 0), max(n - size, 0))) for c, n in zip(centre, field[:2], strict=True)]
    keys = {"keys": (IMAGE, LABEL), "allow_missing_keys": True}
    return Compose(
        [
            SpatialPadd(**keys, spatial_size=(size, size, -1), mode="edge"),
            SpatialCropd(**keys, roi_start=(*starts, 0), roi_end=(*(start + size for start in starts), field[2])),
        ]
    )


def least_voxels(affine: Tensor) -> float:
    """:data:`LEAST_ML` in voxels of a grid.

    Args:
        affine: ``(4, 4)`` voxel index to millimetres.
    """
    return LEAST_ML * 1000 / float(affine[:3, :3].double().det().abs())


def whole_field() -> DivisiblePadd:
    """The whole field, padded to what the networks' output stride divides."""
    return DivisiblePadd((IMAGE, LABEL), k=(STRIDE, STRIDE, 1), mode="edge", allow_missing_keys=True)


def is_cut(label: Tensor, field: tuple[int, ...], start: tuple[int, int] | None = None) -> bool:
    """Whether the gland may go on beyond the square: it reaches an edge that the field goes beyond, or is not there.

    Args:
        label: ``(X, Y, Z)`` in the square.
        field: ``(X, Y, Z)`` of the field.
        start: The square's first pixel in the field; by default the middle square's.
    """
    size = label.shape[:2]
    beyond = [n > s for n, s in zip(field[:2], size, strict=True)]
    if not any(beyond):
        return False
    gland = label > 0
    if not bool(gland.any()):
        return True
    starts = start or tuple((n - s) // 2 for n, s in zip(field[:2], size, strict=True))
    for axis, (more, first) in enumerate(zip(beyond, starts, strict=True)):
        found = torch.nonzero(gland.any(dim=2).any(dim=1 - axis)).flatten()
        low, high = int(found[0]), int(found[-1])
        before, after = first > 0, first + size[axis] < field[axis]
        if more and ((before and low < EDGE) or (after and high >= size[axis] - EDGE)):
            return True
    return False


def gland_centre(probabilities: Tensor) -> tuple[float, float] | None:
    """Where the gland is in a field: the middle of the likeliest connected piece; None where no voxel is gland.

    Args:
        probabilities: ``(C, X, Y, Z)``, background first.

    Returns:
        Pixels along X and Y.
    """
    gland = (1 - probabilities[0]).numpy()
    pieces, count = ndimage.label(gland > 0.5)
    if count == 0:
        return None
    weights = ndimage.sum_labels(gland, pieces, index=range(1, count + 1))
    where = np.nonzero(pieces == 1 + int(np.argmax(weights)))
    x, y = ((float(axis.min()) + float(axis.max()) + 1) / 2 for axis in where[:2])
    return x, y
