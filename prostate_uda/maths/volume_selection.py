"""Floor 1: pseudo-labels that bring the target towards the source's volumes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from prostate_uda.maths.selection import BINS, Selection, balanced_labels, bin_edges


def count_probabilities(probs: Tensor) -> Tensor:
    """How many pixels have which probability of each class; counts of several images can be added.

    Args:
        probs: ``(C, ...)``; a pixel without any probability, outside what the network has seen, is not counted.

    Returns:
        ``(C, BINS)`` int64; every row counts the same pixels.
    """
    flat = probs.float().flatten(1)
    seen = flat[:, flat.amax(dim=0) > 0].contiguous()
    place = (torch.bucketize(seen, bin_edges(), right=True) - 1).clamp_min(0)
    return torch.stack([row.bincount(minlength=BINS) for row in place])


def amount_thresholds(counts: Tensor, amounts: Tensor) -> Tensor:
    """Thresholds k that the most probable pixels of each class reach, as many as the class is known to have.

    Args:
        counts: ``(C, BINS)`` from :func:`count_probabilities`, each image's in any unit of volume, summed.
        amounts: ``(C,)`` of each class in all images, in that unit.

    Returns:
        ``(C,)`` float32; what shares the last pixel's bin (:data:`BINS`) is in. 1 for a class of which there is none.
    """
    most = counts.to(torch.float64).flip(1).cumsum(dim=1)
    too_few = most < amounts.to(most).minimum(most[:, -1])[:, None]
    return bin_edges()[BINS - 1 - too_few.sum(dim=1)]


@dataclass(frozen=True, kw_only=True)
class VolumeSelection(Selection):
    """CBST's rule, :func:`balanced_labels`, with thresholds that bring the target towards the source's volumes.

    Of each zone the most probable voxels are taken, so many mL over all cases, and of background the rest: between what
    the teacher finds itself and what the source's men have. Of pictures each class has its share, and none the rest.
    Where the teacher loses a class its threshold is low, where it draws it too large it is high, and where it is right
    about ½. What reaches no threshold lies between the classes and is ignored. It asks that both domains be alike on
    the average, and that scans hold the whole gland.

    Source: the idea is distribution alignment (Berthelot et al., ReMixMatch, ICLR 2020, section 3.2.1), here in ranks
    instead of in probabilities, which are all but 0 and 1, and in mL, since fields of view differ.

    Attributes:
        trust: In the source's volumes, 0 to 1; the rest in the teacher's own. Few men's mean is uncertain.
    """

    threshold: float = 1.0
    trust: float = 0.5

    @property
    def counts(self) -> bool:
        """Always."""
        return True

    def count(self, probs: Tensor, unit: float) -> Tensor:
        """``(C, BINS)`` float64 in that unit, by the probability of each class."""
        return count_probabilities(probs) * float(unit)

    def found(self, counts: Tensor) -> Tensor:
        """``(C,)`` of what is more likely this class than not."""
        return counts[:, bin_edges() >= 0.5].sum(dim=1)

    def thresholds(self, counts: Tensor, amounts: Tensor) -> Tensor:
        """``(C,)`` float32, as :meth:`Selection.thresholds`."""
        wanted = torch.lerp(self.found(counts).double(), amounts.double(), self.trust)
        named = ~amounts.isnan()
        rest = (counts[0].sum() - wanted[named].sum()).clamp_min(0)
        return amount_thresholds(counts, torch.where(named, wanted, rest))

    def labels(self, probs: Tensor, thresholds: Tensor) -> Tensor:
        """``(...)`` uint8, as :meth:`Selection.labels`."""
        return balanced_labels(probs, thresholds)
