"""Floor 2: training augmentation of one street scene, MONAI dictionary transforms on ``image`` and ``label``.

``image`` is ``(3, H, W)`` float32 on the CPU, RGB in [0, 1] minus ImageNet's mean over its deviation; ``label`` is
``(1, H, W)`` classes of any type, IGNORE where nothing is known. Both come out at the training crop's ``(h, w)``.
Randomness comes in through ``set_random_state``, so a batch can be drawn again.

MONAI's crop writes a history that a batch does not have, its blur of a 512 × 1024 image takes 20 times and its noise
5 times as long as those here (two CPU threads, torch 2.13), and it has no colour jitter of normalized images.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from math import ceil, exp, log
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, RandomizableTransform, RandSimulateLowResolutiond
from monai.transforms.transform import MapTransform, Randomizable
from torch import Tensor
from torch.nn import functional

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.maths import imagenet
from prostate_uda.maths.losses import IGNORE
from prostate_uda.transforms.augmentation import SliceAugmentation
from prostate_uda.transforms.dictionary import OneDrawd
from prostate_uda.transforms.geometry import RandSliceFlipd

Range = tuple[float, float]
Size = tuple[int, int]

IMAGE, LABEL = "image", "label"
LUMA = (0.299, 0.587, 0.114)
"""Brightness of red, green and blue (ITU-R BT.601)."""
LEFT_RIGHT = 1
"""The spatial axis of ``(C, H, W)`` along which a street is nearly its own mirror image."""


@dataclass(frozen=True)
class Region:
    """A part of an image, in pixels; it may reach beyond the image."""

    top: int
    left: int
    height: int
    width: int

    def of(self, image: Tensor, *, fill: int | None) -> Tensor:
        """``(C, height, width)`` of ``(C, H, W)``; beyond it is ``fill``, or its border again where that is None."""
        down, right = image.shape[-2:]
        bottom, end = self.top + self.height, self.left + self.width
        inside = image[:, max(self.top, 0) : min(bottom, down), max(self.left, 0) : min(end, right)]
        beyond = [max(-self.left, 0), max(end - right, 0), max(-self.top, 0), max(bottom - down, 0)]
        if not any(beyond):
            return inside
        return (
            functional.pad(inside, beyond, "replicate") if fill is None else functional.pad(inside, beyond, value=fill)
        )


class RandSceneCropd(MapTransform, Randomizable):  # type: ignore[misc]  # MONAI ships no types
    """A part of the scene brought to the crop's size: image bilinear, label nearest.

    Where the part is larger than the scene, it holds all of it, and the rest is the image's border and IGNORE.

    Args:
        size: ``(h, w)`` of what comes out.
        scale: The scene is enlarged by a factor from this range, drawn by its logarithm, and the part is uniformly
            drawn along each axis. None takes the middle of the scene as it is.

    Raises:
        SettingsError: Not such a size or range.
    """

    def __init__(self, size: Size, scale: Range | None) -> None:
        super().__init__((IMAGE, LABEL))
        if min(size) < 1:
            raise SettingsError(f"crop of {tuple(size)} pixels; 1 or more each is allowed; try (96, 192)")
        _check_range("scale", scale or (1.0, 1.0))
        self.size, self.scale = size, scale
        self.drawn = (1.0, 0.5, 0.5)

    def randomize(self, data: Any = None) -> None:  # noqa: ANN401, ARG002  MONAI's contract
        """Draws the scale and the place."""
        if self.scale is not None:
            self.drawn = (_drawn_log(self.R, self.scale), self.R.uniform(), self.R.uniform())

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same entry, cropped.

        Raises:
            ShapeError: Image and label are not ``(C, H, W)`` of one size.
        """
        image, label = _plain(data[IMAGE]), _plain(data[LABEL])
        if image.ndim != 3 or label.ndim != 3 or image.shape[1:] != label.shape[1:]:
            raise ShapeError(f"image {tuple(image.shape)}, label {tuple(label.shape)}; give (3, H, W) and (1, H, W)")
        self.randomize()
        scale, down, right = self.drawn
        height, width = (max(round(side / scale), 1) for side in self.size)
        top, left = _start(image.shape[1] - height, down), _start(image.shape[2] - width, right)
        part = Region(top, left, height, width)
        image, label = part.of(image, fill=None), part.of(label, fill=IGNORE)
        return {**data, IMAGE: _resized(image, self.size), LABEL: _picked(label, self.size)}


