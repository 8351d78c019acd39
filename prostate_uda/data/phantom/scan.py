"""Floor 2: where the scanner puts its grid: position, obliquity, and the axis order of the file."""

from dataclasses import dataclass

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

from prostate_uda.data.phantom.protocols import Matrix
from prostate_uda.data.phantom.shapes import rotation_x, rotation_y, rotation_z

ORIENTATIONS = ("LPS", "RAS", "LAS", "RPS", "RPI", "PLS")
ORIENTATION_WEIGHTS = (0.35, 0.25, 0.15, 0.10, 0.10, 0.05)


@dataclass(frozen=True)
class Scan:
    """A grid in the scanner and its relation to the body.

    The array of the scan runs (patient's left, posterior, superior), the order of an axial DICOM series.

    Attributes:
        affine: ``(4, 4)`` scan index to world (RAS) mm.
        body_to_world: ``(4, 4)`` body coordinates to world mm.
        orientation: Axis codes of the file that is written.
        angles: Obliquity in degrees about the left-right, front-back and head-foot axes.
    """

    affine: NDArray[np.float64]
    body_to_world: NDArray[np.float64]
    orientation: str
    angles: tuple[float, float, float]

    @property
    def index_to_body(self) -> NDArray[np.float64]:
        """``(4, 4)`` scan index to body mm."""
        return np.asarray(np.linalg.inv(self.body_to_world) @ self.affine)


def draw_scan(rng: np.random.Generator, matrix: Matrix) -> Scan:
    """Draw how a man lies in the scanner and how the technician plans the slices.

    Two thirds of the scans are oblique, tilted about the left-right axis as in practice, a little about the others.
    """
    body = rng.uniform((-30, -40, -60), (30, 40, 60))
    roll = rotation_z(float(rng.normal(0, 2.5))) @ rotation_y(float(rng.normal(0, 1.5)))
    oblique = rng.random() < 2 / 3
    pitch, yaw, turn = float(rng.uniform(-20, 5)), float(rng.normal(0, 1.5)), float(rng.normal(0, 1.5))
    angles = (pitch, yaw, turn) if oblique else (0.0, 0.0, 0.0)
    offset = rng.normal(0, 1, 3) * (4.0, 4.0, 1.2)
    body_to_world = np.eye(4)
    body_to_world[:3, :3], body_to_world[:3, 3] = roll, body
    axes = rotation_x(angles[0]) @ rotation_y(angles[1]) @ rotation_z(angles[2]) @ np.diag([-1.0, -1.0, 1.0])
    spacing = np.array([matrix.pixel_mm, matrix.pixel_mm, matrix.slice_mm])
    centre = (np.array([matrix.pixels, matrix.pixels, matrix.slices]) - 1) / 2
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = body + offset - affine[:3, :3] @ centre
    orientation = str(rng.choice(ORIENTATIONS, p=ORIENTATION_WEIGHTS))
    return Scan(affine, body_to_world, orientation, angles)


def reorient(
    arrays: tuple[NDArray[np.generic], ...], affine: NDArray[np.float64], orientation: str
) -> tuple[tuple[NDArray[np.generic], ...], NDArray[np.float64]]:
    """Flip and permute scan arrays ``(X, Y, Z)`` into the file's axis order; the affine follows the content."""
    start = orientations.io_orientation(affine)
    change = orientations.ornt_transform(start, orientations.axcodes2ornt(tuple(orientation)))
    moved = tuple(np.ascontiguousarray(orientations.apply_orientation(array, change)) for array in arrays)
    return moved, np.asarray(affine @ orientations.inv_ornt_aff(change, arrays[0].shape))
