"""Floor 2, review: the segments of a review: names, label values, colors and codes, one table for every file format."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prostate_uda.errors import DataError, GeometryError, ShapeError


@dataclass(frozen=True)
class Code:
    """A coded term.

    Args:
        value: Code value.
        meaning: What it means, as DICOM PS3.16 words it.
        scheme: Coding scheme; SCT is SNOMED CT.
    """

    value: str
    meaning: str
    scheme: str = "SCT"


@dataclass(frozen=True)
class Segment:
    """One structure of a label.

    Args:
        name: What a reader sees.
        values: The label values it is made of.
        color: Red, green, blue, 0 to 255.
        code: Type of the structure (DICOM CID 6300); its category is :data:`CATEGORY`.
    """

    name: str
    values: tuple[int, ...]
    color: tuple[int, int, int]
    code: Code

    def mask(self, label: NDArray[Any]) -> NDArray[np.bool_]:
        """Where a label of any shape holds this segment."""
        return np.isin(label, self.values)


CATEGORY = Code("123037004", "Anatomical Structure")
"""Category of every segment, as the terminology of 3D Slicer and dcmqi has it.

SNOMED CT words it "Body structure". DICOM's own list, CID 7150, may be extended; under this meaning it has 91723000.
"""

PERIPHERAL_ZONE = Segment("Peripheral zone", (1,), (86, 180, 233), Code("279706003", "Peripheral zone of the prostate"))
TRANSITION_ZONE = Segment("Transition zone", (2,), (230, 159, 0), Code("399384005", "Transition zone of the prostate"))
PROSTATE = Segment("Prostate", (1, 2), (255, 255, 255), Code("41216001", "Prostate"))
"""The whole prostate is both zones together. The zones' colors are two of Okabe and Ito's, for any color vision."""

ZONES = (PERIPHERAL_ZONE, TRANSITION_ZONE)
"""What a label map holds; no two overlap."""

SEGMENTS = (PROSTATE, *ZONES)
"""What a format with overlapping segments holds."""


def checked_label(label: NDArray[Any]) -> NDArray[np.uint8]:
    """A label that has three axes and no value but background's and the zones'.

    Raises:
        ShapeError: If it is not uint8 ``(X, Y, Z)`` with at least one voxel.
        DataError: If it holds another value.
    """
    if label.ndim != 3 or label.size == 0 or label.dtype != np.uint8:
        raise ShapeError(f"a {label.dtype} label of shape {label.shape}; uint8 of shape (X, Y, Z) is needed")
    allowed = {0, *(value for zone in ZONES for value in zone.values)}
    unknown = sorted({int(value) for value in np.unique(label)} - allowed)
    if unknown:
        listed = ", ".join(str(value) for value in unknown[:6])
        raise DataError(f"a label with value {listed}; allowed are 0 background, 1 PZ, 2 TZ; translate it first")
    return label


def lps_affine(affine: ArrayLike) -> NDArray[np.float64]:
    """Voxel index to LPS millimeters, as DICOM and NRRD count, of an affine to RAS millimeters.

    Raises:
        GeometryError: If the affine is not ``(4, 4)``, finite and invertible.
    """
    matrix = np.array(affine, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-9:
        raise GeometryError("an affine that is no finite, invertible 4 x 4 matrix; take it from the image's header")
    return np.asarray(np.diag((-1.0, -1.0, 1.0, 1.0)) @ matrix)
