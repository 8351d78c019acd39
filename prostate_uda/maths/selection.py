"""Floor 1: which pixels take part, as pseudo-label or as meta data."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from prostate_uda.maths.losses import IGNORE, safe_log

BINS = 10_000
"""Bins of confidence, equal in log-odds: trained networks' confidences crowd just below 1, where equal steps of p
would put most of the background into one bin. A bin spans 0.0024 of log p / (1 - p): up to 0.0006 of p, and a quarter
per cent of 1 - p near 1."""
LOG_ODDS = (-6.0, 18.0)
"""Of the first and the last bin's lower edge: confidence 0.0025, and 1 in float32."""


def confident_labels(probs: Tensor, threshold: float | Tensor) -> Tensor:
    """Hard pseudo-labels ``argmax p``, IGNORE where ``max p`` is below the threshold.

    Source: threshold self-training, "Threshold" row of table 4 in Guo et al. 2021. ``threshold = 0`` keeps all.

    Args:
        probs: ``(C, ...)`` probabilities over the first axis.
        threshold: in [0, 1]; one for all, or ``(C,)`` one for each class.

    Returns:
        uint8 labels of shape ``(...)``.
    """
    confidence, label = probs.max(dim=0)
    least = threshold[label] if isinstance(threshold, Tensor) else threshold
    return torch.where(confidence >= least, label, torch.full_like(label, IGNORE)).to(torch.uint8)


def balanced_labels(probs: Tensor, thresholds: Tensor) -> Tensor:
    """Class-balanced pseudo-labels ``argmax_c p_c / k_c``, IGNORE where the largest ratio is below 1.

    A pixel that reaches the threshold of ``argmax p`` is kept, but another class of lower threshold may get it.

    Source: Zou et al., Unsupervised Domain Adaptation for Semantic Segmentation via Class-Balanced Self-Training,
    ECCV 2018, equation 6.

    Args:
        probs: ``(C, ...)``.
        thresholds: ``(C,)`` k, positive.

    Returns:
        uint8 labels of shape ``(...)``.
    """
    return confident_labels(probs / _per_class(thresholds, probs.ndim, 0), 1.0)


def regularized_labels(probs: Tensor, thresholds: Tensor, smoothness: float) -> Tensor:
    """The hard side of CRST's label-regularised pseudo-labels: ``argmax_c p_c / k_c`` where a soft label pays.

    With the soft label y of :func:`soft_labels`, a pixel is kept where ``Σ y_c (-log p_c + a log y_c) < -Σ y_c log
    k_c``. Put y in, and both sides collapse to ``Σ_c (p_c / k_c)^(1/a) > 1``: what :func:`balanced_labels` keeps, and
    pixels between classes. Equality counts: in float32 it is a pixel so sure that the other classes' terms are lost.

    Source: Zou et al., Confidence Regularized Self-Training, ICCV 2019, the LRENT row of table 1.

    Args:
        probs: ``(C, ...)``.
        thresholds: ``(C,)`` k, positive.
        smoothness: a > 0.

    Returns:
        uint8 labels of shape ``(...)``.
    """
    ratios = log_ratios(probs, thresholds, dim=0)
    label = ratios.argmax(dim=0)
    kept = (ratios / smoothness).logsumexp(dim=0) >= 0
    return torch.where(kept, label, torch.full_like(label, IGNORE)).to(torch.uint8)


def soft_labels(probs: Tensor, thresholds: Tensor, smoothness: float) -> Tensor:
    """LRENT's soft pseudo-labels, ``y_c`` proportional to ``(p_c / k_c)^(1/a)``: see :func:`regularized_labels`.

    Args:
        probs: ``(B, C, H, W)`` of the frozen teacher.
        thresholds: ``(C,)`` k, positive.
        smoothness: a > 0; towards 0 the label becomes hard.

    Returns:
        ``(B, C, H, W)``, float32 at least, summing to 1 over the classes.
    """
    return (log_ratios(probs, thresholds, dim=1) / smoothness).softmax(dim=1)


def log_ratios(probs: Tensor, thresholds: Tensor, dim: int) -> Tensor:
    """``log p_c - log k_c`` with the classes along ``dim``, finite also where p is zero."""
    return safe_log(probs) - safe_log(_per_class(thresholds, probs.ndim, dim))


def _per_class(thresholds: Tensor, axes: int, dim: int) -> Tensor:
    return thresholds.view([-1 if axis == dim else 1 for axis in range(axes)])


def bin_edges() -> Tensor:
    """``(BINS,)`` lower edges of the bins, ascending, float32; the last is 1."""
    return torch.linspace(*LOG_ODDS, BINS, dtype=torch.float64).sigmoid().float()


def count_confidences(probs: Tensor) -> Tensor:
    """How many pixels are predicted as each class, by confidence ``max p``; counts of several images can be added.

    Args:
        probs: ``(C, ...)``; a pixel without any probability, outside what the network has seen, is not counted.

    Returns:
        ``(C, BINS)`` int64.
    """
    confidence, label = probs.float().max(dim=0)
    seen = confidence > 0
    place = (torch.bucketize(confidence[seen], bin_edges(), right=True) - 1).clamp_min(0)
    return torch.bincount(label[seen] * BINS + place, minlength=len(probs) * BINS).view(len(probs), BINS)


