"""Floor 2: a volume as 2.5D stacks of its axial slices, and predictions of slices as a volume again."""

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from torch import Tensor

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.maths.stacks import adjacent_slices


class SliceStack(InvertibleTransform):  # type: ignore[misc]  # MONAI ships no types
    """Every axial slice between its neighbours, as a 2.5D network takes them.

    The volume is LPS: rows of a slice run anterior to posterior, columns right to left. Stacks of a MetaTensor keep its
    affine, which stays the volume's, and its history, so that MONAI's ``Invertd`` finds the way back.

    Args:
        depth: k, odd; beyond the first and last slice the outermost is repeated.

    Raises:
        SettingsError: depth is even or below 1.
    """

    def __init__(self, depth: int = 1) -> None:
        super().__init__()
        if depth < 1 or depth % 2 == 0:
            raise SettingsError(f"depth {depth}; allowed are odd numbers from 1 on")
        self.depth = depth

    def __call__(self, img: Tensor) -> Tensor:
        """The stacks.

        Args:
            img: ``(1, X, Y, Z)``.

        Returns:
            ``(Z, k, Y, X)``.

        Raises:
            ShapeError: not such a volume.
        """
        if img.ndim != 4 or img.shape[0] != 1:
            raise ShapeError(f"volume of shape {tuple(img.shape)}; allowed is (1, X, Y, Z)")
        slices = _plain(img)[0].permute(2, 1, 0).contiguous()
        around = adjacent_slices(torch.arange(len(slices)), self.depth, 0, len(slices) - 1)
        stacks = slices[around.to(slices.device)]
        if not isinstance(img, MetaTensor):
            return stacks
        traced: Tensor = self.push_transform(MetaTensor(stacks).copy_meta_from(img), orig_size=tuple(img.shape[1:]))
        return traced

    def inverse(self, data: Tensor) -> Tensor:
        """Predictions of the slices as a volume; the middle of each stack is what was predicted.

        Args:
            data: ``(Z, C, H, W)``, one prediction per slice. A MetaTensor has the stacks' history, and loses this step.

        Returns:
            ``(C, X, Y, Z)``.

        Raises:
            ShapeError: not four axes.
        """
        if data.ndim != 4:
            raise ShapeError(f"predictions of shape {tuple(data.shape)}; allowed is (Z, C, H, W)")
        volume = _plain(data).permute(1, 3, 2, 0).contiguous()
        if not isinstance(data, MetaTensor):
            return volume
        traced: Tensor = MetaTensor(volume).copy_meta_from(data)
        self.pop_transform(traced)
        return traced


def _plain(image: Tensor) -> Tensor:
    return torch.as_tensor(image).as_subclass(Tensor)


class SliceStackd(MapTransform, InvertibleTransform):  # type: ignore[misc]
    """Dictionary version of :class:`SliceStack`.

    Args:
        keys: Of the volumes.
        depth: One for all keys, or one each: a label wants 1.
        allow_missing_keys: Whether an entry may lack a key.
    """

    def __init__(
        self, keys: KeysCollection, depth: int | tuple[int, ...] = 1, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        depths = depth if isinstance(depth, tuple) else (depth,) * len(self.keys)
        if len(depths) != len(self.keys):
            raise SettingsError(f"depths {depths} for keys {self.keys}; allowed are one for all or one each")
        self.stacks = {key: SliceStack(each) for key, each in zip(self.keys, depths, strict=True)}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same entry with stacks for volumes."""
        return {**data, **{key: self.stacks[key](data[key]) for key in self.key_iterator(dict(data))}}

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same entry with volumes for predictions of slices."""
        return {**data, **{key: self.stacks[key].inverse(data[key]) for key in self.key_iterator(dict(data))}}
