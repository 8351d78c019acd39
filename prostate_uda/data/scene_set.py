"""Floor 2: driving scenes of one domain, read when they are asked for, with a bounded memory of those seen."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prostate_uda.data.batch import Batch
from prostate_uda.data.domains.base import Case
from prostate_uda.data.scene_images import (
    check_same_size,
    read_scene,
    read_scene_label,
    resize_scene,
    resize_scene_label,
)
from prostate_uda.errors import DataError, SettingsError, ShapeError
from prostate_uda.maths import imagenet
from prostate_uda.maths.losses import IGNORE

KEEP_BYTES = 2 * 1024**3
"""Memory of a domain's sets where nothing else is said: some 1,000 images with labels of 512 by 1024."""

THREADS = 8
"""Files that are read at a time before training: Pillow lets go of the interpreter while it decodes."""


def normalize_scene(image: NDArray[np.uint8]) -> Tensor:
    """A picture as a network takes it.

    Args:
        image: ``(H, W, 3)`` uint8, RGB.

    Returns:
        ``(3, H, W)`` float32: [0, 1], minus ImageNet's mean, over its standard deviation.

    Raises:
        ShapeError: Another shape or type.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ShapeError(f"a {image.dtype} picture of shape {image.shape}; uint8 of shape (H, W, 3) is needed")
    mean, sd = (torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (imagenet.MEAN, imagenet.SD))
    channels = torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C")).float()
    return channels.div_(255).sub_(mean).div_(sd)


@dataclass(frozen=True)
class SceneReader:
    """Reads scenes in one size.

    Attributes:
        size: Height and width: images are resized bilinearly with antialiasing, labels to the nearest pixel.

    Raises:
        SettingsError: A size below 1.
    """

    size: tuple[int, int]

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise SettingsError(f"a size of {self.size}; a height and a width of at least 1 are needed")

    def __call__(self, case: Case) -> tuple[Tensor, Tensor]:
        """A case's image ``(3, H, W)`` float32, normalized, and label ``(H, W)`` uint8; IGNORE everywhere without one.

        Raises:
            DataError: A file cannot be used, or image and label have different sizes.
        """
        return normalize_scene(self.image(case)), torch.from_numpy(self.label(case))

    def image(self, case: Case) -> NDArray[np.uint8]:
        """A case's image, ``(H, W, 3)`` uint8, RGB.

        Raises:
            DataError: The file cannot be used.
        """
        return resize_scene(read_scene(case.image), self.size)

    def label(self, case: Case) -> NDArray[np.uint8]:
        """A case's label, ``(H, W)`` uint8, train ids; IGNORE everywhere without one.

        Raises:
            DataError: The file cannot be used, or has another size than its image.
        """
        if case.label is None:
            return np.full(self.size, IGNORE, dtype=np.uint8)
        check_same_size(case.image, case.label)
        return resize_scene_label(read_scene_label(case.label, case.values), self.size)


class Memory:
    """Decoded files, kept until there is no room; several threads may ask at a time.

    Those that came first stay. Epochs show every image once, so whatever is dropped for a newer one would be read again
    before that one is: keeping the first ones saves the most.

    Args:
        most: Bytes that are kept.
    """

    def __init__(self, most: int) -> None:
        self.most, self.nbytes = most, 0
        self._kept: dict[tuple[str, Path], NDArray[np.uint8]] = {}
        self._lock = Lock()

    def remembered(self, key: tuple[str, Path], read: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """What is kept of that kind and file, or read and kept while there is room."""
        with self._lock:
            found = self._kept.get(key)
        if found is not None:
            return found
        found = read()
        with self._lock:
            if key not in self._kept and self.nbytes + found.nbytes <= self.most:
                self._kept[key] = found
                self.nbytes += found.nbytes
        return found


class SceneSet:
    """Scenes of some cases, one after another; each case is one image.

    Nothing is decoded before it is asked for. Decoded images and labels are kept, as uint8, until ``keep_bytes`` are
    held, and read again beyond that. Several threads may ask at a time.

    Attributes:
        cases: The case of each image.
        reader: How they are read.
        keep_bytes: The most that is kept.

    Args:
        cases: With or without labels.
        reader: How.
        keep_bytes: Bytes of decoded images and labels to keep; 0 keeps none.

    Raises:
        DataError: There is no case.
        SettingsError: ``keep_bytes`` below 0.
    """

    def __init__(self, cases: Sequence[Case], reader: SceneReader, *, keep_bytes: int = KEEP_BYTES) -> None:
        if not cases:
            raise DataError("no case to read scenes of; give a folder with at least one image")
        if keep_bytes < 0:
            raise SettingsError(f"{keep_bytes} bytes to keep; allowed is 0, which keeps nothing, or more")
        self.cases: tuple[str, ...] = tuple(case.id for case in cases)
        self.reader, self.keep_bytes = reader, keep_bytes
        self._cases = tuple(cases)
        self._images = self._labels = Memory(keep_bytes)
        self._named: list[int] | None = None

    @classmethod
    def from_cases(
        cls,
        cases: Sequence[Case],
        reader: SceneReader,
        *,
        keep_bytes: int = KEEP_BYTES,
        progress: Callable[[int], None] | None = None,
    ) -> Self:
        """A set of these cases, once every pixel of every file has been read, so that none stops a training later.

        What there is room for is kept, and not read again.

        Args:
            cases: With or without labels.
            reader: How.
            keep_bytes: Bytes of decoded images and labels to keep.
            progress: Told how many cases are read.

        Raises:
            DataError: There is no case, a file is missing, damaged or of another kind, a label has an unknown value, or
                an image and its label differ in size.
            SettingsError: ``keep_bytes`` below 0.
        """
        made, named = cls(cases, reader, keep_bytes=keep_bytes), []
        with ThreadPoolExecutor(THREADS) as pool:
            for place, has_class in enumerate(pool.map(made._read, range(len(cases)))):
                if has_class:
                    named.append(place)
                if progress is not None:
                    progress(place + 1)
        made._named = named
        return made

    def sharing(self, cases: Sequence[Case]) -> "SceneSet":
        """A set of cases of the same domain that remembers images together with this one, and labels by itself.

        Where this set is of :meth:`from_cases`, whatever there is room for is kept by now, and both together keep
        ``keep_bytes`` at most: the labels have what the images leave.

        Args:
            cases: Such as the same ones with a round's pseudo-labels.

        Raises:
            DataError: There is no case.
        """
        made = SceneSet(cases, self.reader, keep_bytes=self.keep_bytes)
        made._images, made._labels = self._images, Memory(self.keep_bytes - self._images.nbytes)
        return made

    def __len__(self) -> int:
        """Number of images."""
        return len(self._cases)

    @property
    def kept_bytes(self) -> int:
        """Bytes of decoded images and labels that are kept now, those of sets that share the images included."""
        return sum(memory.nbytes for memory in {self._images, self._labels})

    def stack(self, index: Tensor, depth: int) -> Tensor:
        """``(B, 3, H, W)`` float32, normalized.

        Args:
            index: ``(B,)`` which images.
            depth: 1; scenes have no neighbors.

        Raises:
            DataError: A file cannot be used.
            SettingsError: Another depth.
        """
        _check_depth(depth)
        return torch.stack([normalize_scene(self._image(place)) for place in index.tolist()])

    def marks(self, index: Tensor) -> Tensor:
        """``(B, H, W)`` uint8: train ids, IGNORE where nothing is known.

        Args:
            index: ``(B,)`` which images.

        Raises:
            DataError: A file cannot be used.
        """
        return torch.stack([torch.from_numpy(self._label(place)) for place in index.tolist()])

    def foreground(self) -> list[int]:
        """The images whose label holds any class; reads every label once, unless :meth:`from_cases` has."""
        if self._named is not None:
            return list(self._named)
        return [place for place in range(len(self)) if self._has_class(place)]

    def in_order(self, batch_size: int, depth: int) -> Iterator[Batch]:
        """Every image once, as it is.

        Args:
            batch_size: Images per batch; the last one may be smaller.
            depth: 1.

        Raises:
            DataError: A file cannot be used.
            SettingsError: Another depth.
        """
        _check_depth(depth)
        for index in torch.split(torch.arange(len(self)), batch_size):
            cases = tuple(self.cases[place] for place in index.tolist())
            yield Batch(self.stack(index, depth), self.marks(index).long(), cases, index)

    def _read(self, place: int) -> bool:
        """Read a case's files; whether its label holds any class."""
        self._image(place)
        return self._has_class(place)

    def _has_class(self, place: int) -> bool:
        return self._cases[place].label is not None and bool((self._label(place) != IGNORE).any())

    def _image(self, place: int) -> NDArray[np.uint8]:
        case = self._cases[place]
        return self._images.remembered(("image", case.image), lambda: self.reader.image(case))

    def _label(self, place: int) -> NDArray[np.uint8]:
        case = self._cases[place]
        if case.label is None:
            return self.reader.label(case)
        return self._labels.remembered(("label", case.label), lambda: self.reader.label(case))


def _check_depth(depth: int) -> None:
    if depth != 1:
        raise SettingsError(f"depth {depth} of driving scenes; only 1 is allowed: a scene has no adjacent slices")
