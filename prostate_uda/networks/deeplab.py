"""Floor 2, DeepLab-v2 with two classifier heads, 2D or 2.5D (adjacent slices as channels), on MONAI's ResNet.

Source: Chen et al., "DeepLab" (TPAMI 2018) for the dilated backbone and the summed dilated heads; Tsai et
al., "Learning to adapt structured output space" (CVPR 2018) for the second head on ``layer3``. The code
published with MetaCorrection sums four dilations while training and two in evaluation (a ``return`` inside the
loop); here one module serves both, and it sums all of them. Two more departures: the max pooling rounds sizes
as torchvision does (no ``ceil_mode``), and logits are upsampled with corners not aligned.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Self

import torch
from monai.networks.nets import ResNet
from torch import Tensor, nn
from torch.nn.functional import interpolate

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.networks.levels import Levels

LAYOUTS: dict[int, tuple[str, tuple[int, int, int, int]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}
"""ResNet depth to block kind and blocks per stage (He et al., CVPR 2016, table 1)."""

EXPANSION = {"basic": 1, "bottleneck": 4}
"""Output channels of a block per unit of width."""

SMALLEST_SIDE = 32
"""Fewest pixels along H and W: below, the stride-8 map is narrower than four pixels and says nothing."""

HEAD_STD = 0.01
"""Standard deviation of the heads' initial weights, as published."""


class DilatedSum(nn.Module):
    """DeepLab-v2's classifier: parallel dilated 3×3 convolutions, summed, in training and evaluation alike.

    Args:
        in_channels: Channels F of the feature map.
        num_classes: Classes C, background included.
        dilations: One convolution per dilation, in feature pixels.
    """

    def __init__(self, in_channels: int, num_classes: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(in_channels, num_classes, kernel_size=3, padding=dilation, dilation=dilation)
            for dilation in dilations
        )

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``(B, C, h, w)`` from features ``(B, F, h, w)``; linear in the module's parameters."""
        first, *others = self.branches
        logits: Tensor = first(features)
        for branch in others:
            logits = logits + branch(features)
        return logits


