"""Floor 2: the axial planes of a slice stack or a volume, and back.

A stack is ``(k, H, W)``, rows anterior to posterior, columns right to left. A volume is ``(1, X, Y, Z)`` in LPS: its Y
runs anterior to posterior, its X right to left, so Y are the rows of its planes and X their columns.
"""

from typing import TypeAlias

import torch
from monai.data import MetaTensor
from torch import Tensor

from prostate_uda.errors import ShapeError
from prostate_uda.transforms.body import check_numbers

InPlane: TypeAlias = tuple[int, int] | None
"""The axes of an image, channel first, that are its planes' rows and columns; ``None`` means :data:`IN_PLANE`."""

IN_PLANE = {3: (1, 2), 4: (2, 1)}
"""Rows and columns of ``(k, H, W)`` and of ``(1, X, Y, Z)``."""


def to_planes(image: Tensor, in_plane: InPlane = None) -> Tensor:
    """Every axial plane, ``(n, rows, columns)`` float32, plain.

    Args:
        image: ``(k, H, W)`` or ``(1, X, Y, Z)``.
        in_plane: Which axes are rows and columns.

    Raises:
        ShapeError: neither three axes nor four, no such axes, or fewer than two pixels.
        DataError: a pixel is NaN or infinite, and would be spread over its plane.
    """
    axes = _axes(image, in_plane)
    if image.numel() < 2:
        raise ShapeError(f"image of shape {tuple(image.shape)}; two pixels at least are needed")
    check_numbers(image)
    planes = torch.as_tensor(image).as_subclass(Tensor).float().movedim(axes, (-2, -1))
    return planes.reshape(-1, *planes.shape[-2:])


def from_planes(planes: Tensor, image: Tensor, in_plane: InPlane = None) -> Tensor:
    """The inverse of :func:`to_planes`, as what ``image`` was: a MetaTensor keeps affine, meta and history.

    Args:
        planes: ``(n, rows, columns)``.
        image: What they were made of; only its shape and its meta are read.
        in_plane: As given to :func:`to_planes`.
    """
    axes = _axes(image, in_plane)
    others = [size for axis, size in enumerate(image.shape) if axis not in axes]
    whole = planes.reshape(*others, *planes.shape[-2:]).movedim((-2, -1), axes).contiguous()
    if not isinstance(image, MetaTensor):
        return whole
    kept: Tensor = MetaTensor(whole).copy_meta_from(image)
    return kept


def _axes(image: Tensor, in_plane: InPlane) -> tuple[int, int]:
    axes = in_plane or IN_PLANE.get(image.ndim)
    if axes is None or len({*axes}) != 2 or not all(1 <= axis < image.ndim for axis in axes):
        raise ShapeError(
            f"image of shape {tuple(image.shape)} with in-plane axes {in_plane}; allowed are (k, H, W), (1, X, Y, Z) "
            "and two different axes after the first"
        )
    return axes
