"""Floor 1: which axial slices stand beside which in a 2.5D stack."""

import torch
from torch import Tensor


def adjacent_slices(index: Tensor, depth: int, first: int | Tensor, last: int | Tensor) -> Tensor:
    """The slices around each index; beyond the case's end the outermost slice is repeated.

    Args:
        index: ``(B,)`` int64.
        depth: k, odd.
        first: The case's first slice, a number or ``(B,)``.
        last: Its last slice.

    Returns:
        ``(B, k)`` int64.
    """
    offsets = torch.arange(depth) - depth // 2
    around = index[:, None] + offsets
    low = torch.as_tensor(first).reshape(-1, 1)
    high = torch.as_tensor(last).reshape(-1, 1)
    return around.clamp(low, high)
