"""Floor 2, review: why a result needs a look, and how much."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

PLAUSIBLE_ML = (12.0, 250.0)
"""Whole prostates of men who are scanned; below or above it is a mistake sooner than a gland."""

PLAUSIBLE_RATIO = (0.1, 10.0)
"""TZ over PZ, by volume; beyond it one of the two was lost."""

FILLS = 0.6
"""A gland that fills less of the ellipsoid of its own diameters is ragged or scattered."""

SECOND_ML = 0.3
"""A second piece of this volume is worth a look."""


@dataclass(frozen=True)
class Flag:
    """One reason for a look.

    Attributes:
        code: Short name, one word.
        text: One sentence.
        weight: How much it counts in the order of cases.
    """

    code: str
    text: str
    weight: float


@dataclass(frozen=True)
class Findings:
    """What is known of a result beside its labels.

    Attributes:
        measures: Of :func:`~prostate_uda.metrics.gland.gland_measures`, and ``uncertainty``, the mean within the gland.
        borders: Of :func:`touched_borders`.
        cut: Whether the gland reaches the edge of what the network saw.
        usual_uncertainty: Up to where ``uncertainty`` was usual on the training scans; None where nothing is known.
        distance: From the training scans' grey values, over what was usual there; None where nothing is known.
        remarks: What reading the scan found wrong with it.
    """

    measures: Mapping[str, float]
    borders: tuple[str, ...]
    cut: bool
    usual_uncertainty: float | None
    distance: float | None
    remarks: tuple[str, ...] = ()


def touched_borders(label: NDArray[Any], slice_axis: int) -> tuple[str, ...]:
    """Which ends of the scan the gland touches: ``first slice``, ``last slice``, ``side``.

    Args:
        label: ``(X, Y, Z)``.
        slice_axis: The axis along which slices lie.
    """
    gland, found = label > 0, []
    ends = gland.take([0, -1], axis=slice_axis)
    for name, end in (("first slice", 0), ("last slice", 1)):
        if ends.take(end, axis=slice_axis).any():
            found.append(name)
    sides = (gland.take([0, -1], axis=axis).any() for axis in range(3) if axis != slice_axis)
    return (*found, *(["side"] if any(sides) else []))


def flags_of(found: Findings) -> tuple[Flag, ...]:
    """The reasons for a look, the weightiest first."""
    flags = [*_of_the_gland(found.measures), *_of_the_place(found), *_of_the_scan(found)]
    return tuple(sorted(flags, key=lambda flag: -flag.weight))


def attention(flags: tuple[Flag, ...], uncertainty: float) -> float:
    """How much a case needs a look: the flags' weights, then the uncertainty (NaN counts as 1)."""
    return sum(flag.weight for flag in flags) + (1.0 if math.isnan(uncertainty) else uncertainty)


def _of_the_gland(measures: Mapping[str, float]) -> list[Flag]:
    whole, low, high = measures["WP_mL"], *PLAUSIBLE_ML
    if whole == 0:
        return [Flag("no-gland", "No gland was found.", 10)]
    flags = []
    if not low <= whole <= high:
        flags.append(Flag("volume", f"The gland has {whole:.1f} mL; usual are {low:g} to {high:g}.", 5))
    flags += [
        Flag(f"no-{zone.lower()}", f"No {name} zone was found.", 4)
        for zone, name in (("PZ", "peripheral"), ("TZ", "transition"))
        if measures[f"{zone}_mL"] == 0
    ]
    ratio, fills = measures["TZ_PZ_ratio"], whole / measures["ellipsoid_mL"]
    if ratio > 0 and not PLAUSIBLE_RATIO[0] <= ratio <= PLAUSIBLE_RATIO[1]:
        text = f"TZ has {ratio:.2g} times the volume of PZ; usual are {PLAUSIBLE_RATIO[0]:g} to {PLAUSIBLE_RATIO[1]:g}."
        flags.append(Flag("ratio", text, 4))
    if fills < FILLS:
        flags.append(Flag("ragged", f"The gland fills {fills:.0%} of the ellipsoid around it; usual is most of it.", 3))
    if measures["second_mL"] >= SECOND_ML:
        text = f"The gland is in {measures['pieces']:.0f} pieces; the second has {measures['second_mL']:.1f} mL."
        flags.append(Flag("pieces", text, 3))
    return flags


def _of_the_place(found: Findings) -> list[Flag]:
    flags = []
    if found.borders:
        flags.append(Flag("border", f"The gland touches the scan's {' and '.join(found.borders)}.", 3))
    if found.cut:
        flags.append(Flag("cut", "The gland may go on beyond what the network saw.", 4))
    return flags


def _of_the_scan(found: Findings) -> list[Flag]:
    flags = [Flag("scan", remark, 4) for remark in found.remarks]
    unsure, usual = found.measures["uncertainty"], found.usual_uncertainty
    if usual is not None and unsure > usual:
        text = f"The network is unsure: {unsure:.2f} within the gland; usual is up to {usual:.2f}."
        flags.append(Flag("unsure", text, 3))
    if found.distance is not None and found.distance > 1:
        text = f"The scan is unlike the training scans: its grey values are {found.distance:.1f} times as far as usual."
        flags.append(Flag("unlike", text, 3))
    return flags
