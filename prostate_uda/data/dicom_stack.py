"""Floor 2: whether DICOM images, or the frames of one, are a volume: parallel, evenly spaced, none lost."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prostate_uda.errors import DataError, GeometryError

GAP_TOLERANCE = 0.05
"""How far a distance between neighbouring slices may be from the median one, as a share of it."""

DRIFT_TOLERANCE = 1e-2
"""Sideways drift of the slice positions per millimetre along the stack above which the stack is sheared."""


def normal_of(orientation: ArrayLike) -> NDArray[np.float64]:
    """Where the slices are stacked along: the unit normal of an ImageOrientationPatient, LPS."""
    along = np.asarray(orientation, dtype=np.float64)
    normal: NDArray[np.float64] = np.cross(along[:3], along[3:])
    return normal / max(float(np.linalg.norm(normal)), 1e-12)


def check_stack(positions: NDArray[np.float64], orientations: NDArray[np.float64], *, folder: Path, title: str) -> None:
    """Check that slices are parallel, evenly spaced along their normal and not shifted sideways.

    Args:
        positions: ``(N, 3)`` ImagePositionPatient, LPS millimetres, at least two.
        orientations: ``(N, 6)`` ImageOrientationPatient.
        folder: Of the series, for messages.
        title: Of the series, for messages.

    Raises:
        DataError: A slice is missing, or two lie at one position.
        GeometryError: The slices are not parallel, or their stack is sheared.
    """
    if not np.allclose(orientations, orientations[0], atol=1e-3):
        raise GeometryError(f"{folder}: the images of {title} are not parallel; a localizer is no volume")
    normal = normal_of(orientations[0])
    along = positions @ normal
    _check_steps(np.diff(np.sort(along)), folder, title)
    first, last = int(np.argmin(along)), int(np.argmax(along))
    sideways = (positions[last] - positions[first]) - (along[last] - along[first]) * normal
    if np.linalg.norm(sideways) > DRIFT_TOLERANCE * abs(along[last] - along[first]):
        raise GeometryError(
            f"{folder}: the slices of {title} are shifted sideways by {np.linalg.norm(sideways):.2f} mm over the "
            "stack (tilted acquisition); resample the series to an orthogonal grid"
        )


def _check_steps(steps: NDArray[np.float64], folder: Path, title: str) -> None:
    if steps.min() < 1e-3:
        first = int(np.argmin(steps)) + 1
        raise DataError(
            f"{folder}: images {first} and {first + 1} of {title} lie at the same position (several b-values, echoes "
            "or time points); keep one image per position"
        )
    usual = float(np.median(steps))
    worst = int(np.argmax(np.abs(steps - usual)))
    if abs(steps[worst] - usual) > GAP_TOLERANCE * usual:
        raise DataError(
            f"{folder}: slices {worst + 1} and {worst + 2} of {title} are {steps[worst]:.2f} mm apart, the others "
            f"{usual:.2f} mm: a slice is missing; export the series again"
        )
