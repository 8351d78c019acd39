"""What a multi-level network returns, and the plain view of it."""

import torch
from torch import nn

from prostate_uda.networks import FinalLogits, Levels


class TwoLevels(nn.Module):
    """A network of two levels that one can compute by hand."""

    def forward(self, image: torch.Tensor) -> Levels:
        return Levels(logits=(image, 2 * image), features=(image, image))


def test_final_is_the_deepest_level() -> None:
    shallow, deep = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
    assert Levels(logits=(shallow, deep), features=()).final is deep


def test_final_logits_returns_the_deepest_logits_alone() -> None:
    image = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(FinalLogits(TwoLevels())(image), 2 * image)


def test_final_logits_shares_the_network() -> None:
    network = nn.Conv2d(1, 1, 1)
    assert dict(FinalLogits(network).named_parameters())["network.weight"] is network.weight
