"""Floor 2, review: what the review page needs of one case, as JSON: slices, contours, uncertainty, measures, flags.

Pictures are made for looking at contours, not for diagnosis. The gland with 30 mm around it is a WebP of at most 288
pixels a side, the whole slice one of at most 112, both 8 bit over a range some times wider than the window. That is
about 200 to 250 kB for 384 × 384 × 20 voxels and a gland of 50 mL, and more for a larger gland.
"""

import json
import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import approximate_polygon, find_contours

from prostate_uda.errors import DataError, SettingsError
from prostate_uda.review.views import View, prostate

FORMAT = 1
"""Version of what :func:`render_case` returns; the page refuses another."""

_PZ, _TZ = 1, 2
_MARGIN_MM = 30.0  # shown in full resolution around everything labelled
_EMPTY_MM = 120.0  # side of the middle shown in full resolution where nothing is labelled
_CROP_PIXELS, _WHOLE_PIXELS, _DOUBT_PIXELS = 288, 112, 112
_CROP_QUALITY, _FAR_QUALITY, _WHOLE_QUALITY = 65, 35, 30
_WINDOWS_BELOW, _WINDOWS_ABOVE = 0.5, 2.5  # the stored range in widths of the window: more costs steps of grey
_NEAR_MM = 3.0  # a slice this far above or below the gland still has the better quality
_STRAY_PIXELS = 0.4  # how far a drawn contour may stray from the label's border: no stairs, and a lone voxel stays
_LEVELS = 8  # steps of uncertainty
_SEEN_FROM, _MOST_OPAQUE = 0.1, 0.7  # uncertainty below the first is not painted; opacity at 1
_MAGENTA = (255, 64, 200)


@dataclass(frozen=True, eq=False)
class ReviewCase:
    """One scan with its segmentation.

    Attributes:
        name: What the case is called on the page; unique there.
        image: ``(X, Y, Z)`` grey values, axes as stored.
        label: ``(X, Y, Z)`` labels, 1 = PZ, 2 = TZ, 0 = background.
        uncertainty: ``(X, Y, Z)`` in [0, 1], or None.
        spacing_mm: Voxel size along the stored axes.
        orientation: Where the stored axes point to (``"LPS"``), as ``nibabel.aff2axcodes`` says.
        measures: Name to value (``WP_mL``, ``TZ_mL``, ``PZ_mL``, ``TZ_PZ_ratio``, ``psa_density``, others); None and
            values that are not finite are shown as missing.
        flags: Reasons for a look: a short code and a sentence each.
        attention: Larger is looked at first.
        source: What the scan was, a file name.
    """

    name: str
    image: NDArray[Any]
    label: NDArray[Any]
    uncertainty: NDArray[Any] | None
    spacing_mm: Sequence[float]
    orientation: str
    measures: Mapping[str, float | None]
    flags: Sequence[tuple[str, str]]
    attention: float
    source: str


