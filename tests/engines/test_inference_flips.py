"""Slices that are also seen mirrored: the mean of both, on the same pixels."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from prostate_uda.engines.inference import SliceStackInferer


class Sided(nn.Module):
    """Logits that say where a pixel lies: a network that knows left from right."""

    def forward(self, image: Tensor) -> Tensor:
        columns = torch.arange(image.shape[-1], dtype=image.dtype).expand_as(image[:, 0])
        return torch.stack([image[:, image.shape[1] // 2], columns, image.sum(dim=1) * columns], dim=1)


class Even(nn.Module):
    """A network that sees each pixel alone."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.stack([image[:, image.shape[1] // 2], image.square().sum(dim=1)], dim=1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([1, 3]), st.integers(1, 5))
def test_laws(seed: int, depth: int, batch: int) -> None:
    volume = torch.randn(1, 1, 6, 5, 4, generator=torch.Generator().manual_seed(seed))
    plain, flipped = (SliceStackInferer(depth, batch, flips) for flips in (False, True))
    torch.testing.assert_close(flipped(volume, Even()), plain(volume, Even()))
    seen, mirrored = plain(volume, Sided()), plain(volume.flip(2), Sided()).flip(2)
    torch.testing.assert_close(flipped(volume, Sided()), (seen + mirrored) / 2)
    torch.testing.assert_close(flipped(volume.flip(2), Sided()), flipped(volume, Sided()).flip(2))


def test_by_hand() -> None:
    """Columns of a slice are the volume's X: 0 1 2 and, mirrored, 2 1 0, are 1 1 1."""
    volume = torch.zeros(1, 1, 3, 2, 1)
    assert SliceStackInferer()(volume, Sided())[0, 1, :, 0, 0].tolist() == [0, 1, 2]
    assert SliceStackInferer(flips=True)(volume, Sided())[0, 1, :, 0, 0].tolist() == [1, 1, 1]


def test_it_is_asked_for() -> None:
    assert SliceStackInferer().flips is False
