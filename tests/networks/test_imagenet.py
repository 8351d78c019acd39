"""ImageNet weights: torchvision's names, each tensor where it belongs, nothing half loaded."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, max_pool2d

from prostate_uda.errors import CheckpointError, SettingsError
from prostate_uda.networks import DeepLab, load_imagenet_weights

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
WIDTHS = (4, 6, 8, 10)

State = dict[str, Tensor]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(depth: int = 18, in_channels: int = 1, seed: int = 9) -> DeepLab:
    return DeepLab(
        in_channels=in_channels, num_classes=3, depth=depth, widths=WIDTHS, dilations=(1, 2), generator=rng(seed)
    )


def _norm(state: State, name: str, channels: int, generator: torch.Generator) -> None:
    for part in ("weight", "bias", "running_mean", "running_var"):
        state[f"{name}.{part}"] = torch.rand(channels, generator=generator) + 0.5
    state[f"{name}.num_batches_tracked"] = torch.tensor(7)


def _conv(state: State, name: str, shape: tuple[int, int, int, int], generator: torch.Generator) -> None:
    fan_in = shape[1] * shape[2] * shape[3]
    state[f"{name}.weight"] = torch.randn(shape, generator=generator) * fan_in**-0.5


def torchvision_state(depth: int, widths: tuple[int, ...] = WIDTHS) -> State:
    """A state dict as ``torchvision.models.resnet*`` names it, written from its source and not from ours."""
    state: State = {}
    g = rng()
    bottleneck = depth >= 50
    _conv(state, "conv1", (widths[0], 3, 7, 7), g)
    _norm(state, "bn1", widths[0], g)
    came = widths[0]
    for stage, (width, blocks) in enumerate(zip(widths, BLOCKS[depth], strict=True), start=1):
        goes = width * (4 if bottleneck else 1)
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            kernels = [(came, width, 1), (width, width, 3), (width, goes, 1)] if bottleneck else [
                (came, width, 3), (width, width, 3),
            ]  # fmt: skip
            for index, (before, after, size) in enumerate(kernels, start=1):
                _conv(state, f"{name}.conv{index}", (after, before, size, size), g)
                _norm(state, f"{name}.bn{index}", after, g)
            if block == 0 and (bottleneck or stage > 1):
                _conv(state, f"{name}.downsample.0", (goes, came, 1, 1), g)
                _norm(state, f"{name}.downsample.1", goes, g)
            came = goes
    state["fc.weight"], state["fc.bias"] = torch.zeros(1000, came), torch.zeros(1000)
    return state


def reference_features(state: State, image: Tensor, depth: int) -> list[Tensor]:
    """Dilated ResNet v1.5 in evaluation mode, by functions alone: an oracle of names and wiring."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return batch_norm(x, mean, var, weight, bias)

    def layer(x: Tensor, name: str, norm_name: str, stride: int, dilation: int) -> Tensor:
        weight = state[f"{name}.weight"]
        reach = dilation if weight.shape[-1] == 3 else 1
        padding = dilation if weight.shape[-1] == 3 else 0
        return norm(conv2d(x, weight, stride=stride, padding=padding, dilation=reach), norm_name)

    out = conv2d(image, state["conv1.weight"].sum(1, keepdim=True), stride=2, padding=3)
    out = max_pool2d(norm(out, "bn1").relu(), 3, stride=2, padding=1)
    taken = []
    strided, last = (2, 3) if depth >= 50 else (1, 2)  # v1.5: the 3×3 convolution carries the stride
    for stage, blocks in enumerate(BLOCKS[depth], start=1):
        dilation = {3: 2, 4: 4}.get(stage, 1)
        for block in range(blocks):
            name, step = f"layer{stage}.{block}", 2 if stage == 2 and block == 0 else 1
            inner = out
            for index in range(1, last + 1):
                stride = step if index == strided else 1
                inner = layer(inner, f"{name}.conv{index}", f"{name}.bn{index}", stride, dilation)
                inner = inner.relu() if index < last else inner
            shortcut = f"{name}.downsample"
            if f"{shortcut}.0.weight" in state:
                out = layer(out, f"{shortcut}.0", f"{shortcut}.1", step, 1)
            out = (out + inner).relu()
        taken.append(out)
    return taken[2:]


