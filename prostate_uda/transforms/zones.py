"""Floor 2: class probabilities to zone labels, with what anatomy allows as options."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import KeepLargestConnectedComponent, MapTransform, Transform
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from prostate_uda.errors import ShapeError

ISLAND = 0.1
"""A piece of TZ smaller than this share of the largest one is an island."""


@dataclass(frozen=True)
class LabelZones(Transform):  # type: ignore[misc]  # MONAI ships no types
    """Labels of the likeliest class: 0 background, 1 PZ, 2 TZ.

    Attributes:
        keep_largest: Only the largest connected piece of the gland (PZ ∪ TZ) is kept.
        tz_inside: The gland is where PZ and TZ together are likelier than the background, its holes are filled, and the
            zone is the likelier of the two; islands of TZ (:data:`ISLAND`) become PZ. So the TZ lies within the gland.
    """

    keep_largest: bool = False
    tz_inside: bool = False
    largest: Transform = field(
        default_factory=lambda: KeepLargestConnectedComponent(
            applied_labels=[1, 2], is_onehot=False, independent=False
        ),
        init=False,
        repr=False,
    )

    def __call__(self, probabilities: Tensor) -> Tensor:
        """The labels.

        Args:
            probabilities: ``(3, X, Y, Z)``; all three 0 where nothing is known, which is background.

        Returns:
            ``(1, X, Y, Z)`` uint8, a MetaTensor where ``probabilities`` is one.

        Raises:
            ShapeError: not such probabilities.
        """
        if probabilities.ndim != 4 or probabilities.shape[0] != 3:
            raise ShapeError(f"probabilities of shape {tuple(probabilities.shape)}; allowed is (3, X, Y, Z)")
        plain = torch.as_tensor(probabilities).as_subclass(Tensor)
        label = (_zones_of_the_gland(plain) if self.tz_inside else plain.argmax(dim=0)).to(torch.uint8)[None]
        if self.keep_largest:
            label = self.largest(label).to(torch.uint8)
        if self.tz_inside:
            label = torch.from_numpy(_without_islands(label[0].numpy()))[None]
        return MetaTensor(label).copy_meta_from(probabilities) if isinstance(probabilities, MetaTensor) else label


def _zones_of_the_gland(probabilities: Tensor) -> Tensor:
    """The gland first, filled; then the likelier zone within."""
    gland = probabilities[1:].sum(dim=0) > probabilities[0]
    filled = torch.from_numpy(ndimage.binary_fill_holes(gland.numpy()))
    return torch.where(filled, 1 + probabilities[1:].argmax(dim=0), 0)


def _without_islands(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Small pieces of TZ as PZ."""
    pieces, count = ndimage.label(label == 2, structure=np.ones((3, 3, 3)))
    if count < 2:
        return label
    sizes = np.bincount(pieces.ravel())[1:]
    islands = 1 + np.flatnonzero(sizes < ISLAND * sizes.max())
    return np.where(np.isin(pieces, islands), np.uint8(1), label)


class LabelZonesd(MapTransform):  # type: ignore[misc]
    """Dictionary version of :class:`LabelZones`.

    Args:
        keys: Of the probabilities.
        keep_largest: See there.
        tz_inside: Likewise.
        allow_missing_keys: Whether an entry may lack a key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        keep_largest: bool = False,
        tz_inside: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = LabelZones(keep_largest, tz_inside)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same entry with labels in place of probabilities."""
        return {**data, **{key: self.transform(data[key]) for key in self.key_iterator(dict(data))}}
