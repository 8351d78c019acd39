"""Floor 5: ``info``: what there is to choose from."""

from typing import Any

from prostate_uda import __version__
from prostate_uda.data.domains import DOMAINS
from prostate_uda.methods import METHODS
from prostate_uda.networks import NETWORKS
from prostate_uda.recipes.devices import pick_device
from prostate_uda.recipes.tasks import TASKS
from prostate_uda.transforms import AUGMENTATIONS, NORMALIZATIONS


def describe() -> dict[str, Any]:
    """``version``, the names in each registry, and the ``device`` that ``auto`` picks here."""
    return {
        "version": __version__,
        "methods": list(METHODS),
        "domains": list(DOMAINS),
        "networks": list(NETWORKS),
        "normalizations": [*NORMALIZATIONS, *TASKS["scenes"].normalizations],
        "augmentations": list(AUGMENTATIONS),
        "device": str(pick_device("auto")),
    }
