"""Floor 5: the two domains of a run, opened by what is segmented in them."""

from collections.abc import Callable
from typing import Any

from prostate_uda.engines.observers import Progress
from prostate_uda.recipes.scene_world import open_scenes
from prostate_uda.recipes.settings import AdaptSettings
from prostate_uda.recipes.world import World
from prostate_uda.recipes.zone_world import open_zones

WORLDS: dict[str, Callable[[AdaptSettings, Progress], World[Any, Any]]] = {"zones": open_zones, "scenes": open_scenes}
"""By the names in ``TASKS``."""


def open_world(settings: AdaptSettings, progress: Progress) -> World[Any, Any]:
    """Find both domains' cases, check them, and read what training draws from.

    Raises:
        DataError: something is missing or cannot be used; it names the file.
        SettingsError: there are more processes than cases.
    """
    return WORLDS[settings.task](settings, progress)