def render_case(case: ReviewCase) -> dict[str, Any]:
    """Everything the page needs of a case, JSON-able.

    Args:
        case: The scan and its segmentation.

    Returns:
        ``name``, ``source``, ``attention``, ``measures``, ``flags``; ``size`` (pixels) and ``pixel_mm`` across and
        down; ``slice_mm``; ``crop`` (x, y, width, height in pixels); ``gland`` (first and one past the last pixel
        across and down, or None); ``window`` (black and white as shares of the stored range); ``first`` (the slice
        with the largest gland); ``digest`` of what is judged (name, source, grid, contours); and ``slices``, the
        inferior one first, each with ``crop`` and ``whole`` (WebP) and ``uncertainty`` (PNG or None) in base64,
        ``PZ``, ``TZ``, ``WP`` as SVG paths in pixels of the whole slice, and ``area`` (mm² of PZ and TZ). Slices are
        in radiological convention.

    Raises:
        ShapeError: The image has not three axes, or label or uncertainty has another shape.
        GeometryError: ``orientation`` or ``spacing_mm`` is not one of a volume.
        DataError: Values that are no zones, no uncertainty or not finite.
        SettingsError: A case without a name, or an attention that is not a number.
    """
    _check(case)
    volumes = {"zones": case.label} | ({} if case.uncertainty is None else {"uncertainty": case.uncertainty})
    view = View.of(case.image, volumes, case.spacing_mm, case.orientation, around=())
    window = View.of(case.image, {"zones": case.label}, case.spacing_mm, case.orientation).window
    zones = view.labels["zones"]
    gland = prostate(zones)
    extent = _extent(np.asarray(gland.any(axis=2)))
    box = _crop(extent, zones.shape, view.spacing)
    grey, shares = _grey_steps(view.image, window)
    near = _near(gland, view.spacing[2])
    doubt = view.labels.get("uncertainty")
    areas = gland.sum(axis=(0, 1))
    slices = [
        _slice(grey[:, :, z], zones[:, :, z], None if doubt is None else doubt[:, :, z], box, fine=bool(near[z]))
        | {"area": _areas(zones[:, :, z], view.spacing)}
        for z in range(zones.shape[2])
    ]
    judged = [case.name, case.source, zones.shape, view.spacing, [[one["PZ"], one["TZ"]] for one in slices]]
    return {
        "format": FORMAT,
        "name": case.name,
        "source": case.source,
        "attention": float(case.attention),
        "measures": {name: _finite(value) for name, value in case.measures.items()},
        "flags": [[str(code), str(text)] for code, text in case.flags],
        "size": [int(size) for size in zones.shape[:2]],
        "pixel_mm": [float(step) for step in view.spacing[:2]],
        "slice_mm": float(view.spacing[2]),
        "crop": [box[0].start, box[1].start, box[0].stop - box[0].start, box[1].stop - box[1].start],
        "gland": None if extent is None else [list(pair) for pair in extent],
        "window": shares,
        "first": int(areas.argmax()) if areas.any() else len(slices) // 2,
        "digest": sha256(json.dumps(judged).encode("ascii")).hexdigest()[:16],
        "slices": slices,
    }


def contour_path(mask: NDArray[Any]) -> str:
    """Closed curves around a ``(X, Y)`` mask as an SVG path; pixel ``(i, j)`` fills ``[i, i + 1] × [j, j + 1]``.

    Holes are curves of their own: fill with the even-odd rule. A curve strays less than half a pixel.
    """
    curves = []
    for curve in find_contours(np.pad(mask, 1).astype(np.float64), 0.5):
        corners = approximate_polygon(curve, _STRAY_PIXELS)[:-1] - 0.5
        curves.append("M" + "L".join(f"{across:g} {down:g}" for across, down in corners) + "Z")
    return "".join(curves)


def _slice(
    grey: NDArray[np.uint8],
    zones: NDArray[Any],
    doubt: NDArray[Any] | None,
    box: tuple[slice, slice],
    *,
    fine: bool,
) -> dict[str, Any]:
    return {
        "crop": _webp(grey[box], _CROP_PIXELS, _CROP_QUALITY if fine else _FAR_QUALITY),
        "whole": _webp(grey, _WHOLE_PIXELS, _WHOLE_QUALITY),
        "uncertainty": None if doubt is None else _overlay(doubt[box]),
        "PZ": contour_path(zones == _PZ),
        "TZ": contour_path(zones == _TZ),
        "WP": contour_path(prostate(zones)),
    }


def _areas(zones: NDArray[Any], spacing: Sequence[float]) -> list[float]:
    return [round(float((zones == zone).sum() * spacing[0] * spacing[1]), 1) for zone in (_PZ, _TZ)]


def _grey_steps(image: NDArray[Any], window: tuple[float, float]) -> tuple[NDArray[np.uint8], list[float]]:
    """Grey values as 0 to 255 over a range some times wider than the window, and the window as shares of it."""
    width = window[1] - window[0] or float(np.ptp(image)) or 1.0  # a constant image has a window, too
    low, high = (float(value) for value in np.percentile(image, (0.1, 99.9)))
    low = min(window[0], max(low, window[0] - _WINDOWS_BELOW * width))
    high = max(window[0] + width, min(high, window[0] + (1 + _WINDOWS_ABOVE) * width))
    share = np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)
    shares = [(edge - low) / (high - low) for edge in (window[0], window[0] + width)]
    return np.round(255 * share).astype(np.uint8), [round(share, 4) for share in shares]


