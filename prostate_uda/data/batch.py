"""Floor 2: what one training step receives from one domain."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Slices of one domain with their labels.

    Attributes:
        image: ``(B, k, H, W)`` float32; k adjacent slices, rows run anterior to posterior, columns right to left.
        label: ``(B, H, W)`` int64: 0 background, 1 PZ, 2 TZ, IGNORE (255) where nothing is known.
        cases: The case each slice is of, for messages.
        index: ``(B,)`` int64, which of its set's slices each is, where they come from a set.
    """

    image: Tensor
    label: Tensor
    cases: tuple[str, ...] = ()
    index: Tensor | None = None

    def to(self, device: torch.device | str, *, non_blocking: bool = False, **layout: Any) -> "Batch":  # noqa: ANN401
        """The same batch on that device.

        Args:
            device: Where it is wanted.
            non_blocking: Whether copying from pinned memory may go on while the caller does.
            layout: Of the image, as ``torch.Tensor.to`` takes it: ``memory_format``.
        """
        return replace(
            self,
            image=self.image.to(device, non_blocking=non_blocking, **layout),
            label=self.label.to(device, non_blocking=non_blocking),
        )