def portion_thresholds(counts: Tensor, portion: float) -> Tensor:
    """CBST's k: of the pixels predicted as a class, the most confident ``portion`` reaches its threshold.

    That is ⌈portion · n⌉ of n pixels, so one at least, and what shares the last one's bin (:data:`BINS`). They are n by
    ``argmax p``; how many get the class as their label, the rule decides (:func:`balanced_labels`).

    Args:
        counts: ``(C, BINS)`` from :func:`count_confidences`, summed over the whole target.
        portion: in (0, 1].

    Returns:
        ``(C,)`` float32; 1 for a class that is predicted nowhere, so that no pixel gets it.
    """
    wanted = (portion * counts.sum(dim=1, dtype=torch.float64)).ceil()
    too_few = counts.flip(1).cumsum(dim=1) < wanted[:, None]  # for none wanted, no bin: the last edge, 1
    return bin_edges()[BINS - 1 - too_few.sum(dim=1)]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Pseudo-labels ``argmax p``, kept where p reaches the threshold of its class; by default everywhere.

    Attributes:
        threshold: in [0, 1], the threshold of every class, or the largest one where there is a portion.
        portion: in (0, 1]; lowers each class's threshold to what this share of the pixels predicted as it reaches,
            over the whole target. A half with threshold 0.9 is the ``min(median, 0.9)`` of LTIR (Kim and Byun, CVPR
            2020) and BDL. ``None`` looks at no distribution.
    """

    threshold: float = 0.0
    portion: float | None = None

    @property
    def counts(self) -> bool:
        """Whether the thresholds depend on the whole target's :meth:`count`."""
        return self.portion is not None

    def count(self, probs: Tensor, unit: float) -> Tensor:  # noqa: ARG002  for rules that count amounts
        """``(C, BINS)`` of one image's ``(C, ...)`` probabilities, each pixel amounting to that, to be added up."""
        return count_confidences(probs)

    def found(self, counts: Tensor) -> Tensor:
        """``(C,)`` how much of each class the teacher predicts, by its counts."""
        return counts.sum(dim=1)

    def thresholds(self, counts: Tensor, amounts: Tensor) -> Tensor:  # noqa: ARG002  as above
        """``(C,)`` float32.

        Args:
            counts: ``(C, BINS)``, :meth:`count` summed over the target; zeros will do where :attr:`counts` is not.
            amounts: ``(C,)`` how much of each class (mL, or shares of pictures) the target has if it is as the source
                is; NaN for a class that has the rest.
        """
        if self.portion is None:
            return torch.full((len(counts),), self.threshold)
        return portion_thresholds(counts, self.portion).clamp_max(self.threshold)

    def labels(self, probs: Tensor, thresholds: Tensor) -> Tensor:
        """``(...)`` uint8 labels of ``(C, ...)`` probabilities, IGNORE where the rule drops them."""
        return confident_labels(probs, thresholds)


@dataclass(frozen=True, kw_only=True)
class BalancedSelection(Selection):
    """CBST's rule, :func:`balanced_labels`, with :func:`portion_thresholds`."""

    threshold: float = 1.0

    def labels(self, probs: Tensor, thresholds: Tensor) -> Tensor:
        """``(...)`` uint8, as :meth:`Selection.labels`."""
        return balanced_labels(probs, thresholds)


@dataclass(frozen=True, kw_only=True)
class RegularizedSelection(Selection):
    """LRENT's rule, :func:`regularized_labels`, with :func:`portion_thresholds`.

    Attributes:
        smoothness: a > 0.
    """

    threshold: float = 1.0
    smoothness: float

    def labels(self, probs: Tensor, thresholds: Tensor) -> Tensor:
        """``(...)`` uint8, as :meth:`Selection.labels`."""
        return regularized_labels(probs, thresholds, self.smoothness)


def target_like(probability: Tensor, label: Tensor, threshold: float, minimum_share: float) -> Tensor:
    """The meta labels: source labels on the pixels that look as if they came from the target.

    A pixel is kept where the domain predictor gives it ``p(target) ≥ threshold`` (Guo et al. 2021, "domain-invariant
    source pixels"). A good predictor may find none; then the ``minimum_share`` most target-like labelled pixels are
    taken, so that the mean over the meta set is never a mean over nothing.

    Args:
        probability: ``(B, H, W)`` p(target), at full label resolution.
        label: ``(B, H, W)`` int64 source labels; IGNORE stays IGNORE.
        threshold: τ in [0, 1].
        minimum_share: in [0, 1]; share of the batch's labelled pixels that is always kept.

    Returns:
        ``(B, H, W)`` int64.
    """
    known = label != IGNORE
    keep = known & (probability >= threshold)
    wanted = math.ceil(minimum_share * int(known.sum()))  # rounded up: a small share of few pixels is still one
    if int(keep.sum()) < wanted:
        ranked = torch.where(known, probability, torch.full_like(probability, -torch.inf)).flatten()
        chosen = torch.zeros_like(ranked, dtype=torch.bool)
        chosen[ranked.topk(wanted).indices] = True
        keep = chosen.view_as(keep)
    return torch.where(keep, label, torch.full_like(label, IGNORE))