class _RandScene(RandomizableTransform, ABC):  # type: ignore[misc]
    """One draw, done to an image or not."""

    def __call__(self, img: Tensor, randomize: bool = True) -> Tensor:
        """``(3, H, W)``, changed or not."""
        if randomize:
            self.randomize()
        image = _plain(img)
        return self.changed(image) if self._do_transform else image

    @abstractmethod
    def changed(self, image: Tensor) -> Tensor:
        """The image as drawn."""


class RandSceneColour(_RandScene):
    """Another exposure, white balance and saturation: gamma, a gain per channel, colours towards or away from grey.

    Works on [0, 1], where the results are clipped as a camera clips them, and normalizes again. Gamma and gains are
    drawn by their logarithm.

    Args:
        prob: Share of the images that are changed.
        gamma: Exponent.
        gain: Of each channel.
        saturation: 0 is grey, 1 leaves colours as they are.

    Raises:
        SettingsError: Not such ranges.
    """

    def __init__(
        self, prob: float, *, gamma: Range = (0.6, 1.6), gain: Range = (0.8, 1.25), saturation: Range = (0.4, 1.6)
    ) -> None:
        super().__init__(prob)
        for name, limits in (("gamma", gamma), ("gain", gain), ("saturation", saturation)):
            _check_range(name, limits)
        self.gamma, self.gain, self.saturation = gamma, gain, saturation
        self.drawn = (1.0, (1.0, 1.0, 1.0), 1.0)

    def randomize(self, data: Any = None) -> None:  # noqa: ANN401, ARG002  MONAI's contract
        """Draws all of it."""
        super().randomize(None)
        gamma, gain = _drawn_log(self.R, self.gamma), tuple(_drawn_log(self.R, self.gain) for _ in range(3))
        self.drawn = (gamma, (gain[0], gain[1], gain[2]), self.R.uniform(*self.saturation))

    def changed(self, image: Tensor) -> Tensor:
        """In other light."""
        gamma, gain, saturation = self.drawn
        mean, sd = (torch.tensor(values, dtype=image.dtype)[:, None] for values in (imagenet.MEAN, imagenet.SD))
        light = torch.addcmul(mean, image.flatten(1), sd).clamp_(0, 1)
        np.power(light.numpy(), np.float32(gamma), out=light.numpy())  # torch's takes twice as long on one thread
        mix = saturation * torch.eye(3) + (1 - saturation) * torch.tensor(LUMA)
        mix = (torch.tensor(gain)[:, None] * mix).to(image.dtype)
        seen = torch.addmm(-mean / sd, mix / sd, light)
        return torch.clamp(seen, -mean / sd, (1 - mean) / sd, out=seen).view_as(image)


class RandSceneBlur(_RandScene):
    """A Gaussian blur, as a lens out of focus; the border is repeated.

    Args:
        prob: Share of the images that are changed.
        sigma: Of the Gaussian in pixels.

    Raises:
        SettingsError: Not such a range.
    """

    def __init__(self, prob: float, sigma: Range = (0.4, 1.3)) -> None:
        super().__init__(prob)
        _check_range("sigma", sigma)
        self.sigma, self.drawn = sigma, sigma[0]

    def randomize(self, data: Any = None) -> None:  # noqa: ANN401, ARG002  MONAI's contract
        """Draws sigma."""
        super().randomize(None)
        self.drawn = self.R.uniform(*self.sigma)

    def changed(self, image: Tensor) -> Tensor:
        """Blurred down and across."""
        return _blurred(_blurred(image, self.drawn, 1), self.drawn, 2)