def unchanged_after(filled: DeepLab, source: object, message: str, **options: bool) -> None:
    before = {name: value.clone() for name, value in filled.state_dict().items()}
    with pytest.raises(CheckpointError, match=message) as caught:
        load_imagenet_weights(filled, source, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    torch.testing.assert_close(dict(filled.state_dict()), before, rtol=0, atol=0)


@pytest.mark.parametrize(("depth", "entries"), [(18, 122), (50, 320)])
def test_the_local_state_dict_has_as_many_entries_as_torchvisions(depth: int, entries: int) -> None:
    assert len(torchvision_state(depth)) == entries


@pytest.mark.parametrize("depth", [18, 50])
def test_every_tensor_lands(depth: int) -> None:
    filled, state = network(depth), torchvision_state(depth)
    heads = {name: value.clone() for name, value in filled.heads.state_dict().items()}
    load_imagenet_weights(filled, state)
    landed = filled.backbone.state_dict()
    assert set(landed) == {name for name in state if not name.startswith("fc.")}
    for name, value in landed.items():
        wanted = state[name].sum(1, keepdim=True) if name == "conv1.weight" else state[name]
        torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(dict(filled.heads.state_dict()), heads, rtol=0, atol=0)


@pytest.mark.parametrize("depth", [18, 50])
def test_loaded_network_computes_what_the_weights_mean(depth: int) -> None:
    filled, state = network(depth).eval(), torchvision_state(depth)
    load_imagenet_weights(filled, state)
    image = torch.randn(2, 1, 65, 80, generator=rng())
    expected = reference_features(state, image, depth)
    assert all(float(level.std()) > 0.01 for level in expected)
    torch.testing.assert_close(list(filled.features(image)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("slices", [1, 3, 5])
def test_equal_slices_answer_like_a_grey_picture(slices: int) -> None:
    filled, state = network(in_channels=slices), torchvision_state(18)
    load_imagenet_weights(filled, state)
    grey = torch.randn(1, 1, 40, 40, generator=rng())
    mine = filled.backbone.get_submodule("conv1")(grey.expand(1, slices, 40, 40))
    picture = conv2d(grey.expand(1, 3, 40, 40), state["conv1.weight"], stride=2, padding=3)
    torch.testing.assert_close(mine, picture, rtol=1e-4, atol=1e-5)


def test_colours_can_be_kept() -> None:
    filled, state = network(in_channels=3), torchvision_state(18)
    load_imagenet_weights(filled, state, keep_colours=True)
    torch.testing.assert_close(filled.backbone.state_dict()["conv1.weight"], state["conv1.weight"])
    with pytest.raises(SettingsError, match="keep_colours with in_channels 1"):
        load_imagenet_weights(network(), state, keep_colours=True)


@pytest.mark.parametrize("nested", [True, False])
def test_a_file_with_prefix_and_without_counters_is_read(tmp_path: Path, nested: bool) -> None:
    state = {
        f"module.{name}": value
        for name, value in torchvision_state(18).items()
        if not name.endswith("num_batches_tracked")
    }
    path = tmp_path / "resnet18.pth"
    torch.save({"state_dict": state, "epoch": 3} if nested else state, path)
    filled = network()
    load_imagenet_weights(filled, path)
    landed = filled.backbone.state_dict()
    torch.testing.assert_close(landed["layer4.1.conv2.weight"], state["module.layer4.1.conv2.weight"])
    torch.testing.assert_close(landed["bn1.running_var"], state["module.bn1.running_var"])


def test_another_depth_changes_nothing() -> None:
    expected = r"^state dict: .*torchvision ResNet-50 state dict.*$"
    unchanged_after(network(50), torchvision_state(18), expected)
    unchanged_after(network(18), torchvision_state(50), "have no place; expected a torchvision ResNet-18")


def test_the_last_tensor_misshapen_changes_nothing() -> None:
    state = torchvision_state(18)
    state["layer4.1.bn2.running_var"] = torch.ones(3)
    unchanged_after(network(), state, r"'layer4.1.bn2.running_var' has shape \(3,\) instead of \(10,\)")


def test_other_widths_change_nothing() -> None:
    unchanged_after(network(), torchvision_state(18, (8, 8, 8, 10)), "has shape .* instead of")


def test_missing_unknown_and_broken_entries_change_nothing() -> None:
    lacking = torchvision_state(18)
    del lacking["layer2.0.downsample.0.weight"]
    unchanged_after(network(), lacking, "lacks 'layer2.0.downsample.0.weight' and 0 more")
    unchanged_after(network(), {}, "lacks 'conv1.weight' and ")
    infinite = torchvision_state(18)
    infinite["layer4.1.bn2.bias"][0] = torch.nan
    unchanged_after(network(), infinite, "'layer4.1.bn2.bias' holds NaN or infinity")
    unchanged_after(network(), {**torchvision_state(18), "bn1.bias": [1.0]}, "'bn1.bias' is a list")
    grey = torchvision_state(18)
    grey["conv1.weight"] = grey["conv1.weight"][:, :1]
    unchanged_after(network(), grey, r"'conv1.weight' has shape \(4, 1, 7, 7\)")


def test_unreadable_files_change_nothing(tmp_path: Path) -> None:
    garbage, empty, number = tmp_path / "garbage.pth", tmp_path / "empty.pth", tmp_path / "number.pth"
    garbage.write_bytes(b"not a checkpoint at all")
    empty.write_bytes(b"")
    torch.save(torch.ones(3), number)
    torch.save(Path("code"), tmp_path / "code.pth")
    torch.save(torchvision_state(18), tmp_path / "cut.pth")
    whole = (tmp_path / "cut.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    for path in (garbage, empty, tmp_path / "absent.pth", tmp_path / "code.pth", tmp_path / "cut.pth", tmp_path):
        unchanged_after(network(), path, r"cannot be read as weights")
    unchanged_after(network(), number, "holds a Tensor; a dictionary of tensors is allowed")
