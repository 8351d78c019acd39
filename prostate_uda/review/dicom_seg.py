"""Floor 2, review: a label as a DICOM segmentation that refers to the MR series it was made from.

highdicom writes it, BINARY and with every frame: viewers load that kind most widely, and a reader gets the whole grid
back. It needs the optional extra ``dicom``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prostate_uda import __version__
from prostate_uda.errors import DataError, GeometryError, SettingsError
from prostate_uda.review.files import whole
from prostate_uda.review.seg_patient import odd_values
from prostate_uda.review.seg_sources import Sources, Stack, read_sources
from prostate_uda.review.segments import CATEGORY, SEGMENTS, Code, Segment, checked_label, lps_affine

CONTENT_LABEL = "RESEARCH_ONLY"
"""A code string: at most 16 characters, and no room for more."""

CONTENT_DESCRIPTION = "RESEARCH USE ONLY: prostate zones, not for diagnosis"
SERIES_DESCRIPTION = "Prostate zones - RESEARCH USE ONLY"
MANUFACTURER, MODEL = "prostate_uda maintainers", "prostate-uda"

_IN_PLANE_MM = 1e-2
_DRIFT = 1e-2
"""Sideways shift per millimeter along the stack that still counts as a straight one, as where voxels are read."""
_OFF_SLICE = 0.25
"""How far a frame may lie from its slice, as a share of the slices' distance (uneven slices)."""
_DIRECTION = 2e-3
"""How far a step from voxel to voxel may differ from the images', as a share of its length."""


@dataclass(frozen=True)
class Algorithm:
    """What made the label.

    Args:
        name: At most 64 characters.
        version: At most 64 characters.
        description: What a reader should know of it; at most 900 characters; goes to each segment.

    Raises:
        SettingsError: If a text is too long, has a backslash, or name or version is empty.
    """

    name: str
    version: str
    description: str = ""

    def __post_init__(self) -> None:
        for what, text in (("name", self.name), ("version", self.version)):
            if not text.strip() or len(text) > 64 or "\\" in text:
                raise SettingsError(f"algorithm {what} {text!r}; 1 to 64 characters without a backslash are allowed")
        if len(self.description) > 900 or "\\" in self.description:
            raise SettingsError(
                f"an algorithm's description of {len(self.description)} characters; at most 900 without a backslash "
                "are allowed"
            )


def can_write_dicom_seg() -> bool:
    """Whether the optional extra ``dicom`` is installed."""
    return all(find_spec(name) is not None for name in ("highdicom", "pydicom"))


def write_dicom_seg(
    path: Path, label: NDArray[Any], files: Sequence[Path], *, affine: ArrayLike, algorithm: Algorithm
) -> None:
    """Write a label as a DICOM segmentation of three segments: prostate (both zones), PZ and TZ.

    Frames and slices are matched by place, whatever the order of the files. A segment without voxels, and a label
    without any, is written all the same: its frames are empty, which says that nothing was found. Patient and study
    are the series' own; what is missing there stays empty, and text is stored as UTF-8.

    Args:
        path: The file; its folder is made where it is missing. Written whole or not at all, with UIDs of its own.
        label: uint8 ``(X, Y, Z)``: 0 background, 1 PZ, 2 TZ.
        files: The files of the one series that the label's grid was read from, in any order: an image each, or one
            enhanced multi-frame file.
        affine: ``(4, 4)`` voxel index to RAS millimeters of the label.
        algorithm: What made the label.

    Raises:
        SettingsError: If the extra ``dicom`` is not installed.
        ShapeError: If the label is not uint8 with three axes.
        DataError: If it holds another value, or the files cannot be read or are not one series.
        GeometryError: If the frames do not lie on the label's grid, slice by slice.
    """
    if not can_write_dicom_seg():
        raise SettingsError("DICOM segmentations need highdicom and pydicom: pip install highdicom pydicom")
    checked, lps = checked_label(label), lps_affine(affine)
    with odd_values():
        sources = read_sources(files)
        slices = _slices(sources.stack, checked.shape, lps, sources.folder)
        frames = checked.transpose(2, 1, 0)[slices]
        masks = np.stack([segment.mask(frames) for segment in SEGMENTS], axis=-1).astype(np.uint8)
        made = _segmentation(masks, sources, algorithm)
        with whole(path, ".dcm") as half:
            made.save_as(half, enforce_file_format=True)


