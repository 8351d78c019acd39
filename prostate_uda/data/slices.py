"""Floor 2: axial slices of many cases in memory, and endless batches of them.

A slice is ``(H, W)`` with rows running anterior to posterior and columns right to left, as it is looked at; it is the
working grid's ``(X, Y)`` transposed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol
from zlib import crc32

import numpy as np
import torch
from monai.transforms import Compose
from torch import Tensor

from prostate_uda.data.batch import Batch
from prostate_uda.data.domains.base import Case
from prostate_uda.data.reading import CaseReader
from prostate_uda.errors import DataError, SettingsError
from prostate_uda.maths.stacks import adjacent_slices


class ImageSet(Protocol):
    """What training draws from: slices of volumes in memory, or pictures that are read when they are asked for."""

    @property
    def cases(self) -> tuple[str, ...]:
        """The case that each image is of."""

    def __len__(self) -> int:
        """How many images there are."""

    def stack(self, index: Tensor, depth: int) -> Tensor:
        """``(B, k, H, W)`` float32, the network's channels: adjacent slices, or colours."""

    def marks(self, index: Tensor) -> Tensor:
        """``(B, H, W)`` uint8 classes, IGNORE where nothing is known."""

    def foreground(self) -> list[int]:
        """The images whose label holds a class that is looked for."""

    def in_order(self, batch_size: int, depth: int) -> Iterator[Batch]:
        """Every image once, as it is."""


@dataclass(frozen=True)
class SliceSet:
    """All slices of some cases, one after another.

    Attributes:
        images: ``(N, H, W)`` float32, normalized.
        labels: ``(N, H, W)`` uint8: 0 background, 1 PZ, 2 TZ, IGNORE where nothing is known.
        first: ``(N,)`` index of the first slice of each slice's case.
        last: ``(N,)`` index of its last slice.
        cases: The case of each slice.
    """

    images: Tensor
    labels: Tensor
    first: Tensor
    last: Tensor
    cases: tuple[str, ...]

    def __len__(self) -> int:
        """N."""
        return len(self.images)

    @classmethod
    def from_cases(
        cls,
        cases: Sequence[Case],
        reader: CaseReader,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> "SliceSet":
        """Read and preprocess every case.

        Args:
            cases: With or without labels.
            reader: How.
            progress: Told how many cases are read.

        Raises:
            DataError: there is no case, or a file cannot be used.
        """
        if not cases:
            raise DataError("no case to cut into slices; give a folder with at least one scan")
        images, marks, sizes = [], [], []
        for done, (image, mark) in enumerate(reader.each(cases), start=1):
            images.append(image)
            marks.append(mark)
            sizes.append(len(image))
            if progress is not None:
                progress(done)
        ends = torch.tensor(sizes).cumsum(0)
        counts = torch.tensor(sizes)
        return cls(
            torch.cat(images),
            torch.cat(marks),
            (ends - counts).repeat_interleave(counts),
            (ends - 1).repeat_interleave(counts),
            tuple(case.id for case, size in zip(cases, sizes, strict=True) for _ in range(size)),
        )

    def foreground(self) -> list[int]:
        """The slices whose label holds PZ or TZ."""
        gland = ((self.labels == 1) | (self.labels == 2)).flatten(1).any(dim=1)
        return [int(place) for place in torch.nonzero(gland).flatten()]

    def stack(self, index: Tensor, depth: int) -> Tensor:
        """``(B, k, H, W)``: each slice between its neighbours of the same case."""
        return self.images[adjacent_slices(index, depth, self.first[index], self.last[index])]

    def marks(self, index: Tensor) -> Tensor:
        """``(B, H, W)`` uint8, the labels of these slices."""
        return self.labels[index]

    def in_order(self, batch_size: int, depth: int) -> Iterator[Batch]:
        """Every slice once, as it is.

        Args:
            batch_size: Slices per batch; the last one may be smaller.
            depth: Adjacent slices per image, odd.
        """
        for index in torch.split(torch.arange(len(self)), batch_size):
            cases = tuple(self.cases[i] for i in index.tolist())
            yield Batch(self.stack(index, depth), self.labels[index].long(), cases, index)


class BatchStream:
    """Endless augmented batches; the batch of step k depends on nothing but the seed, the name and k.

    Args:
        slices: Where they come from.
        batch_size: Slices per batch.
        depth: Adjacent slices per image, odd.
        seed: Of order and augmentation.
        name: Keeps the streams of one run apart.
        augment: MONAI transform of ``{"image": (k, H, W), "label": (1, H, W)}``.
        foreground_share: Share of slices drawn from those with gland in their label; 0 draws from all alike.

    Raises:
        SettingsError: A number out of its range.
        DataError: There is no slice, or none with gland where ``foreground_share`` asks for some.
    """

    def __init__(
        self,
        slices: ImageSet,
        *,
        batch_size: int,
        depth: int,
        seed: int,
        name: str,
        augment: Compose,
        foreground_share: float = 0.0,
    ) -> None:
        if batch_size < 1 or depth < 1 or depth % 2 == 0:
            raise SettingsError(f"batch size {batch_size}, depth {depth}; allowed are ≥ 1 and an odd depth")
        self.slices, self.batch_size, self.depth = slices, batch_size, depth
        self.key = (seed, crc32(name.encode()))
        self.augment = augment
        self.foreground_share = foreground_share
        if not 0 <= foreground_share <= 1:
            raise SettingsError(f"foreground share {foreground_share}; allowed is 0 to 1")
        gland = slices.foreground() if foreground_share else []
        if not len(slices) or (foreground_share and not gland):
            raise DataError(f"stream {name!r} has no slice{' with gland' if foreground_share else ''} to draw from")
        self.pools = (list(range(len(slices))), gland)

    def at(self, step: int) -> Batch:
        """The batch of any step: every slice once per epoch, in an order drawn for the epoch.

        With a foreground share, slices with gland and all slices are two pools with epochs of their own.
        """
        index = torch.tensor(self._drawn(step))
        images, labels = self.slices.stack(index, self.depth), self.slices.marks(index).float()
        seeds = np.random.default_rng([*self.key, 1, step]).integers(2**31, size=self.batch_size)
        drawn = []
        for image, label, seed in zip(images, labels, seeds, strict=True):
            self.augment.set_random_state(seed=int(seed))
            drawn.append(self.augment({"image": image, "label": label[None]}))
        return Batch(
            image=torch.stack([torch.as_tensor(one["image"]) for one in drawn]).as_subclass(Tensor),
            label=torch.stack([torch.as_tensor(one["label"])[0] for one in drawn]).as_subclass(Tensor).long(),
            cases=tuple(self.slices.cases[i] for i in index.tolist()),
            index=index,
        )

    def _drawn(self, step: int) -> list[int]:
        """The slices of a step, ``batch_size`` of them."""
        before, after = (int(at * self.batch_size * self.foreground_share) for at in (step, step + 1))
        start, end = step * self.batch_size, (step + 1) * self.batch_size
        return self._places(0, start - before, end - after) + self._places(1, before, after)

    def _places(self, pool: int, start: int, end: int) -> list[int]:
        """What stands at these places of a pool's endless shuffled row."""
        members = self.pools[pool]
        epochs = {place // len(members) for place in range(start, end)}
        orders = {
            epoch: np.random.default_rng([*self.key, 2 * pool, epoch]).permutation(len(members)) for epoch in epochs
        }
        return [members[orders[place // len(members)][place % len(members)]] for place in range(start, end)]
