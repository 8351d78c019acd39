"""Floor 2: one case looked at before anything is learned from it. Nothing here raises: what is wrong is a finding.

Limits are wide on purpose: they are there for lost headers, wrong units and swapped files, not to judge a protocol.
"""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prostate_uda.data.dicom import choose_series
from prostate_uda.data.domains.base import Case
from prostate_uda.data.findings import Finding, error, warning
from prostate_uda.data.geometry import Grid
from prostate_uda.data.labels import PZ, TZ, pz_in_front
from prostate_uda.data.scanners import NO_SCANNER, Scanner, scanner_of
from prostate_uda.data.volumes import Volume, check_same_grid, read_image, read_label
from prostate_uda.errors import DataError

IN_PLANE_MM, SLICE_MM = (0.15, 2.0), (0.5, 8.0)
FIELD_MM = (60.0, 500.0)
FEW_SLICES = 6
GLAND_ML = (8.0, 300.0)
"""The smallest gland of a grown man and the largest that is not a mistake in units."""

SAMPLES = 40_000
"""Voxels that intensities are described by, spread evenly through the volume."""

QUANTILES = np.linspace(0.01, 0.99, 50)
FEW_VALUES = 12
SATURATED = 0.05


@dataclass(frozen=True, eq=False)
class Facts:
    """What one case says of itself, where it can be read.

    Attributes:
        id: Of the case.
        where: Its image.
        grid: Of the image.
        voxels: SHA-256 of the grey values; two files with one digest are one scan.
        quantiles: ``(50,)`` of the body's intensities after z-score, from 1 to 99 per cent.
        scanner: What the DICOM header says.
        labelled: Whether there is a label that can be used.
        gland_ml: PZ and TZ together; None without a label.
    """

    id: str
    where: str
    grid: Grid
    voxels: str
    quantiles: NDArray[np.float64]
    scanner: Scanner = NO_SCANNER
    labelled: bool = False
    gland_ml: float | None = None


@dataclass
class Examined:
    """A case and everything found on it.

    Attributes:
        case: The case.
        findings: What wants mending or a look; empty where all is well.
        facts: None where the image cannot be read.
    """

    case: Case
    findings: list[Finding] = field(default_factory=list)
    facts: Facts | None = None


def examine(case: Case, channel: int = 0) -> Examined:
    """Read a case and look at it.

    Args:
        case: Its label's values say what is allowed in the label file.
        channel: Which channel of a 4D image is T2.
    """
    seen = Examined(case)
    try:
        image = read_image(case.image, channel)
    except DataError as wrong:
        seen.findings.append(Finding.of(wrong, "image", case.id, case.image))
        return seen
    except OSError as wrong:
        mend = "see if the file is yours to read and its disk is there"
        seen.findings.append(error("image", case.id, f"{wrong.strerror or wrong}", mend))
        return seen
    seen.findings += [*_contrast(case), *_geometry(case.id, image.grid), *_intensities(case.id, image.array)]
    label = _label(seen, image)
    seen.facts = Facts(
        id=case.id,
        where=str(case.image),
        grid=image.grid,
        voxels=sha256(f"{image.array.shape}".encode() + np.ascontiguousarray(image.array).tobytes()).hexdigest(),
        quantiles=standard_quantiles(image.array),
        scanner=scanner_of(case.image),
        labelled=label is not None,
        gland_ml=None if label is None else _gland_ml(label),
    )
    return seen


def _contrast(case: Case) -> list[Finding]:
    """What a DICOM folder's only series says it is, where that is no T2."""
    if not case.image.is_dir():
        return []
    series = choose_series(case.image)
    if not series.other_contrast:
        return []
    what = f"the series is {series.name!r}, no T2 by its name"
    return [error("contrast", case.id, what, "give the axial T2 series")]


def standard_quantiles(image: NDArray[Any]) -> NDArray[np.float64]:
    """Quantiles of the body's intensities after clipping to 0.5 and 99.5 per cent and z-score.

    Args:
        image: ``(X, Y, Z)`` grey values, not constant; the body is what lies above 0, or above the minimum.

    Returns:
        ``(50,)``, in standard deviations.
    """
    sample = _sample(image)
    body = sample[sample > min(0.0, float(sample.min()))]
    body = body if body.size else sample
    clipped = np.clip(body, *np.percentile(body, (0.5, 99.5)))
    spread = float(clipped.std())
    standard = (clipped - clipped.mean()) / max(spread, 1e-8)
    return np.asarray(np.quantile(standard, QUANTILES), dtype=np.float64)


