"""Floor 2: the target's look by Fourier domain adaptation (FDA; Yang & Soatto, CVPR 2020).

The low-frequency amplitudes of every axial plane are exchanged for those of a reference; phases, and with them the
anatomy, stay. A bank holds low-frequency blocks alone, from which no patient can be seen.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform, Transform
from torch import Tensor

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.maths.fourier import low_frequency_amplitude, swap_amplitude
from prostate_uda.transforms.dictionary import OneDrawd
from prostate_uda.transforms.planes import InPlane, from_planes, to_planes

Block = Tensor | Sequence[Sequence[float]]
"""``(2r + 1, c + 1)`` amplitudes, a tensor or what JSON makes of one."""


def amplitude_bank(image: Tensor, beta: float, in_plane: InPlane = None) -> Tensor:
    """The blocks of an image's planes; ``torch.cat`` makes one bank of many images'.

    Args:
        image: ``(k, H, W)`` or ``(1, X, Y, Z)``, normalized as the images that shall look like it.
        beta: Share of the image's side that the blocks reach to.
        in_plane: Axes of rows and columns; see :mod:`~prostate_uda.transforms.planes`.

    Returns:
        ``(n, 2r + 1, c + 1)``.

    Raises:
        SettingsError: beta out of its range.
        ShapeError: the image is neither.
    """
    return low_frequency_amplitude(to_planes(image, in_plane), beta)


class FourierAmplitudeSwap(Transform):  # type: ignore[misc]  # MONAI ships no types
    """Exchanges the low-frequency amplitude of every axial plane for a reference's.

    Args:
        amplitude: The reference's block ``(2r + 1, c + 1)``, of images normalized alike; from :func:`amplitude_bank`.
        beta: Share of the image's side that is exchanged, to each side of zero.
        strength: λ, 0 (nothing) to 1 (the reference's amplitude).
        in_plane: Axes of rows and columns; by default (1, 2) of ``(k, H, W)``, (2, 1) of ``(1, X, Y, Z)``.
    """

    def __init__(self, amplitude: Block, beta: float = 0.05, strength: float = 1.0, in_plane: InPlane = None) -> None:
        self.amplitude = torch.as_tensor(amplitude, dtype=torch.float32)
        self.beta, self.strength, self.in_plane = beta, strength, in_plane

    def __call__(self, img: Tensor) -> Tensor:
        """The image with the reference's look.

        Args:
            img: ``(k, H, W)`` or ``(1, X, Y, Z)``.

        Returns:
            float32 of the same shape; a MetaTensor keeps its affine and its history.

        Raises:
            SettingsError: beta or strength out of its range.
            ShapeError: no such image, or a block that does not reach as far as beta.
        """
        planes = to_planes(img, self.in_plane)
        swapped = swap_amplitude(planes, self.amplitude, self.beta, self.strength)
        return from_planes(swapped, img, self.in_plane)


class RandFourierAmplitudeSwap(RandomizableTransform):  # type: ignore[misc]
    """The exchange with a reference, a reach and a strength drawn at random.

    Args:
        bank: ``(n, 2r + 1, c + 1)`` blocks, from :func:`amplitude_bank`.
        prob: Share of the images that are changed.
        beta: Range of the share of the image's side.
        strength: Range of λ.
        in_plane: As :class:`FourierAmplitudeSwap`.

    Attributes:
        swap: What was drawn last, a :class:`FourierAmplitudeSwap`; ``None`` where nothing is done.

    Raises:
        ShapeError: the bank is empty or no row of blocks.
        SettingsError: a range out of its range.
    """

    def __init__(
        self,
        bank: Tensor | Sequence[Block],
        prob: float = 0.5,
        beta: tuple[float, float] = (0.01, 0.05),
        strength: tuple[float, float] = (0.5, 1.0),
        in_plane: InPlane = None,
    ) -> None:
        super().__init__(prob)
        self.bank = torch.as_tensor(bank, dtype=torch.float32)
        if self.bank.ndim != 3 or not len(self.bank):
            raise ShapeError(f"bank of shape {tuple(self.bank.shape)}; allowed is (n, 2r + 1, c + 1) with n ≥ 1")
        if not (0 <= beta[0] <= beta[1] < 0.5 and 0 <= strength[0] <= strength[1] <= 1):
            raise SettingsError(
                f"beta {beta}, strength {strength}; allowed are ranges within 0 to under 0.5 and within 0 to 1"
            )
        self.beta, self.strength, self.in_plane = beta, strength, in_plane
        self.swap: FourierAmplitudeSwap | None = None

    def randomize(self, data: Any = None) -> None:  # noqa: ANN401  MONAI's contract
        """Draws whether anything is done, the reference, the reach and the strength."""
        super().randomize(data)
        self.swap = None
        if self._do_transform:
            reference, beta, strength = self.R.randint(len(self.bank)), self.R.uniform(*self.beta), self.R.uniform()
            strength = self.strength[0] + (self.strength[1] - self.strength[0]) * strength
            self.swap = FourierAmplitudeSwap(self.bank[reference], beta, strength, self.in_plane)

    def __call__(self, img: Tensor, randomize: bool = True) -> Tensor:
        """As :class:`FourierAmplitudeSwap`.

        Args:
            img: ``(k, H, W)`` or ``(1, X, Y, Z)``.
            randomize: Draw first; otherwise what was drawn last is done again.
        """
        if randomize:
            self.randomize()
        return img if self.swap is None else self.swap(img)


class FourierAmplitudeSwapd(MapTransform):  # type: ignore[misc]
    """Dictionary version of :class:`FourierAmplitudeSwap`; labels are no keys of it.

    Args:
        keys: Of the images.
        amplitude: As the array version.
        beta: As the array version.
        strength: As the array version.
        in_plane: As the array version.
        allow_missing_keys: Whether an entry may lack a key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        amplitude: Block,
        beta: float = 0.05,
        strength: float = 1.0,
        in_plane: InPlane = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.swap = FourierAmplitudeSwap(amplitude, beta, strength, in_plane)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same entry with the reference's look."""
        return {**data, **{key: self.swap(data[key]) for key in self.key_iterator(dict(data))}}


class RandFourierAmplitudeSwapd(OneDrawd):
    """Dictionary version of :class:`RandFourierAmplitudeSwap`: one draw for all keys; labels are no keys of it.

    Args:
        keys: Of the images.
        bank: As the array version.
        prob: As the array version.
        beta: As the array version.
        strength: As the array version.
        in_plane: As the array version.
        allow_missing_keys: Whether an entry may lack a key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        bank: Tensor | Sequence[Block],
        prob: float = 0.5,
        beta: tuple[float, float] = (0.01, 0.05),
        strength: tuple[float, float] = (0.5, 1.0),
        in_plane: InPlane = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, RandFourierAmplitudeSwap(bank, prob, beta, strength, in_plane), allow_missing_keys)
