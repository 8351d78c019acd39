"""The discriminator gives logits at the map's size; the predictor is frozen and judges every batch element."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, conv2d, interpolate, leaky_relu

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.networks import DeepLab, Discriminator, DomainPredictor, build_network


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def maps(batch: int, size: int, classes: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, classes, size, size, generator=rng(seed)).softmax(dim=1)


def small_network() -> DeepLab:
    return build_network("deeplab-small", in_channels=1, num_classes=3, generator=rng())


def test_layers_are_the_published_ones() -> None:
    convolutions = [m for m in Discriminator(19).modules() if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [
        (19, 64), (64, 128), (128, 256), (256, 512), (512, 1),
    ]  # fmt: skip
    assert {(c.kernel_size, c.stride, c.padding) for c in convolutions} == {((4, 4), (2, 2), (1, 1))}


def test_forward_is_five_leaky_convolutions_upsampled_without_a_sigmoid() -> None:
    discriminator = Discriminator(3, base_channels=4)
    probabilities = maps(2, 96)
    out = probabilities
    convolutions = [m for m in discriminator.modules() if isinstance(m, nn.Conv2d)]
    for index, c in enumerate(convolutions):
        out = conv2d(out, c.weight, c.bias, stride=2, padding=1)
        out = leaky_relu(out, 0.2) if index < len(convolutions) - 1 else out
    assert out.shape == (2, 1, 3, 3)
    expected = interpolate(out, size=(96, 96), mode="bilinear", align_corners=False)
    torch.testing.assert_close(discriminator(probabilities), expected)


def test_output_is_not_squashed() -> None:
    discriminator = Discriminator(3, base_channels=4, layers=2)
    with torch.no_grad():
        discriminator.stages[-1].bias.fill_(-7.0)  # type: ignore[operator]
    assert discriminator(maps(1, 32)).mean().item() == pytest.approx(-7.0, abs=1.0)


@settings(deadline=None, max_examples=15, derandomize=True)
@given(layers=st.integers(1, 5), height=st.integers(64, 90), width=st.integers(64, 90))
def test_output_has_the_size_of_the_map(layers: int, height: int, width: int) -> None:
    probabilities = torch.full((1, 3, height, width), 1 / 3)
    assert Discriminator(3, base_channels=2, layers=layers)(probabilities).shape == (1, 1, height, width)


def test_smallest_map_is_two_pixels() -> None:
    discriminator = Discriminator(3, base_channels=2, layers=3)
    assert discriminator.stages(maps(1, 16)).shape[-2:] == (2, 2)
    assert discriminator(maps(1, 16)).shape[-2:] == (16, 16)
    with pytest.raises(ShapeError, match="map of 15x15 pixels; 3 layers need 16 a side"):
        discriminator(maps(1, 15))


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 2, 64, 64), (1, 3, 64, 64, 64)])
def test_a_wrong_map_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"takes \(B, 3, H, W\)"):
        Discriminator(3, base_channels=2)(torch.zeros(shape))


def test_wrong_settings_are_named() -> None:
    with pytest.raises(SettingsError, match="layers 0; each at least 1"):
        Discriminator(3, layers=0)


def test_it_can_learn_to_be_sure() -> None:
    # a sigmoid before the with-logits loss would keep this loss above (0.693 + 0.313) / 2
    torch.manual_seed(0)
    discriminator = Discriminator(3, base_channels=4, layers=3)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-2)
    probabilities = torch.cat([maps(2, 32), (3 * torch.randn(2, 3, 32, 32, generator=rng(1))).softmax(1)])
    truth = torch.tensor([0.0, 0.0, 1.0, 1.0]).view(4, 1, 1, 1).expand(4, 1, 32, 32)
    for _ in range(60):
        optimizer.zero_grad()
        loss = binary_cross_entropy_with_logits(discriminator(probabilities), truth)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss.item() < 0.2


def test_predictor_gives_every_element_its_own_map_at_image_size() -> None:
    predictor = DomainPredictor(small_network(), Discriminator(3, base_channels=4, layers=3))
    images = torch.randn(3, 1, 70, 64, generator=rng())
    together = predictor(images)
    assert together.shape == (3, 70, 64)
    assert bool(((together >= 0) & (together <= 1)).all())
    for index in range(3):
        torch.testing.assert_close(predictor(images[index : index + 1])[0], together[index])
    assert not torch.allclose(together[0], together[1], atol=1e-6)


def test_predictor_is_the_sigmoid_of_the_discriminator_on_the_deepest_softmax() -> None:
    network, discriminator = small_network().eval(), Discriminator(3, base_channels=4, layers=3)
    images = torch.randn(2, 1, 64, 64, generator=rng())
    expected = discriminator(network(images).final.softmax(dim=1)).sigmoid()[:, 0]
    torch.testing.assert_close(DomainPredictor(network, discriminator)(images), expected)


def test_predictor_stays_frozen_and_leaves_the_callers_modules_alone() -> None:
    network, discriminator = small_network().train(), Discriminator(3, base_channels=4)
    predictor = DomainPredictor(network, discriminator).train()
    before = {name: value.clone() for name, value in predictor.state_dict().items()}
    output = predictor(torch.randn(2, 1, 64, 64, generator=rng()).requires_grad_())
    assert not output.requires_grad
    assert not any(module.training for module in predictor.modules())
    assert not any(p.requires_grad for p in predictor.parameters())
    torch.testing.assert_close(dict(predictor.state_dict()), before, rtol=0, atol=0)
    assert network.training
    assert all(p.requires_grad for p in [*network.parameters(), *discriminator.parameters()])
    with torch.no_grad():
        next(network.parameters()).zero_()
    torch.testing.assert_close(dict(predictor.state_dict()), before, rtol=0, atol=0)
