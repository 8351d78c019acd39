"""Passes that make the choices of another: a network on one side of its kinks."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from prostate_uda.networks import build_network
from prostate_uda.networks.gates import Gates

RELUS: list[Callable[[Tensor], Tensor]] = [
    nn.ReLU(),
    nn.ReLU(inplace=True),
    functional.relu,
    torch.relu,
    lambda x: torch.relu_(x),
    lambda x: x.relu(),
    lambda x: x.relu_(),
]


@pytest.mark.parametrize("relu", RELUS)
def test_a_replayed_relu_lets_through_what_the_recorded_one_did(relu: Callable[[Tensor], Tensor]) -> None:
    gates = Gates()
    with gates.recording():
        assert relu(torch.tensor([-1.0, 0.0, 2.0])).tolist() == [0, 0, 2]
    for _ in range(2):
        with gates.replaying():
            assert relu(torch.tensor([5.0, 6.0, -7.0])).tolist() == [0, 0, -7]
        gates.compact()
    assert relu(torch.tensor([5.0, -7.0])).tolist() == [5, 0]  # outside a block all is as ever


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), lambda x: functional.max_pool2d(x, 2)])
def test_a_replayed_pooling_takes_the_same_entries(pool: Callable[[Tensor], Tensor]) -> None:
    gates = Gates()
    with gates.recording():
        assert pool(torch.tensor([[[[1.0, 2.0], [4.0, 3.0]]]])).item() == 4
    gates.compact()
    with gates.replaying():
        assert pool(torch.tensor([[[[9.0, 8.0], [6.0, 7.0]]]])).item() == 6


@pytest.mark.parametrize("name", ["deeplab-small", "deeplab-resnet50"])
def test_replayed_at_the_same_weights_a_network_gives_the_same(name: str) -> None:
    net = build_network(name, in_channels=1, num_classes=3, generator=torch.Generator().manual_seed(0)).eval()
    image, gates = torch.randn(1, 1, 48, 48, generator=torch.Generator().manual_seed(1)), Gates()
    with torch.no_grad(), gates.recording():
        first = net(image).final
    assert torch.equal(first, net(image).final)
    with torch.no_grad(), gates.replaying():
        again = net(image).final
    assert torch.equal(first, again)


def test_what_is_recorded_can_be_differentiated() -> None:
    weight, gates = torch.tensor([1.0, -1.0], requires_grad=True), Gates()
    with gates.recording():
        functional.relu(weight * 3).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert weight.grad.tolist() == [3, 0]


def test_a_new_recording_forgets_the_old_one() -> None:
    gates = Gates()
    for sign in (1.0, -1.0):
        with gates.recording():
            functional.relu(torch.tensor([sign]))
    with gates.replaying():
        assert functional.relu(torch.tensor([1.0])).item() == 0


def test_without_a_graph_a_byte_per_choice_is_held_from_the_start() -> None:
    gates = Gates()
    with torch.no_grad():
        for value, expected in ((-1.0, 0.0), (5.0, 0.0)):
            with gates.same():
                assert functional.relu(torch.tensor([value])).item() == expected
