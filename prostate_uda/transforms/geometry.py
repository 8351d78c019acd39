"""Floor 2: MONAI's random flip and affine for slices on their way into a batch.

MONAI writes an invertible history for every key, which takes most of the time of a slice of 96 × 96 and which nobody
reads: a batch has none. Freshly seeded, these draw what MONAI draws and return the same bits, without it. A MetaTensor,
and whatever else is not a plain tensor on the CPU, gets MONAI's own treatment, history and affine.
"""

from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import RandAffined, RandFlipd
from monai.transforms.utils import create_grid
from torch import Tensor
from torch.nn.functional import grid_sample


class RandSliceFlipd(RandFlipd):  # type: ignore[misc]  # MONAI ships no types
    """``monai.transforms.RandFlipd`` that leaves plain tensors plain.

    Args:
        keys: Of images and labels, channel first.
        prob: Share of the entries that are flipped.
        spatial_axis: One axis, counted from 0 after the channel.
        allow_missing_keys: Whether an entry may lack a key.
    """

    def __init__(self, keys: KeysCollection, prob: float, spatial_axis: int, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, prob, spatial_axis, allow_missing_keys)
        self.axis = spatial_axis + 1

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """The same entry, flipped or not."""
        flipped: dict[Hashable, Any]
        if not _plain(self, data):
            flipped = super().__call__(data, lazy)
            return flipped
        flipped = dict(data)
        self.randomize(None)
        if self._do_transform:
            flipped |= {key: data[key].flip(self.axis) for key in self.key_iterator(flipped)}
        return flipped


class RandSliceAffined(RandAffined):  # type: ignore[misc]
    """``monai.transforms.RandAffined`` of ``(C, H, W)`` that leaves plain tensors plain; what comes out is float32."""

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """The same entry, moved or not."""
        moved: dict[Hashable, Any]
        if not _plain(self, data) or self.rand_affine.spatial_size is not None:
            moved = super().__call__(data, lazy)
            return moved
        moved = {**data, **{key: data[key].float() for key in self.key_iterator(dict(data))}}
        self.randomize(None)
        self.rand_affine.randomize()
        if self._do_transform:
            height, width = data[self.first_key(moved)].shape[1:]
            grid = self._grid(height, width)
            for key, mode, padding in self.key_iterator(moved, self.mode, self.padding_mode):
                image = moved[key][None].double()
                moved[key] = grid_sample(image, grid, mode, padding, align_corners=False)[0].float()
        return moved

    def _grid(self, height: int, width: int) -> Tensor:
        """Where each pixel comes from, ``(1, H, W, 2)`` as ``grid_sample`` takes it: columns first, -1 to 1."""
        self.rand_affine.rand_affine_grid((height, width), lazy=True)
        affine = self.rand_affine.rand_affine_grid.get_transformation_matrix().float()
        centred = _centred(height, width)
        moved = (affine @ centred.view(3, -1)).view(3, height, width)[[1, 0]].double().movedim(0, -1)[None]
        moved[..., 0] *= 2.0 / max(2, width)
        moved[..., 1] *= 2.0 / max(2, height)
        plain: Tensor = moved
        return plain


@lru_cache(maxsize=4)
def _centred(height: int, width: int) -> Tensor:
    """Pixel positions from the middle, homogeneous, ``(3, H, W)`` float32."""
    grid: Tensor = create_grid((height, width), dtype=torch.float32, backend="torch")
    return grid


def _plain(transform: RandFlipd | RandAffined, data: Mapping[Hashable, Any]) -> bool:
    return all(type(data[key]) is Tensor and data[key].is_cpu for key in transform.key_iterator(dict(data)))
