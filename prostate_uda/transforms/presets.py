"""Floor 2: the normalizations that ``--normalize`` names, MONAI dictionary transforms on the key ``image``.

A name is its parts in their order, joined with ``+``. Whatever a preset does before, it ends with a body of about
zero mean and unit variance (``none`` and ``minmax`` aside), so that a network trains equally well on all of them. No
preset leaves a trace in ``applied_operations``: the inverse of a prediction is spatial only.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from monai.data import MetaTensor
from monai.transforms import Compose, ThresholdIntensityd
from monai.transforms.transform import Transform

from prostate_uda.transforms.coil import CorrectCoilProfiled
from prostate_uda.transforms.histogram import MatchReferenceHistogramd, learn_references
from prostate_uda.transforms.n4 import N4BiasFieldCorrection, N4BiasFieldCorrectiond
from prostate_uda.transforms.normalization import KEY, minmax, no_normalization, zscore
from prostate_uda.transforms.nyul import Landmarks, NyulNormalized, learn_landmarks

LIMIT = 5.0
"""Standard deviations that landmark-standardized intensities are clipped to: a hot spot is extrapolated far."""


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """A preset: a transform that may have to be taught by the source's training images first.

    Attributes:
        title: One line for people.
        build: A module-level function, so that a bundle can name it; its keyword arguments are what ``learn`` returned.
            Makes a MONAI dictionary transform of the key ``image``, ``(1, X, Y, Z)`` in LPS, that leaves no trace in
            ``applied_operations``: the inverse of a prediction is spatial only.
        learn: From the training volumes, ``(1, X, Y, Z)`` MetaTensors in LPS as read, to keyword arguments of
            ``build`` that JSON can hold; their order does not matter. ``None`` where there is nothing to learn.
        slow: Takes so long (N4) that its results are worth keeping on disk.
    """

    title: str
    build: Callable[..., Transform]
    learn: Callable[[Iterable[MetaTensor]], dict[str, Any]] | None = None
    slow: bool = False


def n4() -> Transform:
    """N4, then z-score."""
    return Compose([N4BiasFieldCorrectiond(KEY), zscore()])


def coil() -> Transform:
    """Endorectal near field divided out, then z-score."""
    return Compose([CorrectCoilProfiled(KEY), zscore()])


def coil_n4() -> Transform:
    """Endorectal near field divided out, N4 for what is left, then z-score."""
    return Compose([CorrectCoilProfiled(KEY), N4BiasFieldCorrectiond(KEY), zscore()])


def nyul(percentiles: Sequence[float], values: Sequence[float]) -> Transform:
    """Landmarks onto the standard scale that :func:`learn_nyul` found, clipped at ``LIMIT``.

    Args:
        percentiles: Of the body.
        values: Where they go.
    """
    landmarks = Landmarks(tuple(percentiles), tuple(values))
    above = ThresholdIntensityd(KEY, threshold=LIMIT, above=False, cval=LIMIT)
    below = ThresholdIntensityd(KEY, threshold=-LIMIT, above=True, cval=-LIMIT)
    return Compose([NyulNormalized(KEY, landmarks), above, below])


def learn_nyul(images: Iterable[MetaTensor]) -> dict[str, Any]:
    """Keyword arguments of :func:`nyul`: landmarks on a scale of zero mean and unit variance."""
    landmarks = learn_landmarks(images).unit()
    return {"percentiles": list(landmarks.percentiles), "values": list(landmarks.values)}


def n4_nyul(percentiles: Sequence[float], values: Sequence[float]) -> Transform:
    """N4, then :func:`nyul`.

    Args:
        percentiles: Of the body.
        values: Where they go.
    """
    return Compose([N4BiasFieldCorrectiond(KEY), nyul(percentiles, values)])


def learn_n4_nyul(images: Iterable[MetaTensor]) -> dict[str, Any]:
    """Keyword arguments of :func:`n4_nyul`."""
    return learn_nyul(map(N4BiasFieldCorrection(), images))


def histogram_match(references: Sequence[Sequence[float]]) -> Transform:
    """The histogram of the nearest reference.

    Args:
        references: Quantile vectors.
    """
    return Compose([MatchReferenceHistogramd(KEY, references)])


def learn_histogram_match(images: Iterable[MetaTensor]) -> dict[str, Any]:
    """Keyword arguments of :func:`histogram_match`."""
    return {"references": learn_references(images)}


def n4_histogram_match(references: Sequence[Sequence[float]]) -> Transform:
    """N4, then :func:`histogram_match`.

    Args:
        references: Quantile vectors.
    """
    return Compose([N4BiasFieldCorrectiond(KEY), histogram_match(references)])


def learn_n4_histogram_match(images: Iterable[MetaTensor]) -> dict[str, Any]:
    """Keyword arguments of :func:`n4_histogram_match`."""
    return learn_histogram_match(map(N4BiasFieldCorrection(), images))


NORMALIZATIONS: dict[str, Normalization] = {
    "none": Normalization(title="intensities as they are", build=no_normalization),
    "zscore": Normalization(title="clip to percentiles, zero mean and unit variance in the body", build=zscore),
    "minmax": Normalization(title="percentiles to 0 and 1, clipped beyond", build=minmax),
    "n4": Normalization(title="N4 bias field correction, then zscore", build=n4, slow=True),
    "coil": Normalization(title="near field of an endorectal coil divided out, then zscore", build=coil),
    "coil+n4": Normalization(title="near field divided out, then N4, then zscore", build=coil_n4, slow=True),
    "nyul": Normalization(title="Nyúl landmarks of the source", build=nyul, learn=learn_nyul),
    "n4+nyul": Normalization(
        title="N4, then Nyúl landmarks of the source", build=n4_nyul, learn=learn_n4_nyul, slow=True
    ),
    "histogram-match": Normalization(
        title="histogram of the nearest source image", build=histogram_match, learn=learn_histogram_match
    ),
    "n4+histogram-match": Normalization(
        title="N4, then the histogram of the nearest source image",
        build=n4_histogram_match,
        learn=learn_n4_histogram_match,
        slow=True,
    ),
}
"""The presets by name."""
