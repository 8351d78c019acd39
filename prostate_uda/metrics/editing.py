"""Floor 1: how much of a segmentation had to be drawn again: what a reviewer did, not how far surfaces are apart.

The contour of a mask is, slice by slice, its pixels with an edge towards the background or the border of the slice.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.metrics.overlap import check_masks
from prostate_uda.metrics.surface import check_spacing


class AddedPath(NamedTuple):
    """What was drawn.

    Attributes:
        added_mm: Length of the corrected contour that the predicted one does not hold, over all slices.
        contour_mm: Length of the corrected contour, over all slices.
        share: ``added_mm / contour_mm``, in ``[0, 1]``; NaN where there is no corrected contour.
    """

    added_mm: float
    contour_mm: float
    share: float


def added_path_length(
    pred: Tensor, corrected: Tensor, spacing_mm: Sequence[float], *, slice_axis: int, tolerance_mm: float = 0.0
) -> AddedPath:
    """Added path length (APL): what of the corrected contour is not in the predicted one, slice by slice.

    The measure of Vaassen et al., "Evaluation of measures for assessing time-saving of automatic organ-at-risk
    segmentation in radiotherapy" (phiRO 13, 2020, doi:10.1016/j.phro.2019.12.001): of each slice the pixels of the
    corrected contour are counted that are not pixels of the predicted contour, or lie further than a tolerance from it
    in the slice's plane, and are multiplied by the size of a pixel. Where pixels are not square, as the paper's are,
    their size is the geometric mean of both sides. A slice without a predicted contour counts whole; what was only
    erased counts where it left a new contour. The two masks exchanged give another number.

    Args:
        pred: ``(D, H, W)`` boolean mask, in any order of axes.
        corrected: Boolean mask of the same shape.
        spacing_mm: Voxel size along each axis, in the order of the mask's axes; no default, because 1 mm is a
            guess.
        slice_axis: The axis along which slices lie.
        tolerance_mm: Up to this distance a corrected contour counts as the predicted one; 0, the
            authors' choice where a user adjusted a contour, takes the same pixels only.

    Returns:
        See :class:`AddedPath`; lengths are 0 where there is no corrected contour.

    Raises:
        ShapeError: The masks are not boolean, differ in shape or have not three axes.
        SettingsError: ``spacing_mm`` is not one positive number for each axis, the axis is none of the mask's, or the
            tolerance is negative or not finite.
    """
    check_masks(pred, corrected)
    if pred.ndim != 3:
        raise ShapeError(f"masks of shape {tuple(pred.shape)}; three axes are allowed; give one case at a time")
    check_spacing(spacing_mm, pred.ndim)
    _check_axis(slice_axis)
    if not 0 <= tolerance_mm < math.inf:
        raise SettingsError(f"a tolerance of {tolerance_mm} mm; 0 or more is allowed")
    plane = [step for axis, step in enumerate(spacing_mm) if axis != slice_axis % 3]
    slices = zip(*(mask.cpu().movedim(slice_axis, 0).numpy() for mask in (pred, corrected)), strict=True)
    pixels = np.zeros(2, dtype=np.int64)
    for before, after in slices:
        drawn = _contour(after)
        if drawn.any():
            pixels += int((drawn & ~_near(_contour(before), plane, tolerance_mm)).sum()), int(drawn.sum())
    pixel = math.sqrt(math.prod(plane))
    share = float(pixels[0] / pixels[1]) if pixels[1] else math.nan
    return AddedPath(added_mm=float(pixels[0]) * pixel, contour_mm=float(pixels[1]) * pixel, share=share)


def touched_slices(pred_labels: Tensor, corrected_labels: Tensor, *, slice_axis: int) -> int:
    """Number of slices in which any voxel's label was changed.

    Args:
        pred_labels: ``(D, H, W)`` labels, in any order of axes.
        corrected_labels: Labels of the same shape.
        slice_axis: The axis along which slices lie.

    Raises:
        ShapeError: The shapes differ, or are not of three axes.
        SettingsError: The axis is none of the label map's.
    """
    if pred_labels.shape != corrected_labels.shape or pred_labels.ndim != 3:
        shapes = f"{tuple(pred_labels.shape)} and {tuple(corrected_labels.shape)}"
        raise ShapeError(f"label maps of shape {shapes}; one shape of three axes is allowed; give one case at a time")
    _check_axis(slice_axis)
    changed = (pred_labels != corrected_labels).movedim(slice_axis, 0)
    return int(changed.flatten(1).any(dim=1).sum()) if changed.numel() else 0


def _contour(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = ndimage.binary_erosion(mask)
    return mask & ~inside


def _near(contour: NDArray[np.bool_], spacing_mm: Sequence[float], tolerance_mm: float) -> NDArray[np.bool_]:
    """Where the contour is, or within the tolerance of it."""
    if tolerance_mm == 0 or not contour.any():
        return contour
    distance = ndimage.distance_transform_edt(~contour, sampling=spacing_mm)
    near: NDArray[np.bool_] = distance <= tolerance_mm
    return near


def _check_axis(axis: int) -> None:
    if not -3 <= axis < 3:
        raise SettingsError(f"slices along axis {axis}; 0, 1 or 2 is allowed; take Grid.slice_axis of the image")