def _extent(occupied: NDArray[Any]) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """First and one past the last occupied pixel across and down; None where nothing is."""
    if not occupied.any():
        return None
    (first, second) = ((int(where.min()), int(where.max()) + 1) for where in np.nonzero(occupied))
    return first, second


def _crop(
    extent: tuple[tuple[int, int], tuple[int, int]] | None, shape: tuple[int, ...], spacing: Sequence[float]
) -> tuple[slice, slice]:
    """The pixels that are kept in full resolution."""
    ranges = []
    for axis in range(2):
        if extent is None:
            low, high, margin = shape[axis] / 2, shape[axis] / 2, _EMPTY_MM / 2
        else:
            (low, high), margin = extent[axis], _MARGIN_MM
        pixels = margin / spacing[axis]
        ranges.append(slice(max(0, math.floor(low - pixels)), min(shape[axis], math.ceil(high + pixels))))
    return ranges[0], ranges[1]


def _near(gland: NDArray[np.bool_], slice_mm: float) -> NDArray[np.bool_]:
    """``(Z,)`` slices on or close to the gland; all, where there is none."""
    marked = np.flatnonzero(gland.any(axis=(0, 1)))
    if marked.size == 0:
        return np.ones(gland.shape[2], dtype=bool)
    places = np.arange(gland.shape[2])
    beside = _NEAR_MM / slice_mm
    return np.asarray((places >= marked[0] - beside) & (places <= marked[-1] + beside))


def _webp(pixels: NDArray[np.uint8], most: int, quality: int) -> str:
    """A ``(X, Y)`` slice, base64; shrunk to ``most`` pixels a side where it is larger."""
    out = BytesIO()
    _shrunk(Image.fromarray(np.ascontiguousarray(pixels.T)), most).save(out, "WEBP", quality=quality)
    return b64encode(out.getvalue()).decode("ascii")


def _overlay(doubt: NDArray[Any]) -> str | None:
    """Uncertainty in [0, 1] of a ``(X, Y)`` slice as a PNG whose opacity grows with it; None where nothing is seen."""
    small = _shrunk(Image.fromarray(np.ascontiguousarray(doubt.T, dtype=np.float32)), _DOUBT_PIXELS)
    step = np.round(np.clip(np.asarray(small), 0, 1) * (_LEVELS - 1)).astype(np.uint8)
    opacity = [
        round(255 * _MOST_OPAQUE * max(0.0, level / (_LEVELS - 1) - _SEEN_FROM) / (1 - _SEEN_FROM))
        for level in range(_LEVELS)
    ]
    if not np.take(opacity, step).any():
        return None
    picture = Image.fromarray(step)
    picture.putpalette(_MAGENTA * _LEVELS)
    out = BytesIO()
    picture.save(out, "PNG", transparency=bytes(opacity), bits=4, optimize=True)
    return b64encode(out.getvalue()).decode("ascii")


def _shrunk(picture: Image.Image, most: int) -> Image.Image:
    scale = most / max(picture.size)
    if scale >= 1:
        return picture
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BOX if picture.mode == "F" else Image.Resampling.LANCZOS)


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _check(case: ReviewCase) -> None:
    if not case.name.strip():
        raise SettingsError("a case without a name; a name is needed, verdicts are kept under it")
    if not math.isfinite(case.attention):
        raise SettingsError(
            f"{case.name}: attention {case.attention}; a finite number is allowed; 0 is no reason to look"
        )
    if not np.isfinite(case.image).all():
        raise DataError(f"{case.name}: grey values that are not finite; convert the series again")
    values = [value for value in np.unique(case.label).tolist() if value not in (0, _PZ, _TZ)]
    if values:
        raise DataError(f"{case.name}: label value {values[0]}; 0, 1 (PZ) and 2 (TZ) are allowed; translate it first")
    doubt = case.uncertainty
    if doubt is not None and not (np.isfinite(doubt).all() and doubt.min() > -1e-3 and doubt.max() < 1 + 1e-3):
        raise DataError(f"{case.name}: uncertainty outside [0, 1]; divide an entropy by the logarithm of the classes")