def _slices(stack: Stack, shape: tuple[int, ...], lps: NDArray[np.float64], folder: Path) -> NDArray[np.intp]:
    """Which slice of the label lies at each frame.

    Raises:
        GeometryError: If number, size or place of frames and slices differ.
    """
    size = (stack.columns, stack.rows, len(stack.positions))
    if size != shape:
        theirs, ours = (" x ".join(str(n) for n in numbers) for numbers in (size, shape))
        raise GeometryError(f"{folder}: {theirs} voxels against a label of {ours}; give the series it was made from")
    steps = np.stack([stack.orientation[:3] * stack.spacing[0], stack.orientation[3:] * stack.spacing[1]], axis=1)
    apart = np.linalg.norm(lps[:3, :2] - steps, axis=0) / np.array(stack.spacing)
    if apart.max() > _DIRECTION:
        raise GeometryError(f"{folder}: the label's rows and columns run otherwise; give the series it was made from")
    index = (np.linalg.inv(lps) @ np.c_[stack.positions, np.ones(len(stack.positions))].T)[:3].T
    nearest = np.round(index[:, 2]).astype(np.intp)
    distance = np.abs(nearest) * np.linalg.norm(lps[:3, 2])
    sideways = np.linalg.norm(index[:, :2] * np.array(stack.spacing), axis=1)
    if (sideways > _IN_PLANE_MM + _DRIFT * distance).any() or (np.abs(index[:, 2] - nearest) > _OFF_SLICE).any():
        raise GeometryError(
            f"{folder}: images lie beside the label's slices, by up to {sideways.max():.2f} mm in plane and "
            f"{np.abs(index[:, 2] - nearest).max():.2f} slices across; give the series it was made from"
        )
    if sorted(nearest.tolist()) != list(range(shape[2])):
        raise GeometryError(f"{folder}: not one image per slice of the label; give the series it was made from")
    return np.asarray(nearest)


def _segmentation(masks: NDArray[np.uint8], sources: Sources, algorithm: Algorithm) -> Any:  # noqa: ANN401
    """The data set: ``masks`` is ``(F, rows, columns, segments)`` in the order of the frames."""
    import highdicom as hd
    from pydicom.uid import generate_uid

    try:
        made = hd.seg.Segmentation(
            source_images=sources.images,
            pixel_array=masks,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _description(number, segment, algorithm) for number, segment in enumerate(SEGMENTS, start=1)
            ],
            series_instance_uid=generate_uid(prefix=None),
            series_number=100 * sources.series_number + 1 if sources.series_number < 10**7 else 1,
            sop_instance_uid=generate_uid(prefix=None),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MODEL,
            software_versions=__version__,
            device_serial_number=__version__,
            content_label=CONTENT_LABEL,
            content_description=CONTENT_DESCRIPTION,
            series_description=SERIES_DESCRIPTION,
            specific_character_set="ISO_IR 192",
            omit_empty_frames=False,
        )
    except (ValueError, KeyError, AttributeError) as error:
        # its refusals; an unknown SOP class is a KeyError, one at odds with the images' frames an AttributeError
        kind, reason = sources.images[0].SOPClassUID, " ".join(str(error).split())
        raise DataError(f"{sources.folder}: highdicom cannot refer to images of SOP class {kind} ({reason})") from error
    made.update(sources.patient)
    return made


def _description(number: int, segment: Segment, algorithm: Algorithm) -> Any:  # noqa: ANN401
    import highdicom as hd
    from pydicom.sr.codedict import codes

    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name,
        segmented_property_category=_concept(CATEGORY),
        segmented_property_type=_concept(segment.code),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=algorithm.name,
            version=algorithm.version,
            family=codes.DCM.ArtificialIntelligence,
            source=MODEL,
        ),
        display_color=hd.color.CIELabColor.from_rgb(*segment.color),
    )
    description.SegmentDescription = f"Research use only. {algorithm.description}".strip()
    return description


def _concept(code: Code) -> Any:  # noqa: ANN401
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)