class RandSceneNoise(_RandScene):
    """White Gaussian noise.

    Args:
        prob: Share of the images that are changed.
        sd: Of the noise, in deviations of the normalized image.

    Raises:
        SettingsError: Not such a range.
    """

    def __init__(self, prob: float, sd: Range = (0.02, 0.25)) -> None:
        super().__init__(prob)
        _check_range("sd", sd)
        self.sd, self.drawn = sd, (sd[0], 0)

    def randomize(self, data: Any = None) -> None:  # noqa: ANN401, ARG002  MONAI's contract
        """Draws the deviation and the noise's seed."""
        super().randomize(None)
        self.drawn = (self.R.uniform(*self.sd), int(self.R.randint(2**31 - 1)))

    def changed(self, image: Tensor) -> Tensor:
        """With noise."""
        sd, seed = self.drawn
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed), dtype=image.dtype)
        return noise.mul_(sd).add_(image)


def no_augmentation(size: Size) -> Compose:
    """The middle of each scene."""
    return SliceAugmentation([RandSceneCropd(size, scale=None)])


def plain(size: Size) -> Compose:
    """A random crop, and left-right flips."""
    return SliceAugmentation([RandSceneCropd(size, scale=(1.0, 1.0)), _flip()])


def strong(size: Size) -> Compose:
    """A random crop at 0.75 to 1.5 times the scale, flips, low resolution, blur, colours and noise."""
    return SliceAugmentation(
        [
            RandSceneCropd(size, scale=(0.75, 1.5)),
            _flip(),
            RandSimulateLowResolutiond(IMAGE, prob=0.15, upsample_mode="bilinear", zoom_range=(0.5, 1.0)),
            OneDrawd(IMAGE, RandSceneBlur(0.3), allow_missing_keys=False),
            OneDrawd(IMAGE, RandSceneColour(0.8), allow_missing_keys=False),
            OneDrawd(IMAGE, RandSceneNoise(0.3), allow_missing_keys=False),
        ]
    )


SCENE_AUGMENTATIONS: dict[str, Callable[[Size], Compose]] = {"none": no_augmentation, "plain": plain, "strong": strong}
"""The augmentations that ``--augment`` names, of the training crop ``(h, w)``."""


def _flip() -> RandSliceFlipd:
    return RandSliceFlipd((IMAGE, LABEL), prob=0.5, spatial_axis=LEFT_RIGHT)


def _plain(image: Tensor) -> Tensor:
    return torch.as_tensor(image).as_subclass(Tensor)


def _resized(image: Tensor, size: Size) -> Tensor:
    """Bilinear, pixels as areas; channels last is faster on a CPU."""
    if tuple(image.shape[1:]) == tuple(size):
        return image
    last = image[None].contiguous(memory_format=torch.channels_last)
    return functional.interpolate(last, size, mode="bilinear", align_corners=False)[0].contiguous()


def _picked(label: Tensor, size: Size) -> Tensor:
    """The pixel in which the centre of each new one lies."""
    if tuple(label.shape[1:]) == tuple(size):
        return label
    return functional.interpolate(label[None].float(), size, mode="nearest-exact")[0].to(label.dtype)


def _blurred(image: Tensor, sigma: float, axis: int) -> Tensor:
    """Along one axis of ``(C, H, W)``: sums of shifted images, which are faster on a CPU than a convolution."""
    reach = ceil(3 * sigma)
    weights = [exp(-(step**2) / (2 * sigma**2)) for step in range(-reach, reach + 1)]
    beyond = [0, 0, reach, reach] if axis == 1 else [reach, reach]
    padded, length = functional.pad(image, beyond, "replicate"), image.shape[axis]
    total = torch.zeros_like(image)
    for shift, weight in enumerate(weights):
        total.add_(padded.narrow(axis, shift, length), alpha=weight / sum(weights))
    return total


def _start(room: int, share: float) -> int:
    """A start from 0 to ``room``, or from ``room`` to 0 where the part is larger than the scene; 0.5 is the middle."""
    return min(room, 0) + min(int(share * (abs(room) + 1)), abs(room))


def _drawn_log(rng: np.random.RandomState, limits: Range) -> float:
    return exp(rng.uniform(log(limits[0]), log(limits[1])))


def _check_range(name: str, limits: Range) -> None:
    if not 0 < limits[0] <= limits[1]:
        raise SettingsError(f"{name} from {limits[0]} to {limits[1]}; lower before upper is allowed, above 0")
