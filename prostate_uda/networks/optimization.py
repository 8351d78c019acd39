"""Floor 2: how a network's parameters move: algorithm, rates, decay, and heads apart from the backbone."""

from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import torch
from torch import nn

from prostate_uda.errors import SettingsError
from prostate_uda.networks.deeplab import DeepLab


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """How parameters move.

    Attributes:
        algorithm: ``adam`` (from scratch) or ``sgd`` with momentum 0.9 (the paper's choice, from ImageNet weights).
        learning_rate: Of the backbone, at step 0.
        head_factor: The heads learn this many times faster (10 in DeepLab-v2's SGD recipe).
        weight_decay: L2 penalty.
        total_steps: Where the poly decay ends.
        power: Exponent of the poly decay; 0 is a constant rate.
    """

    algorithm: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-3
    head_factor: float = 1.0
    weight_decay: float = 0.0
    total_steps: int = 1000
    power: float = 0.9

    def __post_init__(self) -> None:
        if self.algorithm not in ("adam", "sgd"):
            raise SettingsError(f"algorithm {self.algorithm!r}; allowed are 'adam' and 'sgd'")
        if not self.power >= 0:
            raise SettingsError(f"power {self.power}; allowed is power ≥ 0 (0 keeps the rate)")
        if not (self.learning_rate > 0 and self.head_factor > 0 and self.total_steps >= 1 and self.weight_decay >= 0):
            raise SettingsError(
                f"learning rate {self.learning_rate}, head factor {self.head_factor}, {self.total_steps} steps, "
                f"weight decay {self.weight_decay}; allowed are positive rate, factor and steps, decay ≥ 0"
            )
        if not all(map(isfinite, (self.learning_rate, self.head_factor, self.weight_decay, self.power))):
            raise SettingsError(
                f"learning rate {self.learning_rate}, head factor {self.head_factor}, weight decay "
                f"{self.weight_decay}, power {self.power}; allowed are finite numbers"
            )

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """An optimizer over parameter groups, each ``{"params": …, "factor": …}``."""
        for group in groups:
            group["lr"] = self.learning_rate * group.pop("factor", 1.0)
            group["params"] = [value for value in group["params"] if value.requires_grad]
        if self.algorithm == "adam":
            return torch.optim.Adam(groups, lr=self.learning_rate, weight_decay=self.weight_decay)
        return torch.optim.SGD(groups, lr=self.learning_rate, momentum=0.9, weight_decay=self.weight_decay)

    def for_network(self, network: nn.Module) -> torch.optim.Optimizer:
        """Heads and backbone in their own groups where the network tells them apart."""
        if isinstance(network, DeepLab):
            return self.build(
                [
                    {"params": list(network.backbone_parameters())},
                    {"params": list(network.head_parameters()), "factor": self.head_factor},
                ]
            )
        return self.build([{"params": list(network.parameters())}])
