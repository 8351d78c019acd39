"""Floor 1: the interval of a difference of two mIoU: images are drawn, and the IoU is that of all pixels of a draw."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.metrics.summary import Interval

AT_ONCE = 2**22
"""Numbers of draws that are held at once."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What one seed's two networks found in the same images.

    Attributes:
        images: N names; images of one name, of other seeds too, are drawn together.
        ours: ``(N, 2, C)`` counts of pixels, each image's intersections and unions.
        theirs: ``(N, 2, C)``, the other network's.

    Raises:
        ShapeError: other shapes.
    """

    images: tuple[str, ...]
    ours: Tensor
    theirs: Tensor

    def __post_init__(self) -> None:
        if self.ours.ndim != 3 or self.ours.shape[:2] != (len(self.images), 2) or self.ours.shape != self.theirs.shape:
            raise ShapeError(
                f"counts of shape {tuple(self.ours.shape)} and {tuple(self.theirs.shape)} for {len(self.images)} "
                "images; (N, 2, C) of both are allowed; give the same images to both"
            )


def paired_iou_bootstrap(
    seeds: Sequence[Judged], *, generator: torch.Generator, resamples: int = 10000, level: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of the difference of mIoU, ours - theirs, mean over seeds (Efron 1979).

    Images are drawn with replacement, as many as there are, and both networks are judged by the same draw. Images that
    the same seeds judged are drawn among themselves, so every seed keeps its number of them. A class without a pixel in
    a draw has no IoU there and no part in that network's mean. The ends are numbers that occurred among the draws.

    Args:
        seeds: A seed each; one without an image is left out.
        generator: Where the randomness comes from (CPU).
        resamples: How many times the images are drawn.
        level: Coverage in ``(0, 1)``.

    Returns:
        Difference of the images as they are, and interval, as fractions; all NaN where no image is left.

    Raises:
        SettingsError: ``resamples`` below 1 or ``level`` outside ``(0, 1)``.
    """
    if resamples < 1 or not 0 < level < 1:
        raise SettingsError(
            f"resamples {resamples}, level {level}; resamples >= 1 and 0 < level < 1 are allowed; try 10000 and 0.95"
        )
    judged = [seed for seed in seeds if seed.images]
    if not judged:
        return Interval(math.nan, math.nan, math.nan)
    places = {name: place for place, name in enumerate(dict.fromkeys(name for seed in judged for name in seed.images))}
    groups, counts = _groups(judged, places), _counts(judged, places)
    once, found = torch.ones(1, len(places), dtype=torch.float64), []
    for start in range(0, resamples, step := max(1, AT_ONCE // len(places))):
        found.append(_ahead(counts, _draw(groups, min(step, resamples - start), len(places), generator)))
    ends = (((1 - level) / 2, "lower"), ((1 + level) / 2, "higher"))
    low, high = (torch.nanquantile(torch.cat(found), at, interpolation=side).item() for at, side in ends)
    return Interval(_ahead(counts, once).item(), low, high)


def _groups(judged: Sequence[Judged], places: dict[str, int]) -> list[Tensor]:
    """Places of images, parted by which seeds judged them."""
    seen: dict[str, list[int]] = {name: [] for name in places}
    for number, seed in enumerate(judged):
        for name in dict.fromkeys(seed.images):
            seen[name].append(number)
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for name, numbers in seen.items():
        groups[tuple(numbers)].append(places[name])
    return [torch.tensor(group) for group in groups.values()]


def _draw(groups: Sequence[Tensor], resamples: int, images: int, generator: torch.Generator) -> Tensor:
    """``(resamples, images)`` float64, how often each image was drawn."""
    drawn = torch.zeros(resamples, images, dtype=torch.float64)
    for group in groups:
        places = torch.randint(len(group), (resamples, len(group)), generator=generator)
        drawn.scatter_add_(1, group[places], torch.ones(places.shape, dtype=torch.float64))
    return drawn


def _counts(judged: Sequence[Judged], places: dict[str, int]) -> Tensor:
    """``(images, seeds, 2, 2, C)`` float64: ours and theirs, intersections and unions; 0 where a seed has no image."""
    shape = len(places), len(judged), 2, *judged[0].ours.shape[1:]
    counts = torch.zeros(shape, dtype=torch.float64)
    for number, seed in enumerate(judged):
        both = torch.stack([seed.ours, seed.theirs], dim=1).double()
        counts[:, number].index_add_(0, torch.tensor([places[name] for name in seed.images]), both)
    return counts


def _ahead(counts: Tensor, drawn: Tensor) -> Tensor:
    """``(resamples,)``, the difference of mIoU in each draw, mean over seeds."""
    both, either = (drawn @ counts.flatten(1)).view(-1, *counts.shape[1:]).unbind(dim=3)
    miou = torch.where(either > 0, both / either.clamp_min(1), torch.nan).nanmean(dim=-1)
    ours, theirs = miou.unbind(dim=2)
    return (ours - theirs).nanmean(dim=1)
