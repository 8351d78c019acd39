"""One case judged by hand, and means over what can be judged."""

import math

import numpy as np
import pytest
import torch
from monai.metrics import SurfaceDistanceMetric

from prostate_uda.engines.evaluation import SCORES, judge, mean_scores

SPACING = (1.0, 2.0, 3.0)
DISTANCES = ("WP_hd95_mm", "WP_assd_mm")


def zones(shift: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
    """PZ 3 × 2 × 2 behind TZ 3 × 2 × 2 voxels."""
    array = np.zeros((9, 10, 8), np.uint8)
    x, y, z = shift
    array[3 + x : 6 + x, 5 + y : 7 + y, 3 + z : 5 + z] = 1
    array[3 + x : 6 + x, 3 + y : 5 + y, 3 + z : 5 + z] = 2
    return array


def test_a_perfect_prediction() -> None:
    row = judge(zones(), zones(), SPACING)
    assert [row[zone] for zone in (*SCORES, *DISTANCES)] == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    assert row["PZ_mL"] == row["TZ_mL"] == pytest.approx(12 * 6 / 1000)
    assert row["WP_mL"] == row["WP_true_mL"] == pytest.approx(24 * 6 / 1000)


@pytest.mark.parametrize(("shift", "away"), [((1, 0, 0), 1.0), ((0, 1, 0), 2.0), ((0, 0, 1), 3.0)])
def test_distances_are_in_millimetres_along_the_right_axis(shift: tuple[int, int, int], away: float) -> None:
    row = judge(zones(shift), zones(), SPACING)
    assert row["WP_hd95_mm"] == pytest.approx(away)
    assert 0 < row["WP_assd_mm"] < away


# MONAI 1.6.1 warns about an argument that it hands to itself.
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy.*:FutureWarning")
def test_the_average_distance_is_monais() -> None:
    predicted, truth = zones((1, 2, -1)), zones()
    whole = [torch.from_numpy(label > 0)[None, None].float() for label in (predicted, truth)]
    oracle = SurfaceDistanceMetric(include_background=True, symmetric=True)(*whole, spacing=SPACING).item()
    assert judge(predicted, truth, SPACING)["WP_assd_mm"] == pytest.approx(oracle, rel=1e-5)


def test_a_shift_backwards_by_hand() -> None:
    """One voxel of 2 mm: each zone keeps 6 of 12 voxels, the whole 18 of 24, and 6 voxels change their zone."""
    row = judge(zones((0, 1, 0)), zones(), SPACING)
    assert (row["PZ"], row["TZ"], row["WP"]) == pytest.approx((6 / 12, 6 / 12, 18 / 24))
    assert row["WP_pooled"] == pytest.approx(12 / 24)


def test_the_true_volume_is_the_truths() -> None:
    half = zones()
    half[half == 2] = 0
    row = judge(half, zones(), SPACING)
    assert (row["WP_mL"], row["WP_true_mL"]) == pytest.approx((0.072, 0.144))
    assert row["TZ"] == 0.0


def test_without_a_truth_there_are_volumes_and_no_scores() -> None:
    row = judge(zones(), None, SPACING)
    assert row["WP_mL"] == pytest.approx(0.144)
    assert [row[name] for name in ("PZ", *DISTANCES, "WP_true_mL")] == [""] * 4


def test_means_leave_out_what_cannot_be_judged() -> None:
    rows = [
        judge(zones(), zones(), SPACING),
        judge(zones(), None, SPACING),
        judge(np.zeros_like(zones()), zones(), SPACING),
    ]
    assert mean_scores(rows)["WP"] == pytest.approx(0.5)
    assert mean_scores(rows[1:2]) == {"PZ": None, "TZ": None, "WP": None, "WP_pooled": None}
    empty = np.zeros_like(zones())
    assert math.isnan(judge(empty, empty, SPACING)["WP"])
