"""Floor 1: from cases to a line of a table: mean, standard deviation, interval of a paired difference."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from prostate_uda.errors import SettingsError, ShapeError


class Summary(NamedTuple):
    """One line of a table.

    Attributes:
        mean: Mean over the cases that have a value; NaN where none has.
        sd: Sample standard deviation (divisor n - 1); NaN below two cases.
        n: Cases with a value.
        n_nan: Cases left out because their value is NaN.
    """

    mean: float
    sd: float
    n: int
    n_nan: int


class Interval(NamedTuple):
    """A mean with its interval.

    Attributes:
        mean: Mean of the paired differences ``a - b``.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    mean: float
    low: float
    high: float


def summarize(values: Sequence[float] | Tensor) -> Summary:
    """Mean and standard deviation over cases, leaving out NaN and saying how many.

    An infinite value (HD95 of an empty prediction) is kept: the mean becomes infinite and the standard
    deviation NaN, because a method that misses a gland must not get a better mean for it.

    Args:
        values: ``(N,)`` one number per case.

    Returns:
        See :class:`Summary`.
    """
    numbers = torch.as_tensor(values, dtype=torch.float64).flatten()
    valid = numbers[~numbers.isnan()]
    mean = valid.mean().item() if len(valid) else math.nan
    sd = valid.std(correction=1).item() if len(valid) > 1 else math.nan
    return Summary(mean=mean, sd=sd, n=len(valid), n_nan=len(numbers) - len(valid))


def paired_bootstrap(
    a: Sequence[float] | Tensor,
    b: Sequence[float] | Tensor,
    *,
    generator: torch.Generator,
    resamples: int = 10000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of the mean paired difference ``a - b`` (Efron 1979).

    Cases are drawn with replacement; both values of a case stay together. Pairs with a NaN are left out. The
    ends are numbers that occurred among the resamples (the outer neighbours of the exact percentile).

    Args:
        a: ``(N,)`` one number per case.
        b: ``(N,)`` the other method's number for the same case.
        generator: Where the randomness comes from (CPU).
        resamples: How many times the cases are drawn.
        level: Coverage in ``(0, 1)``.

    Returns:
        Mean difference and interval; all NaN where no pair is left.

    Raises:
        ShapeError: ``a`` and ``b`` differ in length.
        SettingsError: ``resamples`` below 1 or ``level`` outside ``(0, 1)``.
    """
    if resamples < 1 or not 0 < level < 1:
        raise SettingsError(
            f"resamples {resamples}, level {level}; resamples >= 1 and 0 < level < 1 are allowed; try 10000 and 0.95"
        )
    first, second = (torch.as_tensor(values, dtype=torch.float64).flatten() for values in (a, b))
    if len(first) != len(second):
        raise ShapeError(
            f"{len(first)} and {len(second)} values; as many of each are allowed; give the same cases to both"
        )
    differences = first - second
    differences = differences[~differences.isnan()]
    if len(differences) == 0:
        return Interval(math.nan, math.nan, math.nan)
    draws = torch.randint(len(differences), (resamples, len(differences)), generator=generator)
    means = differences[draws].mean(dim=1)
    low = torch.quantile(means, (1 - level) / 2, interpolation="lower")
    high = torch.quantile(means, (1 + level) / 2, interpolation="higher")
    return Interval(differences.mean().item(), low.item(), high.item())
