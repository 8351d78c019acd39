"""Floor 5: what is segmented: the zones of a prostate in volumes, or the classes of a driving scene in pictures.

A domain says which of the two it is of; what differs between them below ``recipes/`` stands here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from monai.transforms import Compose

from prostate_uda.data.domains import get_domain
from prostate_uda.data.labels import ZONES
from prostate_uda.data.scene_classes import SCENE_CLASSES
from prostate_uda.errors import SettingsError
from prostate_uda.transforms import AUGMENTATIONS, NORMALIZATIONS, SCENE_AUGMENTATIONS

OF_VOLUMES = frozenset({"depth", "spacing_mm", "source_label_names", "target_label_names", "data_list", "label_noise"})
"""Settings of ``adapt`` that pictures do not have."""
STRIDE = (32, 8)
"""Fewest rows of a crop, and what they are a multiple of."""


@dataclass(frozen=True)
class Task:
    """A kind of segmentation.

    Attributes:
        classes: Names of the classes, by number.
        suffix: Of a label's file.
        normalizations: Names that ``--normalize`` may have, the usual one first.
        augmentation: Name in ``AUGMENTATIONS`` and the ``(H, W)`` of the network's input, to the transform.
        aspect: Columns per row of the network's input.
        colours: Channels of a picture; None where the channels are adjacent slices.
    """

    classes: tuple[str, ...]
    suffix: str
    normalizations: tuple[str, ...]
    augmentation: Callable[[str, tuple[int, int]], Compose]
    aspect: int = 1
    colours: int | None = None

    def crop(self, rows: int) -> tuple[int, int]:
        """``(H, W)`` of a training crop of so many rows.

        Raises:
            SettingsError: they do not go through a network's strides.
        """
        if rows < STRIDE[0] or rows % STRIDE[1]:
            raise SettingsError(f"size {rows} rows of a crop; allowed are multiples of {STRIDE[1]} from {STRIDE[0]} on")
        return rows, self.aspect * rows

    def channels(self, depth: int) -> int:
        """Of the network's input, for a depth of so many slices."""
        return self.colours or depth


def _of_slices(name: str, shape: tuple[int, int]) -> Compose:  # noqa: ARG001  slices keep their size
    return AUGMENTATIONS[name]()


def _of_scenes(name: str, shape: tuple[int, int]) -> Compose:
    return SCENE_AUGMENTATIONS[name](shape)


TASKS: dict[str, Task] = {
    "zones": Task(
        classes=ZONES,
        suffix=".nii.gz",
        normalizations=("zscore", *(name for name in NORMALIZATIONS if name != "zscore")),
        augmentation=_of_slices,
    ),
    "scenes": Task(
        classes=SCENE_CLASSES,
        suffix=".png",
        normalizations=("imagenet",),
        augmentation=_of_scenes,
        aspect=2,
        colours=3,
    ),
}
"""By the name that domains have for it."""


def check_pair(source: str, target: str, given: Mapping[str, Any]) -> None:
    """Refuse two domains of different tasks, and settings of volumes for pictures.

    Args:
        source: Name of a domain.
        target: Likewise.
        given: Of :data:`OF_VOLUMES`, what the user has set.

    Raises:
        SettingsError: so it is.
        UnknownNameError: no such domain.
    """
    tasks = [get_domain(name).task for name in (source, target)]
    if tasks[0] != tasks[1]:
        raise SettingsError(f"source {source!r} has {tasks[0]}, target {target!r} {tasks[1]}; choose two of a kind")
    if tasks[0] == "scenes" and given:
        told = ", ".join(f"{name} {value}" for name, value in given.items())
        raise SettingsError(f"{told}: of prostate volumes, and {source!r} has pictures; leave it out")


def check_zones(source: str, what: str) -> None:
    """Refuse a run of pictures where a recipe is of prostates.

    Args:
        source: Name of the run's source.
        what: The command.

    Raises:
        SettingsError: so it is.
    """
    if get_domain(source).task != "zones":
        raise SettingsError(f"{what} is of prostate zones, and the run is of {source}; there is none for it")
