"""Floor 1: labels that do not hang on where a thing is: overlapping windows vote. And: which classes an image has.

Source: Iqbal and Ali, MLSL, WACV 2020: "spatially independent and semantically consistent" (SISC) pseudo-labels, and
"pseudo weak labels" (PWL), one bit per class and image.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.maths.losses import IGNORE, widened
from prostate_uda.maths.selection import BalancedSelection

STEP = 8
"""Sides of windows are multiples of this, the output stride of the networks."""
TIE = 1e-3
"""Share of a window's hard vote that goes by its probabilities: it breaks ties, and ranks pixels that are unanimous."""


class Window(NamedTuple):
    """A part of an image: rows ``top`` to ``bottom``, columns ``left`` to ``right``, ends excluded."""

    top: int
    bottom: int
    left: int
    right: int


def windows(height: int, width: int, scales: Sequence[float], overlap: float, least: int) -> Iterator[Window]:
    """The whole image, then for every scale the squares that cover it, none of them twice.

    Args:
        height: H.
        width: W.
        scales: Sides of the squares as shares of the shorter side.
        overlap: Share of a side that neighbours have in common at least, under 1.
        least: No square is smaller, unless the image is.
    """
    seen = {Window(0, height, 0, width)}
    yield from seen
    shorter = min(height, width)
    for scale in scales:
        side = min(max(int(scale * shorter) // STEP * STEP, least), shorter)
        for top in starts(height, side, overlap):
            for left in starts(width, side, overlap):
                window = Window(top, top + side, left, left + side)
                if window not in seen:
                    seen.add(window)
                    yield window


def starts(length: int, side: int, overlap: float) -> list[int]:
    """Where squares begin along an axis: evenly, the first at 0 and the last flush with the end.

    Args:
        length: Of the axis.
        side: Of a square, at most ``length``.
        overlap: Share of a side that neighbours have in common at least, under 1.
    """
    stride = max(int(side * (1 - overlap)), 1)
    count = math.ceil((length - side) / stride)
    return [round(place * (length - side) / count) for place in range(count + 1)] if count else [0]


def ballot(logits: Tensor, hard: bool) -> Tensor:
    """One window's votes: all for ``argmax p`` but for :data:`TIE` of p, or p itself.

    Args:
        logits: ``(B, C, h, w)``.
        hard: Whether the vote is one-hot.

    Returns:
        ``(B, C, h, w)``, float32 at least, summing to 1 over the classes.
    """
    probs = functional.softmax(widened(logits), dim=1)
    if not hard:
        return probs
    chosen = torch.zeros_like(probs).scatter_(1, probs.argmax(dim=1, keepdim=True), 1.0)
    return torch.lerp(chosen, probs, TIE)


@dataclass(frozen=True, kw_only=True)
class VotedSelection(BalancedSelection):
    """CBST's rule on shares of votes; it tells how the votes were cast, since labels of other votes are other labels.

    Attributes:
        scales: See :func:`windows`.
        overlap: Likewise.
        vote: ``hard`` or ``soft``.
    """

    scales: tuple[float, ...]
    overlap: float
    vote: str


def classes_present(label: Tensor, classes: int, least: int = 1) -> Tensor:
    """Which classes an image has, ``(B, C)`` float32 of 0 and 1.

    Args:
        label: ``(B, H, W)`` int64; IGNORE is no class.
        classes: C.
        least: Pixels that make a class present.
    """
    pixels = torch.stack([(label == index).flatten(1).sum(dim=1) for index in range(classes)], dim=1)
    return (pixels >= least).float()


def any_known(label: Tensor) -> Tensor:
    """``(B,)`` bool: the images of ``(B, H, W)`` labels that have a labelled pixel."""
    return (label != IGNORE).flatten(1).any(dim=1)


def presence_loss(logits: Tensor, present: Tensor, known: Tensor, count: Tensor | None = None) -> Tensor:
    """``mean over the known images and the classes of BCE(σ(logits), present)``.

    Args:
        logits: ``(B, C)``.
        present: ``(B, C)`` of 0 and 1.
        known: ``(B,)`` bool, which images take part.
        count: What the sum over the images is divided by, scalar; the known ones of ``known`` where it is left out.

    Returns:
        A scalar, float32 at least; exactly zero, with a zero gradient, where no image is known.
    """
    wide = widened(logits)
    loss = functional.binary_cross_entropy_with_logits(wide, present.to(wide), reduction="none").mean(dim=1)
    return torch.where(known, loss, torch.zeros_like(loss)).sum() / (known.sum() if count is None else count).clamp_min(
        1
    )
