"""Floor 2: what one training step receives from one domain."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Slices of one domain with their labels.

    Attributes:
        image: ``(B, k, H, W)`` float32; k adjacent slices, rows run anterior to posterior, columns right to left.
        label: ``(B, H, W)`` int64: 0 background, 1 PZ, 2 TZ, IGNORE (255) where nothing is known.
        cases: The case each slice is of, for messages.
    """

    image: Tensor
    label: Tensor
    cases: tuple[str, ...] = ()

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on that device."""
        return replace(self, image=self.image.to(device), label=self.label.to(device))
