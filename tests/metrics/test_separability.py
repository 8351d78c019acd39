"""Domain separability: chance is 0.5, a shift is found, and a patient is not taken for a domain."""

import math

import pytest
import torch

from prostate_uda.errors import ShapeError
from prostate_uda.metrics.separability import domain_separability


def two_domains(shift: float, patients: int = 4, each: int = 40) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    features = torch.randn(2 * patients * each, 6, generator=torch.Generator().manual_seed(0))
    target = torch.arange(len(features)) >= patients * each
    features[target, 0] += shift
    return features, target, [f"p{index // each % patients}" for index in range(len(features))]


def test_one_distribution_is_chance_and_a_shift_is_found() -> None:
    assert domain_separability(*two_domains(0.0)) == pytest.approx(0.5, abs=0.1)
    assert domain_separability(*two_domains(2.0)) == pytest.approx(0.84, abs=0.05)  # Φ(1), the best there can be
    assert domain_separability(*two_domains(20.0)) == 1.0


def test_scale_is_of_no_concern() -> None:
    features, target, cases = two_domains(2.0)
    scales = torch.tensor([1e-4, 1e4, 1, 1, 1, 1])
    assert domain_separability(features * scales, target, cases) == domain_separability(features, target, cases)


def test_what_tells_patients_apart_does_not_tell_domains_apart() -> None:
    """Each patient has an offset of its own: with its pixels on both sides of a fold it would be recognised."""
    features, target, cases = two_domains(0.0, patients=8)
    identity = torch.tensor([int(name[1:]) for name in cases]) + 8 * target
    offsets = 50 * torch.eye(16)[identity]
    assert domain_separability(torch.cat([features, offsets], dim=1), target, cases) < 0.65


def test_a_single_patient_is_not_measured() -> None:
    features, target, cases = two_domains(2.0, patients=2)
    assert math.isnan(
        domain_separability(
            features, target, ["p0" if domain else name for domain, name in zip(target, cases, strict=True)]
        )
    )


def test_shapes_that_do_not_fit() -> None:
    features, target, cases = two_domains(0.0)
    for bad in ((features[0], target, cases), (features, target[1:], cases), (features, target, cases[1:])):
        with pytest.raises(ShapeError, match=r"allowed are \(P, F\)"):
            domain_separability(*bad)
