"""Folding changes nothing but how often memory is passed over."""

import pytest
import torch
from torch import nn

from prostate_uda.networks import NETWORKS, build_network
from prostate_uda.networks.folding import folded


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"deeplab-resnet101", "deeplab-resnet152"}))
def test_every_level_is_the_same_but_for_rounding(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    network = build_network(name, in_channels=1, num_classes=3, generator=generator)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = 0.1 * torch.randn(module.num_features, generator=generator)
            module.running_var = 0.5 + torch.rand(module.num_features, generator=generator)
    network = network.double().eval()
    made = folded(network)
    image = torch.randn(2, 1, 64, 64, generator=generator).double()
    with torch.inference_mode():
        for one, other in zip(network(image).logits, made(image).logits, strict=True):
            assert torch.allclose(one, other, rtol=1e-9, atol=1e-9 * float(one.abs().max()))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in made.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_what_no_convolution_goes_before_stays() -> None:
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3), nn.ReLU(), nn.BatchNorm2d(2)).eval()
    made = folded(network)
    assert [type(module) for module in made] == [type(module) for module in network]
    image = torch.randn(1, 1, 8, 8)
    assert torch.equal(network(image), made(image))


def test_a_network_in_training_is_refused() -> None:
    with pytest.raises((RuntimeError, AssertionError)):
        folded(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)))
