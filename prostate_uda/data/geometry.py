"""Floor 2: where the voxels of a volume lie in the patient.

Axes are those of the file, X, Y, Z; millimetres; world axes are RAS (right, anterior, superior), as in NIfTI.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from nibabel.orientations import aff2axcodes, io_orientation
from numpy.typing import ArrayLike, NDArray

from prostate_uda.errors import GeometryError

SHEAR_TOLERANCE = 1e-3
"""Largest cosine between two voxel axes that still counts as a right angle (file headers are rounded)."""

FARTHEST_MM = 1e7
"""No number in an affine is larger: a scanner's bore is 2 m long, and beyond this float32 cannot tell voxels apart."""

THICK_SLICE_RATIO = 1.2
"""A voxel axis this much longer than another counts as the slice axis; below it a volume is isotropic."""


@dataclass(frozen=True, eq=False)
class Grid:
    """A voxel grid in the patient.

    Args:
        shape: Voxels along X, Y, Z; each at least 1.
        affine: ``(4, 4)`` voxel index to RAS millimetres; kept as a read-only float64 copy.

    Raises:
        GeometryError: If the affine is not finite, beyond any room, singular or sheared, or the shape is not three
            positive numbers.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"a volume of shape {shape}; three axes of at least one voxel are needed")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", _checked_affine(self.affine))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along X, Y, Z in millimetres."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def orientation(self) -> str:
        """Where each axis points to, as three letters out of RLAPSI (``"LPS"``: left, posterior, superior)."""
        return "".join(aff2axcodes(self.affine))

    @property
    def slice_axis(self) -> int:
        """The voxel axis that runs closest to the patient's head-to-foot direction.

        Raises:
            GeometryError: If another axis is clearly thicker, so the slices were not acquired axially.
        """
        axis = int(np.flatnonzero(io_orientation(self.affine)[:, 0] == 2)[0])
        if max(self.spacing) > THICK_SLICE_RATIO * self.spacing[axis]:
            sizes = " x ".join(f"{size:.2f}" for size in self.spacing)
            raise GeometryError(
                f"not an axial series: voxels of {sizes} mm, axes {self.orientation}, are thick along another axis "
                "than head to foot; give the axial T2 series"
            )
        return axis

    def same_as(self, other: "Grid", tolerance_mm: float = 1e-2) -> bool:
        """Whether both grids have one shape and no corner voxel lies further apart than ``tolerance_mm``."""
        return self.shape == other.shape and self.apart(other) <= tolerance_mm

    def apart(self, other: "Grid") -> float:
        """How far the corner voxels of this grid lie at most from the voxels of the same index of another, in mm."""
        corners = np.array([(*corner, 1) for corner in product(*[(0, n - 1) for n in self.shape])], dtype=np.float64)
        return float(np.linalg.norm((corners @ (self.affine - other.affine).T)[:, :3], axis=1).max())

    def __str__(self) -> str:
        shape = " x ".join(str(n) for n in self.shape)
        spacing = " x ".join(f"{size:.3f}" for size in self.spacing)
        origin = ", ".join(f"{value:.2f}" for value in self.affine[:3, 3])
        return f"{shape} voxels of {spacing} mm, axes {self.orientation}, origin ({origin})"


def _checked_affine(affine: ArrayLike) -> NDArray[np.float64]:
    """Return a read-only float64 copy of ``affine`` or say what is wrong with it."""
    matrix = np.array(affine, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise GeometryError(f"an affine of shape {matrix.shape}; a 4 x 4 matrix is needed")
    if not np.isfinite(matrix).all():
        raise GeometryError("an affine that is not finite; the file's header is damaged, convert the series again")
    if np.abs(matrix).max() > FARTHEST_MM:
        raise GeometryError(
            f"an affine with {np.abs(matrix).max():.3g} in it; at most {FARTHEST_MM:g} mm are allowed: the file's "
            "header is damaged, convert the series again"
        )
    if not np.allclose(matrix[3], (0, 0, 0, 1)):
        raise GeometryError(f"an affine whose last row is {matrix[3].tolist()}; it must be 0 0 0 1")
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if lengths.min() < 1e-6:
        raise GeometryError("a singular affine: a voxel axis has no length; convert the series again")
    cosines = (matrix[:3, :3] / lengths).T @ (matrix[:3, :3] / lengths) - np.eye(3)
    shear = float(np.abs(cosines).max())
    if shear > 1 - 1e-6:
        raise GeometryError("a singular affine: two voxel axes are parallel; convert the series again")
    if shear > SHEAR_TOLERANCE:
        raise GeometryError(
            f"a sheared affine: two voxel axes have a cosine of {shear:.4f}, at most {SHEAR_TOLERANCE} is allowed; "
            "resample the series to an orthogonal grid"
        )
    matrix.setflags(write=False)
    return matrix
