"""DeepLab: output stride, the four summed dilations in both modes, second derivatives, frozen batch norm."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.nets import ResNet
from torch import Tensor, nn
from torch.autograd import gradgradcheck
from torch.func import functional_call
from torch.nn.functional import conv2d, interpolate

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.networks import DeepLab, Heads
from prostate_uda.networks.deeplab import HEAD_STD


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tiny(**changes: object) -> DeepLab:
    given_settings = {
        "in_channels": 1,
        "num_classes": 3,
        "depth": 18,
        "widths": (4, 4, 6, 8),
        "dilations": (1, 2, 4, 6),
        "generator": rng(),
    }
    return DeepLab(**{**given_settings, **changes})  # type: ignore[arg-type]


def by_hand(network: DeepLab, level: int, features: Tensor, size: tuple[int, int]) -> Tensor:
    """The published head with its early return removed: all four convolutions, then bilinear upsampling."""
    weights = network.heads.state_dict()
    total = torch.zeros(())
    for branch, dilation in enumerate((6, 12, 18, 24)):
        weight = weights[f"levels.{level}.branches.{branch}.weight"]
        bias = weights[f"levels.{level}.branches.{branch}.bias"]
        total = total + conv2d(features, weight, bias, padding=dilation, dilation=dilation)
    return interpolate(total, size=size, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("training", [True, False])
def test_heads_sum_all_four_dilations_in_training_and_in_evaluation(training: bool) -> None:
    network = tiny(dilations=(6, 12, 18, 24)).train(training)
    image = torch.randn(2, 1, 200, 208, generator=rng())  # a 25×26 map: the widest dilation still sees pixels
    for _ in range(2):
        levels = network(image)
        for level in (0, 1):
            expected = by_hand(network, level, levels.features[level], (200, 208))
            torch.testing.assert_close(levels.logits[level], expected)


@pytest.mark.parametrize("branch", range(4))
def test_each_dilation_matters_in_evaluation(branch: int) -> None:
    network = tiny(dilations=(6, 12, 18, 24)).eval()
    image = torch.randn(1, 1, 200, 200, generator=rng())
    with torch.no_grad():
        before = network(image)
        for head in network.heads.levels:
            head.get_submodule(f"branches.{branch}").weight.zero_()  # type: ignore[operator]
        after = network(image)
    for one, other in zip(before.logits, after.logits, strict=True):
        assert (one - other).abs().max() > 0.05 * one.std()


@settings(deadline=None, max_examples=12, derandomize=True)
@given(height=st.integers(32, 75), width=st.integers(32, 75))
def test_output_stride_is_eight_and_logits_have_the_image_size(height: int, width: int) -> None:
    levels = tiny().eval()(torch.zeros(1, 1, height, width))
    assert [tuple(f.shape[-2:]) for f in levels.features] == [(-(-height // 8), -(-width // 8))] * 2
    assert [tuple(z.shape) for z in levels.logits] == [(1, 3, height, width)] * 2


@pytest.mark.parametrize(("depth", "channels"), [(18, (6, 8)), (50, (24, 32))])
def test_late_stages_are_dilated_instead_of_strided(depth: int, channels: tuple[int, int]) -> None:
    network = tiny(depth=depth)
    for name, dilation in (("layer1", 1), ("layer2", 1), ("layer3", 2), ("layer4", 4)):
        stage = network.backbone.get_submodule(name)
        wide = [m for m in stage.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
        assert {m.dilation for m in wide} == {m.padding for m in wide} == {(dilation, dilation)}
        strides = {m.stride for m in stage.modules() if isinstance(m, nn.Conv2d)}
        assert strides == ({(1, 1), (2, 2)} if name == "layer2" else {(1, 1)})
    features = network.features(torch.zeros(2, 1, 32, 32))
    assert tuple(f.shape[1] for f in features) == channels


def test_early_stages_are_monais() -> None:
    network = tiny().eval()
    oracle = ResNet(
        block="basic",
        layers=[2, 2, 2, 2],
        block_inplanes=[4, 4, 6, 8],
        spatial_dims=2,
        n_input_channels=1,
        conv1_t_stride=2,
        bias_downsample=False,
        feed_forward=False,
    ).eval()
    oracle.load_state_dict(network.backbone.state_dict())
    expected = torch.randn(1, 1, 40, 56, generator=rng())
    for name in ("conv1", "bn1", "act", "maxpool", "layer1", "layer2"):
        mine = network.backbone.get_submodule(name)(expected.clone())
        expected = oracle.get_submodule(name)(expected)
        torch.testing.assert_close(mine, expected)


def test_layer4_leaves_the_handed_out_layer3_features_alone() -> None:
    network = tiny().eval()
    image = torch.randn(1, 1, 32, 32, generator=rng())
    torch.testing.assert_close(network.backbone[:-1](image), network(image).features[0], rtol=0, atol=0)


def test_activations_do_not_overwrite_what_a_hook_saw() -> None:
    network = tiny().eval()
    seen: list[tuple[Tensor, Tensor]] = []
    for name, module in network.named_modules():
        if name.endswith("bn1"):  # a block's last norm is added to in place, by MONAI
            module.register_forward_hook(lambda _module, _args, out: seen.append((out, out.clone())))
    network(torch.randn(1, 1, 32, 32, generator=rng()))
    assert len(seen) == 9  # the stem and eight blocks
    for now, then in seen:
        assert bool((then < 0).any())
        torch.testing.assert_close(now, then, rtol=0, atol=0)


def test_slices_are_channels() -> None:
    network = tiny(in_channels=5).eval()
    image = torch.randn(2, 5, 32, 40, generator=rng())
    both = network(image).final
    torch.testing.assert_close(network(image[1:]).final, both[1:], atol=1e-6, rtol=1e-4)
    assert not torch.allclose(network(image.flip(1)).final, both)


def test_heads_are_twice_differentiable() -> None:
    heads = Heads([2, 3], num_classes=2, dilations=(1, 2)).double()
    names, parameters = zip(*heads.named_parameters(), strict=True)
    features = tuple(torch.randn(1, c, 3, 4, dtype=torch.float64, generator=rng(c)) for c in (2, 3))

    def loss(shallow: Tensor, deep: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        logits = functional_call(heads, dict(zip(names, values, strict=True)), ((shallow, deep), (7, 9)))
        return tuple(z.softmax(dim=1) for z in logits)

    leaves = [x.detach().requires_grad_() for x in (*features, *parameters)]
    assert gradgradcheck(loss, leaves, fast_mode=True)


@pytest.mark.parametrize("training", [True, False])
def test_whole_network_is_twice_differentiable(training: bool) -> None:
    network = tiny(num_classes=2, widths=(2, 2, 2, 2)).double().train(training)
    chosen = ("backbone.conv1.weight", "backbone.layer3.0.conv1.weight", "heads.levels.1.branches.3.weight")
    parameters = dict(network.named_parameters())
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    image = torch.randn(2, 1, 33, 40, dtype=torch.float64, generator=rng(3))

    def loss(*values: Tensor) -> Tensor:
        state = {**buffers, **dict(zip(chosen, values, strict=True))}
        levels = functional_call(network, state, (image,))
        return torch.stack([z.log_softmax(dim=1)[:, 0].mean() for z in levels.logits])

    leaves = [parameters[name].detach().clone().requires_grad_() for name in chosen]
    assert gradgradcheck(loss, leaves, fast_mode=True, atol=1e-5)


def test_double_backward_takes_channels_last_images() -> None:
    network = tiny().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.randn(2, 1, 40, 40, generator=rng()).to(memory_format=torch.channels_last)
    loss = sum(z.log_softmax(dim=1).square().mean() for z in network(image).logits)
    gradients = torch.autograd.grad(loss, list(network.parameters()), create_graph=True)
    torch.stack([g.square().sum() for g in gradients]).sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


def test_heads_with_a_direction_in_place_of_the_parameters_are_the_directional_derivative() -> None:
    heads = Heads([4, 5], num_classes=3, dilations=(1, 2)).double()
    features = tuple(torch.randn(2, c, 4, 4, dtype=torch.float64, generator=rng(c)) for c in (4, 5))
    parameters = {name: p.detach() for name, p in heads.named_parameters()}
    direction = {n: torch.randn(p.shape, dtype=p.dtype, generator=rng(1)) for n, p in parameters.items()}
    there = functional_call(heads, {n: p + direction[n] for n, p in parameters.items()}, (features, (32, 32)))
    here = functional_call(heads, parameters, (features, (32, 32)))
    tangent = tuple(z - start for z, start in zip(there, here, strict=True))  # exact: the heads are linear
    shortcut = functional_call(heads, direction, (features, (32, 32)))
    torch.testing.assert_close(shortcut, tangent)


def test_frozen_batch_norm_neither_moves_nor_learns() -> None:
    network = tiny(frozen_bn=True).train()
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    before = {name: value.clone() for name, value in network.named_buffers()}
    network(torch.randn(2, 1, 32, 32, generator=rng()))
    assert network.training
    assert not any(m.training for m in norms)
    assert not any(p.requires_grad for m in norms for p in m.parameters())
    torch.testing.assert_close(dict(network.named_buffers()), before, rtol=0, atol=0)
    assert all(p.requires_grad for n, p in network.named_parameters() if "conv" in n or "branches" in n)


def test_free_batch_norm_moves() -> None:
    network = tiny().train()
    before = {name: value.clone() for name, value in network.named_buffers()}
    network(torch.randn(2, 1, 32, 32, generator=rng()))
    assert all(not torch.equal(before[name], value) for name, value in network.named_buffers())


@pytest.mark.parametrize("frozen_bn", [True, False])
def test_parameter_groups_are_the_trainable_parameters_once_each(frozen_bn: bool) -> None:
    network = tiny(frozen_bn=frozen_bn)
    heads, backbone = list(network.head_parameters()), list(network.backbone_parameters())
    trainable = {id(p) for p in network.parameters() if p.requires_grad}
    assert {id(p) for p in heads} | {id(p) for p in backbone} == trainable
    assert len(heads) + len(backbone) == len(trainable)
    assert len(heads) == 2 * 4 * 2  # levels × dilations × (weight, bias)


def test_head_weights_start_as_published() -> None:
    network = tiny(widths=(8, 8, 64, 64), num_classes=8)
    weights = torch.cat([p.flatten() for n, p in network.heads.named_parameters() if n.endswith("weight")])
    assert weights.std().item() == pytest.approx(HEAD_STD, rel=0.02)
    assert weights.mean().abs().item() < HEAD_STD / 50
    assert all(bool((p == 0).all()) for n, p in network.heads.named_parameters() if n.endswith("bias"))


def test_a_generator_decides_the_weights_and_the_global_one_is_not_touched() -> None:
    state = torch.get_rng_state()
    one, same, other = tiny(generator=rng(1)), tiny(generator=rng(1)), tiny(generator=rng(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


@pytest.mark.parametrize("shape", [(1, 32, 32), (1, 2, 32, 32), (1, 1, 32, 32, 32), (1, 1, 31, 32), (1, 1, 64, 8)])
def test_a_wrong_image_is_named_in_one_line(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"^image of .*: (bring|pad).*$") as caught:
        tiny()(torch.zeros(shape))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 20}, r"depth 20; .*18, 34, 50, 101, 152"),
        ({"in_channels": 0}, "in_channels 0; at least 1"),
        ({"num_classes": 1}, "num_classes 1; at least 2"),
        ({"widths": (4, 4, 4)}, "four positive numbers"),
        ({"dilations": ()}, "at least one"),
        ({"dilations": (0, 2)}, "each 1 or more"),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        tiny(**changes)
