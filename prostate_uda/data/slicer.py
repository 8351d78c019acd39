"""Floor 2: label maps as a reviewer saves them in 3D Slicer: ``.seg.nrrd``, and cut down to what is labelled.

A ``.seg.nrrd`` is an NRRD whose header names its segments, ``Segment0_Name``, ``Segment0_LabelValue`` and
``Segment0_Layer``; see Slicer's documentation of the module Segmentations. Segments that overlap lie in layers of
their own, the file's first axis, and may then share a label value. Where nothing is labelled Slicer writes 10 × 10 × 10
voxels, which may lie anywhere.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from prostate_uda.data.dicom import itk_reason, quiet
from prostate_uda.data.geometry import Grid
from prostate_uda.data.labels import ZONE_VALUES, values_by_name
from prostate_uda.data.volumes import LPS_TO_RAS, Volume, check_same_grid, read_label
from prostate_uda.errors import DataError, GeometryError

SEGMENTATION_SUFFIX = ".seg.nrrd"
_NAME = re.compile(r"Segment(\d+)_Name")
_UNNAMED = re.compile(r"segment[ _]?\d*", re.IGNORECASE)
"""What Slicer calls a segment that nobody has named."""
_ASIDE = ("prostate", "whole prostate", "prostate gland", "wp", "background")
"""What may stand beside the zones, such as the whole prostate of a DICOM SEG; the zones say where it is."""


class _Segment(NamedTuple):
    name: str
    value: int
    layer: int


def is_segmentation(path: Path) -> bool:
    """Whether a file's name says that it is Slicer's segmentation."""
    return path.name.lower().endswith(SEGMENTATION_SUFFIX)


def read_segmentation(path: Path) -> Volume:
    """Read PZ and TZ from a ``.seg.nrrd`` by the names of its segments, whatever their label values and layers.

    Where no segment has a name of its own (``Segment_1``), label values are 1 = PZ and 2 = TZ. A zone whose segment
    was removed is empty, and so are both where the file is a segmentation without segments.

    Returns:
        The volume, uint8 ``(X, Y, Z)``: 0 background, 1 PZ, 2 TZ, on the file's own grid; see :func:`placed`.

    Raises:
        DataError: The file cannot be read, its segments are others than PZ and TZ, or a voxel is of both.
        GeometryError: Its affine is singular or sheared.
    """
    image = _read(path)
    segments = _segments(path, image)
    if not segments and not _is_empty(image):  # an NRRD with Slicer's ending and nothing else of it
        return read_label(path, ZONE_VALUES)
    zones = _zones(path, segments)
    layers = _layers(path, image)
    array = np.zeros(layers.shape[:3], dtype=np.uint8)
    for segment, zone in zip(segments, zones, strict=True):
        if segment.layer >= layers.shape[3]:
            raise DataError(f"{path}: segment {segment.name!r} is of a layer that is not there; save it again")
        inside = layers[..., segment.layer] == segment.value
        twice = int((inside & (array > 0)).sum())
        if twice:
            raise DataError(f"{path}: {twice} voxels are of PZ and of TZ; remove the overlap in the Segment Editor")
        array[inside] = zone
    return Volume(array, _grid(path, image, array.shape), path)


def placed(label: Volume, like: Volume) -> Volume:
    """Put a label map that was saved cut down, or with a margin, back on the grid it was drawn on, voxel by voxel.

    A segmentation of Slicer's in which nothing is labelled has no place of its own.

    Args:
        label: uint8 ``(X, Y, Z)``; background is 0.
        like: Whose grid that is.

    Returns:
        The labels with the shape of ``like``; 0 where the file said nothing.

    Raises:
        GeometryError: Axes or voxel sizes differ, voxels lie between those of ``like``, or labels lie outside it.
    """
    if label.grid.same_as(like.grid):
        return label
    if is_segmentation(label.source) and not label.array.any():
        return Volume(np.zeros(like.grid.shape, dtype=label.array.dtype), like.grid, label.source)
    offset = np.round((np.linalg.inv(like.grid.affine) @ label.grid.affine[:, 3])[:3]).astype(int)
    moved = np.eye(4)
    moved[:3, 3] = offset
    if not label.grid.same_as(Grid(label.grid.shape, like.grid.affine @ moved)):
        check_same_grid(label, like)
    ours, theirs = [], []
    for start, size, whole in zip(offset.tolist(), label.grid.shape, like.grid.shape, strict=True):
        low, high = max(start, 0), min(start + size, whole)
        ours.append(slice(low, max(low, high)))
        theirs.append(slice(low - start, max(low, high) - start))
    array = np.zeros(like.grid.shape, dtype=label.array.dtype)
    array[tuple(ours)] = label.array[tuple(theirs)]
    lost = int((label.array > 0).sum() - (array > 0).sum())
    if lost:
        raise GeometryError(
            f"{label.source}: {lost} labelled voxels lie outside {like.source}; cut them off, save again"
        )
    return Volume(array, like.grid, label.source)


def _read(path: Path) -> sitk.Image:
    if not path.is_file():
        raise DataError(f"{path} does not exist; check the path")
    try:
        with quiet():
            image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise DataError(f"{path}: {itk_reason(error)}; save it again") from error
    if image.GetDimension() != 3:
        raise DataError(f"{path}: {image.GetDimension()} dimensions; 3, with layers or without, are needed")
    return image


def _is_empty(image: sitk.Image) -> bool:
    """Whether a file without segments says that it is a segmentation, and labels nothing."""
    says_so = any(key.startswith("Segmentation_") for key in image.GetMetaDataKeys())
    return says_so and not sitk.GetArrayViewFromImage(image).any()


def _segments(path: Path, image: sitk.Image) -> list[_Segment]:
    """What the header says, in its order."""
    found = []
    numbers = [int(match[1]) for match in map(_NAME.fullmatch, image.GetMetaDataKeys()) if match]
    for number in sorted(numbers):
        name = image.GetMetaData(f"Segment{number}_Name").strip()
        value, layer = (_whole(path, image, f"Segment{number}_{key}") for key in ("LabelValue", "Layer"))
        if value is None:  # Slicer 4.10 and before: a layer each
            value, layer = 1, number
        found.append(_Segment(name, value, layer or 0))
    return [segment for segment in found if segment.name.lower() not in _ASIDE] or found


def _whole(path: Path, image: sitk.Image, key: str) -> int | None:
    if not image.HasMetaDataKey(key):
        return None
    text = image.GetMetaData(key).strip()
    if not text.isdecimal():
        raise DataError(f"{path}: {key} is {text!r}; a whole number is needed; save it again")
    return int(text)


def _zones(path: Path, segments: list[_Segment]) -> list[int]:
    """Ours for each segment: by name, or by label value where none is named."""
    if all(_UNNAMED.fullmatch(segment.name) for segment in segments):
        unknown = [f"{segment.name}={segment.value}" for segment in segments if segment.value not in ZONE_VALUES]
        if unknown or len({segment.layer for segment in segments}) > 1:
            told = ", ".join(unknown) or "layers"
            raise DataError(f"{path}: unnamed segments ({told}); name them PZ and TZ, or give them the values 1 and 2")
        return [ZONE_VALUES[segment.value] for segment in segments]
    names = [re.sub(r"^prostate[ _-]+", "", segment.name, flags=re.IGNORECASE) for segment in segments]
    for missing in ([], ["PZ"], ["TZ"]):
        # Names may come with any label value, and one value in two layers: the order of the segments tells them apart.
        try:
            values = values_by_name(dict(enumerate([*names, *missing], start=1)))
        except DataError:
            continue
        return [values[place] for place in range(1, len(names) + 1)]
    listed = ", ".join(segment.name for segment in segments)
    raise DataError(f"{path}: segments named {listed}; one PZ and one TZ are allowed; rename or remove the others")


def _layers(path: Path, image: sitk.Image) -> NDArray[Any]:
    """``(X, Y, Z, layers)``."""
    array = sitk.GetArrayFromImage(image)
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{path}: a fractional segmentation; save it as a binary labelmap")
    layers: NDArray[Any] = (array if array.ndim == 4 else array[..., None]).transpose(2, 1, 0, 3)
    return layers


def _grid(path: Path, image: sitk.Image, shape: tuple[int, ...]) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    try:
        return Grid(shape, LPS_TO_RAS @ affine)  # type: ignore[arg-type]  # Grid checks the number of axes
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from error
