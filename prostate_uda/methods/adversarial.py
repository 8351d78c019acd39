"""Floor 3: discriminator and domain loss, which adversarial methods share beside ``base``."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from prostate_uda.errors import SettingsError
from prostate_uda.methods.base import total
from prostate_uda.networks.discriminators import Discriminator

SOURCE, TARGET = 0.0, 1.0


def check_discriminator(channels: int, stages: int) -> None:
    """Check a discriminator's size; SettingsError where there is less than one of either."""
    if channels < 1 or stages < 1:
        raise SettingsError(
            f"discriminator_channels {channels}, discriminator_stages {stages}; allowed is 1 or more for both"
        )


def domain_loss(logits: Tensor, domain: float) -> Tensor:
    """``BCE(σ(logits), domain)``, this process's share of the mean over all processes' pixels.

    Args:
        logits: ``(B, 1, H, W)``.
        domain: :data:`SOURCE` or :data:`TARGET`.
    """
    count = torch.tensor(logits.numel(), device=logits.device)
    total([count])
    wanted = torch.full_like(logits, domain)
    return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / count


def new_discriminator(network: nn.Module, *, channels: int, stages: int, seed: int) -> Discriminator:
    """A discriminator of a network's class maps, where the network is.

    Args:
        network: Has ``num_classes``.
        channels: Of the first layer.
        stages: Stride-2 stages.
        seed: Of its weights.
    """
    device = next(network.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Discriminator(
            network.num_classes,  # type: ignore[arg-type]  # nn.Module.__getattr__ hides the int
            base_channels=channels,
            layers=stages,
        ).to(device)


def discriminator_optimizer(discriminator: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Adam with the published momenta (Tsai et al., CVPR 2018)."""
    return torch.optim.Adam(discriminator.parameters(), lr=rate, betas=(0.9, 0.99))
