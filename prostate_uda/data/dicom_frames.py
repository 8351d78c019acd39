"""Floor 2: where the frames of a multi-frame (enhanced) DICOM image lie.

ITK has no place for them but a guess, 1 mm voxels where frames are not in order, so pydicom reads the header's
sequences. It comes with the optional extra ``dicom``.
"""

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from prostate_uda.data.dicom_stack import check_stack, normal_of
from prostate_uda.errors import DataError

_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_GROUPS = {
    "ImagePositionPatient": ("PlanePositionSequence", 3),
    "ImageOrientationPatient": ("PlaneOrientationSequence", 6),
    "PixelSpacing": ("PixelMeasuresSequence", 2),
}
"""In which sequence a frame has a number, and how many of them."""
_SCALE = ("RescaleSlope", "RescaleIntercept")


class _Frames(NamedTuple):
    """``(F, 3)`` LPS positions, ``(F, 6)`` orientations, ``(F, 2)`` millimetres between rows and between columns."""

    positions: NDArray[np.float64]
    orientations: NDArray[np.float64]
    spacings: NDArray[np.float64]


def placed_frames(image: sitk.Image, file: Path, title: str) -> sitk.Image:
    """A multi-frame image with its frames sorted along their normal, where the header says that they lie.

    Args:
        image: As ITK reads it, frames in the file's order.
        file: It was read from.
        title: Of the series, for messages.

    Raises:
        DataError: The header does not say where frames lie, one is missing or there twice, frames are scaled
            differently, or pydicom is not installed.
        GeometryError: The frames are not parallel, or their stack is sheared.
    """
    if find_spec("pydicom") is None:
        raise DataError(f"{file}: multi-frame DICOM needs pydicom: pip install pydicom")
    frames = _frames(file)
    if len(frames.positions) != image.GetSize()[2]:
        raise DataError(f"{file}: {image.GetSize()[2]} frames and {len(frames.positions)} places; export it again")
    if frames.spacings.min() <= 0 or not np.allclose(frames.spacings, frames.spacings[0], rtol=1e-3):
        raise DataError(f"{file}: frames with pixels of different sizes, or none; give one stack of slices")
    check_stack(frames.positions, frames.orientations, folder=file.parent, title=title)
    normal = normal_of(frames.orientations[0])
    order = np.argsort(frames.positions @ normal)
    stack = frames.positions[order]
    made = sitk.GetImageFromArray(sitk.GetArrayFromImage(image)[order])
    step = float(np.linalg.norm(stack[-1] - stack[0])) / (len(stack) - 1)
    made.SetSpacing((float(frames.spacings[0, 1]), float(frames.spacings[0, 0]), step))
    rows, columns = frames.orientations[0, :3], frames.orientations[0, 3:]
    made.SetDirection(np.stack([rows, columns, normal], axis=1).ravel().tolist())
    made.SetOrigin(stack[0].tolist())
    return made


def _frames(file: Path) -> _Frames:
    from pydicom import dcmread

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # files break DICOM's rules in many ways; what matters is checked
            header = dcmread(file, stop_before_pixels=True, force=True, specific_tags=[_SHARED, _PER_FRAME])
            shared = (header.get(_SHARED) or [{}])[0]
            items = list(header.get(_PER_FRAME) or ())
            numbers = [_numbers(file, items, shared, name) for name in _GROUPS]
            scales = {_scale(item, shared) for item in items}
    except (AttributeError, LookupError, TypeError, ValueError, NotImplementedError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{file}: its frames' places cannot be read ({reason}); export the series again") from error
    if len(scales) > 1:
        raise DataError(f"{file}: its frames are scaled by {len(scales)} slopes; convert the series to NIfTI")
    return _Frames(*numbers)


def _group(item: Any, shared: Any, name: str) -> Any:  # noqa: ANN401  # pydicom is optional
    """A functional group's only item: the frame's own, else what all frames share."""
    return (item.get(name) or shared.get(name) or [{}])[0]


def _numbers(file: Path, items: list[Any], shared: Any, name: str) -> NDArray[np.float64]:  # noqa: ANN401
    group, count = _GROUPS[name]
    told = [[float(part) for part in _group(item, shared, group).get(name) or ()] for item in items]
    if not told or any(len(one) != count for one in told) or not np.isfinite(told).all():
        raise DataError(f"{file}: frames without {name}; export the series again as enhanced MR or as single images")
    return np.array(told, dtype=np.float64)


def _scale(item: Any, shared: Any) -> tuple[str, ...]:  # noqa: ANN401
    group = _group(item, shared, "PixelValueTransformationSequence")
    return tuple(str(group.get(name)) for name in _SCALE)
