"""Floor 2: a label onto its image's grid, by where its voxels lie in the patient and never by their index."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from prostate_uda.data.geometry import Grid
from prostate_uda.data.labels import BACKGROUND
from prostate_uda.data.volumes import LPS_TO_RAS, Volume
from prostate_uda.errors import GeometryError

INSIDE = 0.99
"""Share of a label's voxels that must lie inside of its image."""

VOLUME_CHANGE = 0.1
"""Change of the label's volume by resampling above which it is warned of."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A label on its image's grid.

    Args:
        array: uint8 ``(X, Y, Z)`` in the image's axis order.
        repairs: What had to be done for it, one line each; empty where the grids agree.
        warnings: What is odd about the result.
    """

    array: NDArray[np.uint8]
    repairs: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def place_label(label: Volume, image: Volume) -> Placed:
    """Lay a label on its image's grid: as it is where the grids agree, else resampled to the nearest voxel.

    Args:
        label: uint8, on any grid.
        image: The image it belongs to.

    Raises:
        GeometryError: If less than :data:`INSIDE` of the label lies inside of the image, or nothing of it is left.
    """
    if label.grid.same_as(image.grid):
        return Placed(label.array)
    inside = _share_inside(label, image.grid)
    if inside < INSIDE:
        raise GeometryError(
            f"{100 * inside:.1f} % of {label.source.name} lies inside of its image, {100 * INSIDE:.0f} % is needed "
            f"(label: {label.grid}; image: {image.grid}); one of the two is another scan's"
        )
    array = _resampled(label, image.grid)
    before, after = _millilitres(label.array, label.grid), _millilitres(array, image.grid)
    if not after:
        raise GeometryError(f"nothing of {label.source.name} is left on its image's grid ({label.grid}; {image.grid})")
    repair = (
        f"{_difference(label.grid, image.grid)}: label placed by world coordinates, {100 * inside:.1f} % of it inside "
        f"of the image, {before:.2f} mL before and {after:.2f} mL after"
    )
    changed = abs(after - before) > VOLUME_CHANGE * before
    warning = f"the label's volume changed from {before:.2f} to {after:.2f} mL when it was placed on the image"
    return Placed(array, (repair,), (warning,) if changed else ())


def _share_inside(label: Volume, grid: Grid) -> float:
    """Share of the label's foreground voxels whose centres lie in a voxel of the grid."""
    voxels = np.argwhere(label.array != BACKGROUND)
    if not len(voxels):
        return 1.0
    place = np.linalg.inv(grid.affine) @ label.grid.affine
    index = voxels @ place[:3, :3].T + place[:3, 3]
    return float(((index >= -0.5) & (index <= np.array(grid.shape) - 0.5)).all(axis=1).mean())


def _resampled(label: Volume, grid: Grid) -> NDArray[np.uint8]:
    image = sitk.GetImageFromArray(np.ascontiguousarray(label.array.transpose(2, 1, 0)))
    origin, spacing, direction = _lps(label.grid)
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    origin, spacing, direction = _lps(grid)
    resample = sitk.ResampleImageFilter()
    resample.SetSize(grid.shape)
    resample.SetOutputOrigin(origin)
    resample.SetOutputSpacing(spacing)
    resample.SetOutputDirection(direction)
    resample.SetInterpolator(sitk.sitkNearestNeighbor)
    resample.SetDefaultPixelValue(BACKGROUND)
    placed = sitk.GetArrayFromImage(resample.Execute(image))
    return np.ascontiguousarray(placed.transpose(2, 1, 0), dtype=np.uint8)


def _lps(grid: Grid) -> tuple[list[float], list[float], list[float]]:
    """Origin, spacing and direction as SimpleITK has them."""
    affine = LPS_TO_RAS @ grid.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return affine[:3, 3].tolist(), spacing.tolist(), (affine[:3, :3] / spacing).ravel().tolist()


def _millilitres(array: NDArray[np.uint8], grid: Grid) -> float:
    return float((array != BACKGROUND).sum() * np.prod(grid.spacing) / 1000)


def _difference(label: Grid, image: Grid) -> str:
    """In what the grids differ, the first thing that matters."""
    if label.orientation != image.orientation:
        return f"axes {label.orientation} instead of {image.orientation}"
    if not np.allclose(label.spacing, image.spacing, rtol=1e-3):
        sizes = [" x ".join(f"{size:.3f}" for size in grid.spacing) for grid in (label, image)]
        return f"voxels of {sizes[0]} mm instead of {sizes[1]} mm"
    if label.shape != image.shape:
        shapes = [" x ".join(str(n) for n in grid.shape) for grid in (label, image)]
        return f"{shapes[0]} voxels instead of {shapes[1]}"
    corners = np.array([(*corner, 1) for corner in product(*[(0, n - 1) for n in image.shape])], dtype=np.float64)
    apart = np.linalg.norm((corners @ (label.affine - image.affine).T)[:, :3], axis=1).max()
    return f"grid up to {apart:.2f} mm apart"
