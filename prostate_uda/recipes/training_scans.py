"""Floor 5: what a network's training scans were like, so that its bundle can tell what is unlike them."""

from collections.abc import Iterator
from statistics import median
from typing import Any

import torch
from torch import Tensor

from prostate_uda.data.slices import SliceSet
from prostate_uda.engines.evaluation import Segmenter
from prostate_uda.engines.observers import Progress
from prostate_uda.maths.entropy import normalized_entropy
from prostate_uda.metrics.likeness import profile, typical

UNSURE = 1.5
"""A result is unsure where its uncertainty is this many times that of the median training scan."""


def training_scans(
    domains: dict[str, SliceSet], target: str, segmenter: Segmenter, progress: Progress
) -> dict[str, Any]:
    """Grey values by domain, and how unsure the network usually is; nothing of a single patient.

    Args:
        domains: Name to the training scans.
        target: The name of the domain that the network was adapted to; the uncertainty is of its scans.
        segmenter: The finished network.
        progress: Is told how far it is.

    Returns:
        As a bundle's ``metadata.json`` has it.
    """
    told = {}
    for name, slices in domains.items():
        profiles = [profile(volume) for volume in _volumes(slices)]
        if len(profiles) < 2:  # a mean of one is a patient's own
            continue
        quantiles, usual = typical(profiles)
        told[name] = {"quantiles": [round(float(value), 5) for value in quantiles], "usual_distance": usual}
    unsure = []
    volumes = list(_volumes(domains[target]))
    with progress.task("usual uncertainty", len(volumes)) as task:
        for volume in volumes:
            logits = segmenter.logits(volume.permute(2, 1, 0))
            gland = logits.argmax(dim=0) > 0
            if bool(gland.any()):
                unsure.append(float(normalized_entropy(logits[None])[0][gland].double().mean()))
            task.advance()
    return {"grey_values": told, "usual_uncertainty": UNSURE * median(unsure) if unsure else None}


def _volumes(slices: SliceSet) -> Iterator[Tensor]:
    """``(Z, H, W)`` of each case."""
    for first in torch.unique(slices.first).tolist():
        yield slices.images[first : int(slices.last[first]) + 1]
