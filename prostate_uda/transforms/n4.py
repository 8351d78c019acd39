"""Floor 2: N4 bias field correction (Tustison et al., IEEE TMI 2010) by SimpleITK, at a resolution that pays."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

import numpy as np
import SimpleITK as sitk
from monai.config import KeysCollection
from numpy.typing import NDArray
from torch import Tensor

from prostate_uda.errors import SettingsError
from prostate_uda.transforms.body import Array, Mask, Spacing, body_mask, each_volume, shrink, shrink_factor, stretch
from prostate_uda.transforms.correction import Correctiond, FieldCorrection

ITERATIONS = (40, 30, 20)
"""Per level. Three levels end at control points a quarter of the field of view apart: a fourth follows muscles."""

CONTROL_POINTS = (4, 4, 4)
WORKING_PIXEL_MM = 6.0
"""In-plane pixel on which the field is estimated, an eighth of the distance between its finest control points."""

SPLINE_ORDER = 3
_ONE_AT_A_TIME = Lock()


class N4BiasFieldCorrection(FieldCorrection):
    """Divides an image by the smooth field that sharpens its histogram most.

    The field is estimated in the body on block means (slices are not merged) and its logarithm is interpolated to the
    full grid. N4 leaves the field's scale open; here its geometric mean over the body is 1. ITK runs on one thread, as
    the number of threads changes its result (by a thousandth), so the same image gives the same bits.

    Args:
        iterations: Most iterations at each level; a level doubles the control points of the one before.
        shrink: Pixels to average along each in-plane axis; by the voxel size, to about 6 mm, where None.
        control_points: Of the first level along X, Y and Z, more than the spline order (3).
        convergence: A level ends where the field's relative change falls below.

    Raises:
        SettingsError: A setting outside its range.
    """

    def __init__(
        self,
        iterations: Sequence[int] = ITERATIONS,
        *,
        shrink: int | None = None,
        control_points: Sequence[int] = CONTROL_POINTS,
        convergence: float = 1e-3,
    ) -> None:
        if not iterations or min(iterations) < 1 or (shrink is not None and shrink < 1) or not convergence > 0:
            raise SettingsError(
                f"N4 with iterations {tuple(iterations)}, shrink {shrink}, convergence {convergence}; "
                "all must be positive, with one iteration count per level"
            )
        if len(control_points) != 3 or min(control_points) <= SPLINE_ORDER:
            raise SettingsError(f"N4 with control points {tuple(control_points)}; give three numbers, 4 or more each")
        self.iterations = tuple(iterations)
        self.shrink = shrink
        self.control_points = tuple(control_points)
        self.convergence = convergence

    def field(self, image: Tensor) -> Tensor:
        """The multiplicative field of each volume, plain float32, ``(C, X, Y, Z)`` or a batch."""
        return each_volume(image, self._field)

    def _field(self, volume: Array, spacing: Spacing) -> Array:
        factor = self.shrink or shrink_factor(volume.shape, spacing, WORKING_PIXEL_MM)
        coarse = shrink(volume, factor)
        wide = (spacing[0] * factor, spacing[1] * factor, spacing[2])
        logs = self._log_field(coarse, body_mask(coarse, wide), wide)
        return np.exp(stretch(logs, factor, volume.shape))

    def _log_field(self, coarse: Array, body: Mask, spacing: Spacing) -> Array:
        """Logarithm of the field on the working grid, ``(X, Y, Z)``."""
        positive = body & (coarse > 0)
        if positive.sum() < len(self.control_points) or min(coarse.shape) < 2:
            return np.zeros_like(coarse)
        image = _itk(coarse, spacing)
        n4 = sitk.N4BiasFieldCorrectionImageFilter()
        n4.SetMaximumNumberOfIterations(self.iterations)
        n4.SetNumberOfControlPoints(self.control_points)
        n4.SetConvergenceThreshold(self.convergence)
        n4.SetSplineOrder(SPLINE_ORDER)
        with _one_thread():
            n4.Execute(image, _itk(positive.astype(np.uint8), spacing))
            logs = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).transpose(2, 1, 0)
        return np.ascontiguousarray(logs - logs[positive].mean(), dtype=np.float32)


@contextmanager
def _one_thread() -> Iterator[None]:
    """ITK on one thread: the filters inside N4 obey nothing but the global default."""
    with _ONE_AT_A_TIME:
        threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
        try:
            yield
        finally:
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _itk(array: Array | NDArray[np.uint8], spacing: Spacing) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetSpacing(spacing)
    return image


class N4BiasFieldCorrectiond(Correctiond):
    """Dictionary version of :class:`N4BiasFieldCorrection`.

    Args:
        keys: Of the images.
        iterations: As in the array version, like ``shrink``, ``control_points`` and ``convergence``.
        shrink: In-plane shrink factor.
        control_points: Of the first level.
        convergence: Where a level ends.
        invertible: Record the field, so that ``inverse`` multiplies by it; see :class:`Correctiond`.
        allow_missing_keys: Pass over entries without a key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        iterations: Sequence[int] = ITERATIONS,
        *,
        shrink: int | None = None,
        control_points: Sequence[int] = CONTROL_POINTS,
        convergence: float = 1e-3,
        invertible: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        n4 = N4BiasFieldCorrection(iterations, shrink=shrink, control_points=control_points, convergence=convergence)
        super().__init__(n4, keys, invertible=invertible, allow_missing_keys=allow_missing_keys)
