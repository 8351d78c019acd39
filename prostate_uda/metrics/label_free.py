"""Floor 1: how good a segmentation may be where there is no truth: what is asked is the network itself, and the source.

Each is higher where the network is thought to be better. How well they order networks is a matter of measurement:
``prostate-uda rank`` compares their order with that of the Dice.
"""

import torch
from scipy.stats import rankdata
from torch import Tensor

from prostate_uda.metrics.overlap import zone_dice
from prostate_uda.metrics.summary import summarize

ZONES = ("PZ", "TZ", "WP")


def consistency(one: Tensor, other: Tensor) -> float:
    """Mean Dice of PZ, TZ and WP between two predictions for one scan, in [0, 1].

    The second is made of the scan as another scanner would have seen it; a gland found in neither tells nothing: NaN.

    Args:
        one: ``(D, H, W)`` integer labels, 1 = PZ, 2 = TZ.
        other: Likewise.
    """
    scores = zone_dice(one, other)
    return summarize([scores[zone] for zone in ZONES]).mean


def certainty(entropy: Tensor, labels: Tensor) -> float:
    """One minus the mean normalized entropy of the voxels that are called gland; NaN where none is.

    Args:
        entropy: ``(D, H, W)`` in [0, 1].
        labels: ``(D, H, W)`` integer labels, 0 = background.
    """
    return 1 - float(entropy[labels > 0].double().mean())


def plausibility(found: Tensor, expected: Tensor) -> float:
    """``-Σ_c |log(V_c / V̂_c)|``: how far the zones' mean volumes are from what the source's men have; 0 at best.

    Args:
        found: ``(C,)`` mean volumes, such as mL, of the zones that are predicted; one that is nowhere gives -∞.
        expected: ``(C,)`` positive, of the source's labels, in the same unit.
    """
    return -float((found.double().log() - expected.double().log()).abs().sum())


def mean_rank(columns: Tensor) -> Tensor:
    """``(N,)`` mean rank of N networks over the criteria, each ranked from 0 (worst); ties share theirs.

    A network that a criterion has no number for is its worst.

    Args:
        columns: ``(K, N)``, higher is better.
    """
    known = torch.where(columns.isnan(), torch.full_like(columns, -torch.inf), columns)
    return torch.from_numpy(rankdata(known.numpy(), axis=1) - 1).mean(dim=0)
