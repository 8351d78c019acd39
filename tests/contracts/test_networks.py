"""What every network in the registry promises to the floors above."""

from functools import cache

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from prostate_uda.errors import ProstateUDAError, UnknownNameError
from prostate_uda.networks import NETWORKS, DeepLab, FinalLogits, build_network

QUICK = {"deeplab-small", "deeplab-resnet18"}
EVERY = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in NETWORKS]
PUBLISHED_PARAMETERS = {  # torchvision's documented num_params less its classifier (512 or 2048 → 1000)
    "deeplab-resnet18": 11_689_512 - 513_000,
    "deeplab-resnet34": 21_797_672 - 513_000,
    "deeplab-resnet50": 25_557_032 - 2_049_000,
    "deeplab-resnet101": 44_549_160 - 2_049_000,
    "deeplab-resnet152": 60_192_808 - 2_049_000,
}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(name: str, seed: int = 0) -> DeepLab:
    return build_network(name, in_channels=1, num_classes=3, generator=rng(seed))


def images(batch: int = 2, size: int = 64) -> Tensor:
    return torch.randn(batch, 1, size, size, generator=rng(1))


def loss_of(logits: tuple[Tensor, ...]) -> Tensor:
    return torch.stack([-z.log_softmax(dim=1)[:, 1].mean() for z in logits]).sum()


@cache
def gradients_twice(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """First derivatives of a loss, and those of their squared length, per trainable parameter."""
    network = build(name)
    parameters = {n: p for n, p in network.named_parameters() if p.requires_grad}
    first = torch.autograd.grad(loss_of(network(images()).logits), list(parameters.values()), create_graph=True)
    length = torch.stack([g.square().sum() for g in first]).sum()
    second = torch.autograd.grad(length, list(parameters.values()))
    return dict(zip(parameters, first, strict=True)), dict(zip(parameters, second, strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_built_with_the_published_number_of_weights(name: str) -> None:
    with torch.device("meta"):
        network = NETWORKS[name](in_channels=3, num_classes=3)
    count = sum(p.numel() for p in network.backbone_parameters())
    assert count == PUBLISHED_PARAMETERS.get(name, count)
    assert network.training


@pytest.mark.parametrize("name", NETWORKS)
def test_slices_and_classes_are_taken(name: str) -> None:
    with torch.device("meta"):
        network = build_network(name, in_channels=5, num_classes=4, frozen_bn=True)
        levels = network(torch.zeros(1, 5, 40, 48))
    assert [tuple(z.shape) for z in levels.logits] == [(1, 4, 40, 48)] * 2


@pytest.mark.parametrize("name", EVERY)
def test_levels_have_the_input_size(name: str) -> None:
    levels = build(name)(images())
    assert [tuple(z.shape) for z in levels.logits] == [(2, 3, 64, 64)] * len(levels.logits)
    assert len(levels.features) == len(levels.logits) >= 2
    assert all(f.shape[0] == 2 and f.ndim == 4 for f in levels.features)
    assert all(bool(z.isfinite().all()) for z in levels.logits)


@pytest.mark.parametrize("name", EVERY)
def test_gradients_reach_every_parameter(name: str) -> None:
    first, _ = gradients_twice(name)
    assert [n for n, g in first.items() if not bool(g.isfinite().all()) or not bool(g.any())] == []


@pytest.mark.parametrize("name", EVERY)
def test_second_derivatives_exist(name: str) -> None:
    _, second = gradients_twice(name)
    assert [n for n, g in second.items() if not bool(g.isfinite().all()) or not bool(g.any())] == []


@pytest.mark.parametrize("name", EVERY)
def test_state_dict_makes_the_round_trip(name: str) -> None:
    one, other = build(name, seed=1), build(name, seed=2)
    one(images())  # move the batch statistics, so that buffers matter too
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(other.eval()(images()), one.eval()(images()), rtol=0, atol=0)


@pytest.mark.parametrize("name", EVERY)
def test_functional_call_with_cloned_buffers_leaves_the_statistics(name: str) -> None:
    network = build(name).train()
    before = {n: b.clone() for n, b in network.named_buffers()}
    clones = {n: b.clone() for n, b in network.named_buffers()}
    moved = {n: 0.5 * p for n, p in network.named_parameters()}
    with torch.no_grad():
        levels = functional_call(network, {**moved, **clones}, (images(),))
        plain = network.eval()(images())
    assert not torch.allclose(levels.final, plain.final)
    assert any(not torch.equal(clones[n], before[n]) for n in before)
    torch.testing.assert_close(dict(network.named_buffers()), before, rtol=0, atol=0)


@pytest.mark.filterwarnings(r"ignore:.torch\.jit\.trace(_method)?. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", EVERY)
def test_final_logits_trace(name: str) -> None:
    network = build(name).eval()
    plain = FinalLogits(network)
    other_size = torch.randn(1, 1, 72, 80, generator=rng(2))
    with torch.no_grad():
        torch.testing.assert_close(plain(images()), network(images()).final, rtol=0, atol=0)
        traced = torch.jit.trace(plain, images())  # type: ignore[no-untyped-call]
        torch.testing.assert_close(traced(other_size), network(other_size).final)


@pytest.mark.parametrize("name", EVERY)
def test_a_wrong_image_is_our_error(name: str) -> None:
    network = build(name)
    for shape in [(1, 2, 64, 64), (1, 64, 64), (1, 1, 16, 64)]:
        with pytest.raises(ProstateUDAError):
            network(torch.zeros(shape))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown network 'resnet'; choose one of: deeplab-resnet101, .*"):
        build_network("resnet", in_channels=1, num_classes=3)


@pytest.mark.slow
def test_final_logits_export_with_free_batch_and_size() -> None:
    plain = FinalLogits(build("deeplab-small")).eval()
    height, width = (torch.export.Dim(side, min=32, max=1024) for side in ("height", "width"))
    free = {0: torch.export.Dim("batch", max=64), 2: height, 3: width}
    exported = torch.export.export(plain, (images(),), dynamic_shapes={"image": free}).module()
    other_size = torch.randn(1, 1, 75, 96, generator=rng(2))
    torch.testing.assert_close(exported(other_size), plain(other_size))
