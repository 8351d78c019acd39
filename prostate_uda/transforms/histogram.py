"""Floor 2: matching an image's histogram to one of a bank of references.

A reference is the vector of its body's quantiles, standardized to zero mean and unit variance: 256 numbers that JSON
can hold and that show no patient. Evenly spaced quantiles are a sample of the histogram, which
:func:`skimage.exposure.match_histograms` takes as its reference.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Literal, TypeAlias

import numpy as np
from monai.config import KeysCollection
from monai.transforms.transform import MapTransform, Transform
from skimage.exposure import match_histograms
from torch import Tensor

from prostate_uda.errors import DataError, SettingsError
from prostate_uda.transforms.body import Array, Floats, Spacing, body_mask, each_volume, like, volumes

BINS = 256
DIGITS = 6
Select: TypeAlias = Literal["nearest", "mean"]


def quantile_vector(volume: Array, spacing: Spacing, bins: int = BINS) -> Floats:
    """Quantiles of the body at ``(i + ½) / bins``, moved and scaled to zero mean and unit variance, ``(bins,)``.

    Args:
        volume: ``(X, Y, Z)``.
        spacing: Voxel size in mm.
        bins: Length of the vector.

    Raises:
        DataError: The body has one brightness.
    """
    return _standard(_quantiles(volume[body_mask(volume, spacing)], bins))


def _quantiles(voxels: Array, bins: int) -> Floats:
    return np.asarray(np.quantile(voxels, (np.arange(bins) + 0.5) / bins), dtype=np.float64)


def _standard(quantiles: Floats) -> Floats:
    deviation = float(quantiles.std())
    if not deviation > 0:
        raise DataError(f"an image with one brightness in its body, {quantiles[0]:g}; there is nothing to match")
    return np.asarray((quantiles - quantiles.mean()) / deviation, dtype=np.float64)


def learn_references(images: Iterable[Tensor], bins: int = BINS) -> list[list[float]]:
    """The bank of images: their quantile vectors, rounded and sorted, so that their order does not matter.

    Args:
        images: ``(C, X, Y, Z)`` each; every channel is a reference.
        bins: Length of the vectors.

    Raises:
        DataError: No image, or one whose body has one brightness.
    """
    every = chain.from_iterable(map(volumes, images))
    vectors = [quantile_vector(volume, spacing, bins).tolist() for volume, spacing in every]
    bank = [[round(value, DIGITS) for value in vector] for vector in vectors]
    if not bank:
        raise DataError("no image to make references of; give one at least")
    return sorted(bank)


class MatchReferenceHistogram(Transform):  # type: ignore[misc]  # MONAI ships no types
    """Gives the body of an image the histogram of a reference, and so zero mean and unit variance.

    Air is outside the match: it goes through the same increasing curve, continued at both ends by the straight line
    that matches spread to spread, and so stays dark.

    Args:
        references: Quantile vectors of one length, non-decreasing; from :func:`learn_references`.
        select: ``"nearest"`` matches each volume to the reference that is nearest in the 2-Wasserstein distance of
            standardized histograms, which bends its contrast least (the first of equals); ``"mean"`` to the average
            of the vectors, the barycentre of the bank in that distance, in which no single man is seen.

    Raises:
        SettingsError: No reference, vectors of unequal length or that decrease, or an unknown ``select``.
    """

    def __init__(self, references: Sequence[Sequence[float]], select: Select = "nearest") -> None:
        if select not in ("nearest", "mean"):
            raise SettingsError(f"selection of a reference is {select!r}; choose nearest or mean")
        lengths = sorted({len(reference) for reference in references})
        if len(lengths) != 1 or lengths[0] < 2:
            raise SettingsError(f"references of lengths {lengths}; give one at least, all of one length, 2 or more")
        bank = np.asarray(references, dtype=np.float64)
        if not np.isfinite(bank).all() or (np.diff(bank) < 0).any() or (bank[:, 0] == bank[:, -1]).any():
            raise SettingsError("a reference that is not finite, decreases or is constant; make them of body quantiles")
        self.select: Select = select
        self.bank = bank if select == "nearest" else bank.mean(axis=0, keepdims=True)

    def __call__(self, image: Tensor) -> Tensor:
        """The matched image, float32, each volume of ``(C, X, Y, Z)`` or a batch by itself.

        Raises:
            DataError: The body of a volume has one brightness.
        """
        return like(each_volume(image, self._matched), image)

    def choose(self, own: Floats) -> Floats:
        """The reference for a standardized quantile vector."""
        distances = np.square(self.bank - own).mean(axis=1)
        return np.asarray(self.bank[int(distances.argmin())], dtype=np.float64)

    def _matched(self, volume: Array, spacing: Spacing) -> Array:
        body = body_mask(volume, spacing)
        quantiles = _quantiles(volume[body], self.bank.shape[1])
        reference = self.choose(_standard(quantiles))
        matched = match_histograms(volume[body].astype(np.float64), reference)
        out = np.empty(volume.shape, dtype=np.float64)
        out[body] = matched
        gain = float(reference.std() / quantiles.std())
        out[~body] = _continued(volume[~body], volume[body], matched, gain)
        return out.astype(np.float32)


def _continued(air: Array, tissue: Array, matched: Floats, gain: float) -> Floats:
    """The curve from tissue to its match at the values of air, with slope ``gain`` beyond its ends."""
    knots, first = np.unique(tissue, return_index=True)
    values = matched[first]
    inside = np.interp(air, knots, values)
    return np.asarray(inside + gain * (air - np.clip(air, knots[0], knots[-1])), dtype=np.float64)


class MatchReferenceHistogramd(MapTransform):  # type: ignore[misc]  # MONAI ships no types
    """Dictionary version of :class:`MatchReferenceHistogram`; it has no inverse and leaves no trace.

    Args:
        keys: Of the images.
        references: As in the array version, like ``select``.
        select: Which reference.
        allow_missing_keys: Pass over entries without a key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        references: Sequence[Sequence[float]],
        select: Select = "nearest",
        *,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.match = MatchReferenceHistogram(references, select)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same entry with matched images."""
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.match(out[key])
        return out
