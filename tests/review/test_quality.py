"""Why a result needs a look: every reason by hand, their order, and how cases are ordered by them."""

import math
from typing import Any

import numpy as np
import pytest

from prostate_uda.review.quality import PLAUSIBLE_ML, SECOND_ML, Findings, Flag, attention, flags_of, touched_borders

GOOD = {"WP_mL": 40.0, "PZ_mL": 15.0, "TZ_mL": 25.0, "pieces": 1.0, "second_mL": 0.0, "uncertainty": 0.1}


def findings(measures: dict[str, float] | None = None, **changes: Any) -> Findings:
    usual = {"borders": (), "cut": False, "usual_uncertainty": 0.2, "distance": 0.5}
    told = {**GOOD, **(measures or {})}
    derived = {
        "TZ_PZ_ratio": told["TZ_mL"] / told["PZ_mL"] if told["PZ_mL"] else math.nan,
        "ellipsoid_mL": told["WP_mL"],
    }
    return Findings(measures={**derived, **told}, **{**usual, **changes})


def codes(found: Findings) -> list[str]:
    return [flag.code for flag in flags_of(found)]


def test_nothing_to_say_of_a_good_result() -> None:
    assert flags_of(findings()) == ()
    assert flags_of(findings(usual_uncertainty=None, distance=None)) == ()


@pytest.mark.parametrize(
    ("measures", "changes", "code", "text"),
    [
        ({"WP_mL": 11.9}, {}, "volume", "The gland has 11.9 mL; usual are 12 to 250."),
        ({"WP_mL": 250.1}, {}, "volume", "The gland has 250.1 mL; usual are 12 to 250."),
        ({"PZ_mL": 0.0}, {}, "no-pz", "No peripheral zone was found."),
        ({"TZ_mL": 0.0}, {}, "no-tz", "No transition zone was found."),
        ({"PZ_mL": 1.0}, {}, "ratio", "TZ has 25 times the volume of PZ; usual are 0.1 to 10."),
        ({"TZ_mL": 1.0}, {}, "ratio", "TZ has 0.067 times the volume of PZ; usual are 0.1 to 10."),
        ({"ellipsoid_mL": 80.0}, {}, "ragged", "The gland fills 50% of the ellipsoid around it; usual is most of it."),
        ({"pieces": 3.0, "second_mL": 0.4}, {}, "pieces", "The gland is in 3 pieces; the second has 0.4 mL."),
        ({}, {"borders": ("last slice",)}, "border", "The gland touches the scan's last slice."),
        ({}, {"borders": ("first slice", "side")}, "border", "The gland touches the scan's first slice and side."),
        ({}, {"cut": True}, "cut", "The gland may go on beyond what the network saw."),
        ({}, {"remarks": ("No T2.",)}, "scan", "No T2."),
        ({"uncertainty": 0.3}, {}, "unsure", "The network is unsure: 0.30 within the gland; usual is up to 0.20."),
        (
            *({}, {"distance": 2.5}, "unlike"),
            "The scan is unlike the training scans: its grey values are 2.5 times as far as usual.",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_each_reason(measures: dict[str, float], changes: dict[str, Any], code: str, text: str) -> None:
    (flag,) = flags_of(findings(measures, **changes))
    assert (flag.code, flag.text) == (code, text)
    assert flag.weight > 0


def test_limits_themselves_are_usual() -> None:
    low, high = PLAUSIBLE_ML
    at = {"uncertainty": 0.2}
    assert codes(findings({**at, "WP_mL": low}, distance=1.0)) == codes(findings({**at, "WP_mL": high})) == []
    assert codes(findings({"second_mL": SECOND_ML, "pieces": 2.0})) == ["pieces"]


def test_no_gland_says_it_all() -> None:
    nothing = dict.fromkeys(GOOD, 0.0) | {"uncertainty": math.nan}
    assert codes(findings(nothing)) == ["no-gland"]
    assert codes(findings(nothing, cut=True, remarks=("x",))) == ["no-gland", "cut", "scan"]


def test_the_weightiest_comes_first() -> None:
    everything = findings(
        {"WP_mL": 5.0, "PZ_mL": 0.0, "pieces": 2.0, "second_mL": 1.0, "uncertainty": 0.9},
        borders=("side",), cut=True, distance=9.0, remarks=("a", "b"),
    )  # fmt: skip
    flags = flags_of(everything)
    assert sorted(codes(everything)) == sorted(
        ["volume", "no-pz", "pieces", "border", "cut", "scan", "scan", "unsure", "unlike"]
    )
    weights = [flag.weight for flag in flags]
    assert weights == sorted(weights, reverse=True)
    assert flags[0].code == "volume"
    assert all("\n" not in flag.text and flag.text.endswith((".", "a", "b")) for flag in flags)


def test_a_flag_counts_more_than_any_uncertainty() -> None:
    """So a case without flags never stands before one with them."""
    least = min(
        (flags_of(findings(measures, **changes))
         for measures, changes in [({"WP_mL": 5.0}, {}), ({}, {"cut": True}), ({}, {"distance": 2.0}),
                                   ({"uncertainty": 0.3}, {}), ({}, {"borders": ("side",)})]),
        key=lambda flags: flags[0].weight,
    )  # fmt: skip
    assert attention(least, 0.0) > attention((), 1.0) == attention((), math.nan) == 1
    assert attention((), 0.3) == 0.3
    assert attention((Flag("a", "A.", 2), Flag("b", "B.", 3)), 0.25) == 5.25
    nothing = flags_of(findings(dict.fromkeys(GOOD, 0.0)))
    assert attention(nothing, math.nan) > attention(flags_of(findings({"WP_mL": 5.0, "PZ_mL": 0.0})), 0.9)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_borders_by_hand(axis: int) -> None:
    label = np.zeros((6, 7, 5), np.uint8)

    def touched(along: int, across: int) -> tuple[str, ...]:
        marked, place = label.copy(), [2, 2, 2]
        place[axis] = along
        place[(axis + 1) % 3] = across
        marked[tuple(place)] = 2
        return touched_borders(marked, axis)

    assert touched_borders(label, axis) == touched(1, 1) == ()
    assert touched(0, 2) == ("first slice",)
    assert touched(-1, 2) == ("last slice",)
    assert touched(2, 0) == touched(2, -1) == ("side",)
    assert touched(0, -1) == ("first slice", "side")
    assert touched_borders(np.ones_like(label), axis) == ("first slice", "last slice", "side")