class Heads(nn.Module):
    """One :class:`DilatedSum` per feature level, with the upsampling to the image's size.

    The outputs are linear in the parameters: their directional derivative along ``g`` is
    ``functional_call(heads, g, (features, size))``, which the closed-form hypergradient uses.

    Args:
        in_channels: Feature channels per level, shallow to deep.
        num_classes: Classes C, background included.
        dilations: Dilations of every level's convolutions, in feature pixels.
    """

    def __init__(self, in_channels: Sequence[int], num_classes: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(DilatedSum(channels, num_classes, dilations) for channels in in_channels)

    def forward(self, features: tuple[Tensor, ...], size: Sequence[int]) -> tuple[Tensor, ...]:
        """Classify every level's features and upsample bilinearly (corners not aligned).

        Args:
            features: One ``(B, F_l, h, w)`` tensor per level, shallow to deep.
            size: ``(H, W)`` of the image, in pixels.

        Returns:
            One ``(B, C, H, W)`` tensor of logits per level.
        """
        maps = [head(level) for head, level in zip(self.levels, features, strict=True)]
        return tuple(interpolate(m, size=list(size), mode="bilinear", align_corners=False) for m in maps)


class DeepLab(nn.Module):
    """DeepLab-v2, output stride 8, with classifier heads on ``layer3`` and ``layer4``.

    Args:
        in_channels: Image channels k: 1 for 2D, the number of adjacent slices for 2.5D, 3 for colour.
        num_classes: Classes C, background included.
        depth: ResNet depth, a key of :data:`LAYOUTS`.
        widths: Widths of the four stages; bottleneck stages put out four times as many channels.
        dilations: Dilations of the heads' convolutions, in pixels of the stride-8 feature map.
        frozen_bn: Keep batch normalisation on its running statistics also after ``train()``, and its scale
            and shift out of training: for batches of one image on ImageNet weights.
        generator: Source of the initial weights; ``None`` draws from torch's global generator, as any module.

    Attributes:
        backbone: The stages under torchvision's names (``conv1``, ``bn1``, ``layer1`` … ``layer4``).
        heads: The classifiers.

    Raises:
        SettingsError: A depth, width or count that no such network has.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        depth: int = 101,
        widths: Sequence[int] = (64, 128, 256, 512),
        dilations: Sequence[int] = (6, 12, 18, 24),
        frozen_bn: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        _check_settings(in_channels, num_classes, depth, widths, dilations)
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.depth = depth
        self.frozen_bn = frozen_bn
        with nullcontext() if generator is None else torch.random.fork_rng(devices=[]):
            self.backbone = _dilated_resnet(depth, in_channels, widths)
            expansion = EXPANSION[LAYOUTS[depth][0]]
            self.heads = Heads([width * expansion for width in widths[2:]], num_classes, dilations)
        _initialise(self, generator)
        if frozen_bn:
            for norm in self._norms():
                norm.requires_grad_(False)
        self.train()

    def forward(self, image: Tensor) -> Levels:
        """Segment a batch.

        Args:
            image: ``(B, k, H, W)`` floating point, H and W at least 32 pixels, not only multiples of 8.

        Returns:
            Logits ``(B, C, H, W)`` and features ``(B, F_l, ⌈H/8⌉, ⌈W/8⌉)`` of the layer3 and the layer4 head.

        Raises:
            ShapeError: Not four axes, another number of channels, or a side under 32 pixels.
        """
        features = self.features(image)
        return Levels(logits=self.heads(features, image.shape[-2:]), features=features)

    def features(self, image: Tensor) -> tuple[Tensor, ...]:
        """Outputs of layer3 and layer4, each ``(B, F_l, ⌈H/8⌉, ⌈W/8⌉)``, the inputs of :attr:`heads`.

        Args:
            image: ``(B, k, H, W)``, as for :meth:`forward`.

        Raises:
            ShapeError: As :meth:`forward`.
        """
        shallow = self.trunk(image)
        return shallow, self.backbone.get_submodule("layer4")(shallow)

    def trunk(self, image: Tensor) -> Tensor:
        """Output of layer3, ``(B, F, ⌈H/8⌉, ⌈W/8⌉)``: what the last stage and the first head see.

        Args:
            image: ``(B, k, H, W)``, as for :meth:`forward`.

        Raises:
            ShapeError: As :meth:`forward`.
        """
        self._check_image(image)
        activation = image
        *stages, _ = self.backbone.children()
        for stage in stages:
            activation = stage(activation)
        return activation

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Trainable parameters of the heads, whose learning rate is ten times the backbone's in the paper."""
        return (parameter for parameter in self.heads.parameters() if parameter.requires_grad)

    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        """Trainable parameters below the heads (without batch normalisation's when that is frozen)."""
        return (parameter for parameter in self.backbone.parameters() if parameter.requires_grad)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; frozen batch normalisation stays in evaluation mode."""
        super().train(mode)
        if self.frozen_bn:
            for norm in self._norms():
                norm.eval()
        return self

    def _norms(self) -> Iterator[nn.BatchNorm2d]:
        return (module for module in self.modules() if isinstance(module, nn.BatchNorm2d))

    def _check_image(self, image: Tensor) -> None:
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            return  # a traced size is a tensor: comparing it would only warn
        shape = tuple(image.shape)
        if image.ndim != 4 or shape[1] != self.in_channels:
            msg = (
                f"image of shape {shape}; this network takes (B, {self.in_channels}, H, W): "
                f"bring {self.in_channels} channel(s), or build it with other in_channels"
            )
            raise ShapeError(msg)
        if min(shape[2:]) < SMALLEST_SIDE:
            msg = f"image of {shape[2]}x{shape[3]} pixels; at least {SMALLEST_SIDE} a side: pad or resample it"
            raise ShapeError(msg)


def _check_settings(
    in_channels: int, num_classes: int, depth: int, widths: Sequence[int], dilations: Sequence[int]
) -> None:
    if depth not in LAYOUTS:
        raise SettingsError(f"depth {depth}; a ResNet has one of {sorted(LAYOUTS)}: choose one of these")
    if in_channels < 1:
        raise SettingsError(f"in_channels {in_channels}; at least 1: give the number of slices or colours")
    if num_classes < 2:
        raise SettingsError(f"num_classes {num_classes}; at least 2: count the background too")
    if len(widths) != 4 or min(widths) < 1:
        raise SettingsError(f"widths {tuple(widths)}; four positive numbers: give one per stage")
    if not dilations or min(dilations) < 1:
        raise SettingsError(f"dilations {tuple(dilations)}; at least one, each 1 or more: such as (6, 12, 18, 24)")


def _dilated_resnet(depth: int, in_channels: int, widths: Sequence[int]) -> nn.Sequential:
    """MONAI's 2D ResNet, no classifier, layer3 and layer4 dilated instead of strided: output stride 8."""
    block, layers = LAYOUTS[depth]
    resnet = ResNet(
        block=block,
        layers=list(layers),
        block_inplanes=list(widths),
        spatial_dims=2,
        n_input_channels=in_channels,
        conv1_t_size=7,
        conv1_t_stride=2,
        shortcut_type="B",
        bias_downsample=False,
        feed_forward=False,
    )
    _dilate(resnet.layer3, 2)
    _dilate(resnet.layer4, 4)
    for module in resnet.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # a hook on a norm must not see its output change afterwards
    names = ("conv1", "bn1", "act", "maxpool", "layer1", "layer2", "layer3", "layer4")
    return nn.Sequential(OrderedDict((name, resnet.get_submodule(name)) for name in names))


def _dilate(layer: nn.Module, dilation: int) -> None:
    """Trade a stage's stride for dilation, in place; the weights and their shapes do not change."""
    for module in layer.modules():
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
            if module.kernel_size == (3, 3):
                module.dilation = module.padding = (dilation, dilation)


def _initialise(network: DeepLab, generator: torch.Generator | None) -> None:
    for module in network.backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
    for module in network.heads.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0.0, HEAD_STD, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
