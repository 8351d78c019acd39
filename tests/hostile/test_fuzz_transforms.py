"""Every transform that takes an image, on any shape, type, values and affine: a right result, or our error."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from torch import Tensor

from prostate_uda.errors import ProstateUDAError
from prostate_uda.transforms import (
    AUGMENTATIONS,
    Acquisition,
    CorrectCoilProfile,
    CropGlandRegion,
    EndorectalCoil,
    FourierAmplitudeSwap,
    LabelZones,
    Landmarks,
    MatchReferenceHistogram,
    N4BiasFieldCorrection,
    NyulNormalize,
    RandFourierAmplitudeSwap,
    RandSimulateAcquisition,
    SimulateAcquisition,
    SliceStack,
    amplitude_bank,
)
from prostate_uda.transforms.normalization import minmax, zscore

LARGEST = 1e6
TYPES = (torch.float32, torch.float64, torch.float16, torch.int16, torch.uint8, torch.int64, torch.bool)
QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large)
FEW = settings(max_examples=12, deadline=None, suppress_health_check=QUIET)
MANY = settings(max_examples=300, deadline=None, suppress_health_check=QUIET)

REFERENCES = [np.linspace(-2, 2, 16).tolist(), (np.linspace(-1, 1, 16) ** 3).tolist()]
SCANNER = Acquisition(
    gamma=1.4,
    contrast=(0.5, 1.0),
    coil=EndorectalCoil(),
    ghost=0.1,
    acquired=(0.7, 0.8),
    snr=8.0,
)


@st.composite
def images(draw: st.DrawFn) -> Tensor:
    """Two to five axes with none to twelve places each, of any type, plain or on a grid."""
    shape = draw(st.lists(st.integers(0, 12), min_size=2, max_size=5).filter(lambda sides: np.prod(sides) <= 5000))
    if draw(st.booleans()):  # half of them as a volume should be
        shape = [1, *draw(st.tuples(*[st.integers(1, 12)] * 3))]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(("noise", "noise", "constant", "two", "large", "tiny")))
    array = {
        "noise": lambda: rng.normal(100, 40, shape),
        "constant": lambda: np.full(shape, draw(st.sampled_from((0.0, 1.0, -3.0)))),
        "two": lambda: rng.integers(0, 2, shape).astype(float),
        "large": lambda: rng.normal(0, LARGEST / 4, shape),
        "tiny": lambda: rng.normal(0, 1e-12, shape),
    }[kind]()
    image = torch.from_numpy(np.asarray(array)).to(draw(st.sampled_from(TYPES)))
    if image.is_floating_point() and image.numel() and draw(st.integers(0, 4)) == 0:
        image.view(-1)[draw(st.integers(0, image.numel() - 1))] = draw(st.sampled_from((np.nan, np.inf, -np.inf)))
    if not draw(st.booleans()):
        return image
    spacing = draw(st.tuples(*[st.floats(0.05, 20)] * 3))
    return MetaTensor(image, affine=torch.diag(torch.tensor((*spacing, 1.0), dtype=torch.float64)))


@dataclass(frozen=True)
class Subject:
    """A transform as a function of an image.

    Attributes:
        act: What it does.
        keeps: Whether what comes out has the shape of what went in, and is float32.
    """

    act: Callable[[Tensor], Tensor]
    keeps: bool = True


def _on_dictionary(make: Callable[[], Any]) -> Callable[[Tensor], Tensor]:
    return lambda image: make()({"image": image})["image"]


def _swapped(image: Tensor) -> Tensor:
    return FourierAmplitudeSwap(amplitude_bank(image, 0.2)[0], 0.2)(image)


def _rand_swapped(image: Tensor) -> Tensor:
    made = RandFourierAmplitudeSwap(amplitude_bank(image, 0.05), prob=1.0).set_random_state(1)
    return made(image)


SUBJECTS = {
    "n4": Subject(N4BiasFieldCorrection((2,))),
    "coil": Subject(CorrectCoilProfile()),
    "nyul": Subject(NyulNormalize(Landmarks((1.0, 50.0, 99.0), (0.0, 40.0, 100.0)))),
    "histogram": Subject(MatchReferenceHistogram(REFERENCES)),
    "zscore": Subject(_on_dictionary(zscore)),
    "minmax": Subject(_on_dictionary(minmax)),
    "acquisition": Subject(SimulateAcquisition(SCANNER)),
    "acquisition, drawn": Subject(lambda image: RandSimulateAcquisition(1.0).set_random_state(2)(image)),
    "acquisition, standardized": Subject(SimulateAcquisition(SCANNER, retain_stats=True)),
    "fourier": Subject(_swapped),
    "fourier, drawn": Subject(_rand_swapped),
    "stacks": Subject(SliceStack(3), keeps=False),
    "crop": Subject(CropGlandRegion(5.0, 20.0), keeps=False),
    "zones": Subject(LabelZones(keep_largest=True, tz_inside=True), keeps=False),
}


def check(subject: Subject, image: Tensor) -> None:
    """A right result, or our error; the image as it was."""
    before, finite = image.clone(), bool(torch.isfinite(image.as_subclass(Tensor).double()).all())
    try:
        out = subject.act(image)
    except ProstateUDAError as error:
        assert "\n" not in str(error)  # noqa: PT017  a result is right, too
        assert len(str(error)) > 20  # noqa: PT017  a result is right, too
    else:
        assert torch.equal(torch.isfinite(out.double()), torch.ones(out.shape, dtype=torch.bool)) or not finite
        if subject.keeps:
            assert finite, "numbers that are not finite went through"
            assert out.shape == image.shape
            assert out.dtype == torch.float32
        if isinstance(image, MetaTensor) and subject.keeps:
            assert isinstance(out, MetaTensor)
            assert torch.equal(out.affine, image.affine)
    assert image.dtype == before.dtype
    assert torch.equal(image.as_subclass(Tensor).nan_to_num(), before.as_subclass(Tensor).nan_to_num())


@pytest.mark.parametrize("name", SUBJECTS)
@FEW
@given(image=images())
def test_a_right_result_or_our_error(name: str, image: Tensor) -> None:
    check(SUBJECTS[name], image)


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
@MANY
@given(image=images())
def test_a_right_result_or_our_error_many_times(name: str, image: Tensor) -> None:
    check(SUBJECTS[name], image)


@st.composite
def slices(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """What a batch is made of: ``(k, H, W)`` float32 of any size and contrast, and labels with IGNORE."""
    shape = (draw(st.sampled_from((1, 3, 5))), draw(st.integers(2, 40)), draw(st.integers(2, 40)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread, middle = draw(st.sampled_from((0.0, 1e-9, 1.0, LARGEST))), draw(st.sampled_from((0.0, -5.0, LARGEST)))
    label = rng.choice(np.array([0, 1, 2, 255], dtype=np.uint8), (1, *shape[1:]))
    return torch.from_numpy(rng.normal(middle, spread, shape).astype(np.float32)), torch.from_numpy(label)


def check_augmented(name: str, image: Tensor, label: Tensor, seed: int) -> None:
    """Same shapes, numbers that are finite, and no label that was not there."""
    before = image.clone(), label.clone()
    out = AUGMENTATIONS[name]().set_random_state(seed)({"image": image, "label": label})
    assert out["image"].shape == image.shape
    assert out["label"].shape == label.shape
    assert torch.isfinite(out["image"]).all()
    assert set(out["label"].unique().tolist()) <= set(label.unique().tolist())
    assert torch.equal(image, before[0])
    assert torch.equal(label, before[1])


@pytest.mark.parametrize("name", AUGMENTATIONS)
@FEW
@given(pair=slices(), seed=st.integers(0, 1000))
def test_slices_are_augmented_to_slices(name: str, pair: tuple[Tensor, Tensor], seed: int) -> None:
    check_augmented(name, *pair, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", AUGMENTATIONS)
@MANY
@given(pair=slices(), seed=st.integers(0, 1000))
def test_slices_are_augmented_to_slices_many_times(name: str, pair: tuple[Tensor, Tensor], seed: int) -> None:
    check_augmented(name, *pair, seed)
