"""Floor 1: noise injected into labels, to see what a method makes of labels that are wrong in a known way.

Sources: symmetric and class-dependent (asymmetric) noise as in Patrini et al., Making Deep Neural Networks Robust to
Label Noise, CVPR 2017; boundary noise by growing and shrinking as in Zhu et al., Pick-and-Learn, MICCAI 2019.
"""

from collections.abc import Callable
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from prostate_uda.errors import SettingsError
from prostate_uda.maths.losses import IGNORE

Labels = NDArray[np.uint8]
CLASSES, HIGHEST = 3, 0.9
BACKGROUND, PZ, TZ = range(CLASSES)
NONE = "none"


def symmetric(labels: Labels, rate: float, generator: np.random.Generator) -> Labels:
    """Each labelled voxel becomes, with probability ``rate``, one of the other classes, each as likely.

    Its NTM is ``1 - rate`` on the diagonal and ``rate / (C - 1)`` beside it.

    Args:
        labels: Of any shape: 0 background, 1 PZ, 2 TZ, IGNORE; IGNORE stays.
        rate: In [0, 1].
        generator: What is drawn from; a voxel's draws do not depend on its label.
    """
    changed = (generator.random(labels.shape) < rate) & (labels != IGNORE)
    other = generator.integers(1, CLASSES, labels.shape, dtype=np.uint8)
    return np.where(changed, (labels + other) % CLASSES, labels).astype(np.uint8)


def asymmetric(labels: Labels, rate: float, generator: np.random.Generator) -> Labels:
    """PZ becomes background, and TZ becomes PZ, with probability ``rate``: what a lost gland looks like.

    Its NTM has ``1 - rate`` on the diagonal of the zones' rows and ``rate`` left of it; background stays.

    Args:
        labels: As in :func:`symmetric`.
        rate: In [0, 1].
        generator: What is drawn from.
    """
    changed = (generator.random(labels.shape) < rate) & ((labels == PZ) | (labels == TZ))
    return np.where(changed, labels - 1, labels).astype(np.uint8)


def boundary(labels: Labels, rate: float, generator: np.random.Generator) -> Labels:
    """The gland is drawn too large or too small, slice by slice, so that about ``rate`` of its voxels change.

    In each slice with A voxels of gland (PZ or TZ) a fair coin says whether it grows or shrinks, and a share is drawn
    uniformly from ``rate ± min(rate, 1 - rate) / 2``, whose mean is ``rate``. That share of A, rounded, is how many
    voxels change: shrinking, the gland's nearest to the background become background; growing, the background's
    nearest to the gland become the zone of their nearest gland voxel. Distances are Euclidean, in voxels of the slice;
    equally near ones are taken in random order. So the changed voxels are ``rate`` of the gland in the mean, but for
    rounding; a slice with too little background to grow into changes less, and one without gland or background stays.

    Args:
        labels: ``(X, Y, Z)``, slices along the last axis; values as in :func:`symmetric`. IGNORE stays, and is neither
            gland nor background.
        rate: In [0, 1].
        generator: What is drawn from.
    """
    changed = labels.copy()
    for index in range(labels.shape[-1]):
        grows, share = generator.random() < 0.5, rate + min(rate, 1 - rate) * (generator.random() - 0.5)
        order = generator.random(labels.shape[:-1])
        before = labels[..., index]
        gland, background = (before == PZ) | (before == TZ), before == BACKGROUND
        if gland.any() and background.any():
            count = round(share * int(gland.sum()))
            changed[..., index] = (_grown if grows else _shrunk)(before, gland, background, count, order)
    return changed


def _grown(
    before: Labels, gland: NDArray[np.bool_], background: NDArray[np.bool_], count: int, order: NDArray[np.float64]
) -> Labels:
    distance, (rows, columns) = distance_transform_edt(~gland, return_indices=True)
    return np.where(_nearest(distance, background, count, order), before[rows, columns], before)


def _shrunk(
    before: Labels, gland: NDArray[np.bool_], background: NDArray[np.bool_], count: int, order: NDArray[np.float64]
) -> Labels:
    nearest = _nearest(distance_transform_edt(~background), gland, count, order)
    return np.where(nearest, np.uint8(BACKGROUND), before)


def _nearest(
    distance: NDArray[np.float64], among: NDArray[np.bool_], count: int, order: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """The ``count`` pixels of least distance among some; ``order`` parts equals."""
    chosen = np.zeros(among.shape, dtype=bool)
    pixels = np.flatnonzero(among)
    chosen.flat[pixels[np.lexsort((order.flat[pixels], distance.flat[pixels]))][:count]] = True
    return chosen


KINDS: dict[str, Callable[[Labels, float, np.random.Generator], Labels]] = {
    "symmetric": symmetric,
    "asymmetric": asymmetric,
    "boundary": boundary,
}


@dataclass(frozen=True)
class LabelNoise:
    """Noise of a run: the same case of the same round gets the same noise, whenever and by whom it is made.

    Attributes:
        kind: Name in :data:`KINDS`.
        rate: Share of voxels that change, as the kind has it.
        seed: Of the run.
    """

    kind: str
    rate: float
    seed: int

    def applied(self, labels: Labels, case: str, number: int) -> Labels:
        """A case's labels of a round with the noise.

        Args:
            labels: ``(X, Y, Z)``.
            case: Its id.
            number: Of the round.
        """
        return KINDS[self.kind](labels, self.rate, np.random.default_rng([self.seed, crc32(case.encode()), number]))


def read_label_noise(text: str, seed: int) -> LabelNoise | None:
    """``"symmetric:0.2"`` as noise, ``"none"`` as none.

    Raises:
        SettingsError: another kind, or a rate outside (0, 0.9].
    """
    if text == NONE:
        return None
    kind, _, rate = text.partition(":")
    try:
        noise = LabelNoise(kind, float(rate), seed)
    except ValueError:
        noise = LabelNoise("", 0, seed)
    if noise.kind not in KINDS or not 0 < noise.rate <= HIGHEST:
        raise SettingsError(
            f"label_noise {text!r}; allowed are {NONE} or KIND:RATE, KIND one of {', '.join(KINDS)} and 0 < RATE ≤ "
            f"{HIGHEST}, such as symmetric:0.2"
        )
    return noise
