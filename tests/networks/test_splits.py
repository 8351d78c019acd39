"""A network in two parts: the same answer, the right parameters above, and heads that are linear."""

import pytest
import torch
from torch import Tensor, nn

from prostate_uda.errors import SettingsError
from prostate_uda.networks import DeepLab, Levels
from prostate_uda.networks.levels import unmoved
from prostate_uda.networks.splits import SCOPES, Scope, run_shared, split
from tests.builders import tiny_deeplab

every_scope = pytest.mark.parametrize("scope", SCOPES)


def tiny() -> DeepLab:
    return tiny_deeplab().double()


def images(seed: int = 1) -> Tensor:
    return torch.randn(2, 1, 40, 32, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@every_scope
def test_the_parts_give_what_the_network_gives(scope: Scope) -> None:
    net = tiny().eval()
    parts = split(net, scope)
    levels = parts.above(parts.below(images()), (40, 32))
    torch.testing.assert_close(levels, net(images()), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("scope", "starts"),
    [("all", ("backbone", "heads")), ("last-stage", ("backbone.layer4", "heads")), ("heads", "heads")],
)
def test_what_the_scope_names_lies_above(scope: Scope, starts: str | tuple[str, ...]) -> None:
    net = tiny()
    above = {id(value) for value in split(net, scope).above.parameters()}
    assert above == {id(value) for name, value in net.named_parameters() if name.startswith(starts)}


@every_scope
def test_only_heads_are_linear_in_their_parameters(scope: Scope) -> None:
    parts = split(tiny().eval(), scope)
    carried = tuple(one.detach() for one in parts.below(images()))
    weights = {name: value.detach() for name, value in parts.above.named_parameters()}
    once = unmoved(parts.above, carried, (40, 32), parameters=weights).final
    twice = unmoved(parts.above, carried, (40, 32), parameters={n: 2 * v for n, v in weights.items()}).final
    assert torch.allclose(twice, 2 * once) == parts.linear == (scope == "heads")


@every_scope
def test_shared_passes_move_the_statistics_by_the_target_alone_or_not_at_all(scope: Scope) -> None:
    net, alone = tiny(), tiny()
    before = {name: value.clone() for name, value in net.named_buffers()}
    still = run_shared(net, scope, images(1), images(2), moved=False)
    torch.testing.assert_close(dict(net.named_buffers()), before, rtol=0, atol=0)
    moved = run_shared(net, scope, images(1), images(2))
    alone(images(2))
    torch.testing.assert_close(dict(net.named_buffers()), dict(alone.named_buffers()), rtol=0, atol=0)
    torch.testing.assert_close(moved.levels, still.levels, rtol=0, atol=0)


def test_an_unknown_scope_is_told_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="scope 'stem'; choose one of: all, last-stage, heads"):
        split(tiny(), "stem")  # type: ignore[arg-type]


def test_any_network_can_be_taken_whole_and_only_a_deeplab_cut() -> None:
    class Plain(nn.Module):
        def forward(self, image: Tensor) -> Levels:
            return Levels(logits=(image, 2 * image), features=(image,))

    parts = split(Plain(), "all")
    assert torch.equal(parts.above(parts.below(images()), (40, 32)).final, 2 * images())
    with pytest.raises(SettingsError, match="a Plain has no known last-stage; choose the scope all"):
        split(Plain(), "last-stage")
