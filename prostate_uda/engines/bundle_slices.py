"""Floor 4: scans and slices as the data of MONAI's datasets, for a bundle's configs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.transforms import Compose
from torch import Tensor

from prostate_uda.data.domains import Case
from prostate_uda.data.reading import CaseReader
from prostate_uda.data.slices import SliceSet
from prostate_uda.errors import SettingsError


def volumes_of(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Scans and labels as a MONAI data list: ``[{"image": path, "label": path, "label_values": …}, …]``."""
    return [{"image": str(case.image), "label": str(case.label), "label_values": dict(case.values)} for case in cases]


@dataclass(frozen=True)
class Slices(Sequence[dict[str, Tensor]]):
    """Slices as the data of a MONAI ``Dataset``: ``{"image": (k, H, W) float32, "label": (1, H, W) float32}``.

    Attributes:
        slices: Of many cases; a label is 255 where nothing is known.
        depth: k, adjacent slices per image.
    """

    slices: SliceSet
    depth: int

    def __len__(self) -> int:
        """How many slices."""
        return len(self.slices)

    def __getitem__(self, place: Any) -> Any:  # noqa: ANN401  a sequence knows numbers and ranges
        """One slice between its neighbours, or a list of them for a range."""
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        index = torch.tensor([place % len(self)])
        return {"image": self.slices.stack(index, self.depth)[0], "label": self.slices.marks(index).float()}


def slices_of(cases: Sequence[Case], preprocessing: Compose, depth: int = 1) -> Slices:
    """All slices of some scans on the working grid, in memory.

    Args:
        cases: With labels, with pseudo-labels, or without.
        preprocessing: From paths to the working grid.
        depth: Adjacent slices per image, odd.

    Raises:
        DataError: there is no case, or a file cannot be used.
        SettingsError: an even depth.
    """
    if depth < 1 or depth % 2 == 0:
        raise SettingsError(f"depth {depth}; allowed is an odd number: 1 for 2D, 3 or 5 for 2.5D")
    return Slices(SliceSet.from_cases(cases, CaseReader(preprocessing)), depth)