def _sample(image: NDArray[Any]) -> NDArray[np.float64]:
    flat = image.reshape(-1)
    step = max(1, flat.size // SAMPLES) | 1  # odd, so that it does not beat with the rows
    return flat[::step].astype(np.float64)


def _geometry(name: str, grid: Grid) -> list[Finding]:
    try:
        axis = grid.slice_axis
    except DataError as wrong:
        return [Finding.of(wrong, "axial", name)]
    spacing, slices = grid.spacing, grid.shape[axis]
    across = [size for place, size in enumerate(spacing) if place != axis]
    found = []
    if slices == 1:
        found.append(error("slices", name, "one slice; a stack is needed", "export the whole series"))
    elif slices < FEW_SLICES:
        found.append(warning("slices", name, f"{slices} slices hardly cover a prostate", "see if the series is whole"))
    if np.allclose(np.abs(grid.affine[:3, :3]), np.eye(3)):
        what = "voxels of 1 x 1 x 1 mm and no orientation: the header was probably lost in a conversion"
        found.append(warning("spacing", name, what, "convert again from DICOM with a tool that keeps the geometry"))
        return found
    fields = [
        size * count for place, (size, count) in enumerate(zip(spacing, grid.shape, strict=True)) if place != axis
    ]
    return [*found, *(_sizes(name, across, spacing[axis]) or _field(name, fields))]


def _field(name: str, fields: list[float]) -> list[Finding]:
    low, high = FIELD_MM
    if all(low <= extent <= high for extent in fields):
        return []
    what = f"a field of view of {fields[0]:.0f} x {fields[1]:.0f} mm; {low:g} to {high:g} is usual"
    return [warning("spacing", name, what, "see if the spacing in the header is in millimetres")]


def _sizes(name: str, across: list[float], along: float) -> list[Finding]:
    low, high = IN_PLANE_MM
    shown = f"{across[0]:.3g} x {across[1]:.3g} x {along:.3g} mm"
    if not all(low <= size <= high for size in across) or not SLICE_MM[0] <= along <= SLICE_MM[1]:
        what = (
            f"voxels of {shown}; {low:g} to {high:g} mm in the slice and {SLICE_MM[0]:g} to {SLICE_MM[1]:g} mm "
            "along the stack are usual"
        )
        return [warning("spacing", name, what, "see if the header's spacing is right and in millimetres")]
    if max(across) > 1.05 * min(across):
        what = f"pixels that are not square: {shown}"
        return [warning("spacing", name, what, "see if rows and columns were exchanged or resampled")]
    return []


def _intensities(name: str, array: NDArray[Any]) -> list[Finding]:
    sample = _sample(array)
    values, counts = np.unique(sample, return_counts=True)
    if values.size <= FEW_VALUES:
        what = f"{values.size} distinct grey values: a label map, not an image"
        return [error("intensities", name, what, "put labels into the labels' folder, or give the T2 scan")]
    found = []
    if counts[-1] > SATURATED * sample.size:
        what = f"{100 * counts[-1] / sample.size:.0f} % of the voxels have the largest grey value: clipped"
        found.append(warning("intensities", name, what, "convert again without a window or 8-bit cut"))
    if counts.max() > 0.9 * sample.size:
        what = f"{100 * counts.max() / sample.size:.0f} % of the voxels have one grey value"
        found.append(warning("intensities", name, what, "see if the scan is whole"))
    return found


def _label(seen: Examined, image: Volume) -> Volume | None:
    """The label, where it can be used; what is wrong is added to the findings."""
    case = seen.case
    if case.label is None:
        return None
    try:
        label = read_label(case.label, case.values)
    except DataError as wrong:
        seen.findings.append(Finding.of(wrong, "label", case.id, case.label))
        return None
    seen.findings += _zones(case.id, label)
    try:
        check_same_grid(label, image)
    except DataError as wrong:
        seen.findings.append(Finding.of(wrong, "grid", case.id))
        return None
    return label if np.isin(label.array, (PZ, TZ)).any() else None


def _zones(name: str, label: Volume) -> list[Finding]:
    present = {zone: bool((label.array == zone).any()) for zone in (PZ, TZ)}
    if not any(present.values()):
        return [error("empty-label", name, "the label holds no zone at all", "draw it, or leave the file out")]
    found = []
    if not all(present.values()):
        only = "PZ" if present[PZ] else "TZ"
        what = f"the label holds {only} alone"
        found.append(warning("one-zone", name, what, "see if both zones have the right value; a gland has two"))
    if pz_in_front(label):
        what = "PZ lies in front of TZ: the two label values are exchanged, or the image is upside down"
        mend = "say what they mean (--label-names 1=TZ,2=PZ), or mend the file's orientation"
        found.append(error("zones-exchanged", name, what, mend))
    volume = _gland_ml(label)
    if not GLAND_ML[0] <= volume <= GLAND_ML[1]:
        what = f"a gland of {volume:.1f} mL; {GLAND_ML[0]:g} to {GLAND_ML[1]:g} is plausible"
        found.append(warning("volume", name, what, "see if label and spacing are right"))
    return [*found, *_holes(name, label)]


def _holes(name: str, label: Volume) -> list[Finding]:
    """Slices without gland between slices with gland."""
    try:
        axis = label.grid.slice_axis
    except DataError:
        return []
    across = tuple(place for place in range(3) if place != axis)
    gland = np.asarray(np.isin(label.array, (PZ, TZ)).any(axis=across))
    inside = np.flatnonzero(gland)
    holes = [int(index) + 1 for index in range(inside[0], inside[-1]) if not gland[index]]
    if not holes:
        return []
    shown = ", ".join(map(str, holes[:6])) + (", ..." if len(holes) > 6 else "")
    what = f"no gland in slice {shown} (counted from 1) between slices with gland"
    return [warning("label-holes", name, what, "see if the label was drawn on every slice")]


def _gland_ml(label: Volume) -> float:
    return float(np.isin(label.array, (PZ, TZ)).sum() * np.prod(label.grid.spacing) / 1000)
