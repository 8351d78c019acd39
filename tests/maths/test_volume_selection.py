"""Thresholds that give the target the source's volumes: golden numbers and laws."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prostate_uda.maths.volume_selection import VolumeSelection
from tests.builders import two_classes


def test_volumes_by_hand() -> None:
    # ten pixels of 0.5 mL; the teacher finds one of the zone, the source's men have 1.5 mL
    probs = two_classes(*(1 - p for p in (0.9, 0.4, 0.3, 0.2, 0.1, 0.05, 0.04, 0.03, 0.02, 0.01)))
    volumes = torch.tensor([math.nan, 1.5])
    counts = VolumeSelection().count(probs, 0.5)
    assert counts.sum(dim=1).tolist() == [5, 5]
    for trust, zone, background in ((1.0, 0.3, 0.8), (0.5, 0.4, 0.7), (0.0, 0.9, 0.6)):
        rule = VolumeSelection(trust=trust)
        k = rule.thresholds(counts, volumes)
        torch.testing.assert_close(k, torch.tensor([background, zone]), atol=1e-3, rtol=0)
        gland = round(1 + 2 * trust)  # pixels: 1, 2 or 3
        assert rule.labels(probs, k).tolist() == [1] * gland + [0] * (10 - gland)


def test_a_zone_that_nobody_has_gets_no_pixel() -> None:
    probs = two_classes(0.9, 0.8)
    rule = VolumeSelection(trust=1.0)
    k = rule.thresholds(rule.count(probs, 1.0), torch.tensor([math.nan, 0.0]))
    assert k[1] == 1
    assert rule.labels(probs, k).tolist() == [0, 0]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.05, 0.6), voxel=st.floats(0.001, 2))
def test_as_many_voxels_reach_a_threshold_as_the_class_has(seed: int, share: float, voxel: float) -> None:
    probs = torch.randn(2, 400, generator=torch.Generator().manual_seed(seed)).softmax(dim=0)
    rule = VolumeSelection(trust=1.0)
    k = rule.thresholds(rule.count(probs, voxel), torch.tensor([math.nan, share * 400 * voxel]))
    reached = (probs >= k[:, None]).sum(dim=1) - torch.tensor([(1 - share) * 400, share * 400])
    assert bool((reached > -1).all())  # what shares the last pixel's bin is in
    assert bool((reached <= 8).all())


def test_a_perfect_teacher_of_pictures_keeps_each_class_s_share() -> None:
    """Class 0 is road there, not what is left; void pixels of the source's labels are nobody's."""
    label = torch.tensor([0] * 48 + [1] * 40 + [2] * 40)
    probs = torch.nn.functional.one_hot(label, 3).T * 0.94 + 0.02
    for trust in (0.0, 0.5, 1.0):
        rule = VolumeSelection(trust=trust)
        k = rule.thresholds(rule.count(probs, 1 / 128), torch.tensor([48.0, 40.0, 40.0]) / 128)
        assert torch.equal(rule.labels(probs, k).long(), label)
        assert bool((k > 0.9).all())
