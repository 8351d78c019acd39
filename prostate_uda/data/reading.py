"""Floor 2: cases from files to slices on the working grid, each case read and preprocessed once, several at a time."""

import hashlib
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from monai.transforms.transform import MapTransform, Transform
from numpy.typing import NDArray
from torch import Tensor

from prostate_uda.data.cache import Store, content_hash
from prostate_uda.data.domains.base import Case
from prostate_uda.data.labels import ZONES
from prostate_uda.data.preprocessing import IMAGE, LABEL, LABEL_VALUES
from prostate_uda.data.volumes import Volume, check_same_grid, read_label
from prostate_uda.errors import DataError
from prostate_uda.maths.losses import IGNORE

WORKERS = 2
"""Cases read at a time: decompression and SimpleITK leave Python's lock, the rest does not."""


@dataclass(frozen=True)
class CaseReader:
    """Reads cases through a preprocessing.

    Attributes:
        preprocessing: From ``image`` (and ``label``) paths to ``(1, X, Y, Z)`` on the working grid.
        description: Names the preprocessing with all its settings; a part of the key of what is kept.
        store: Where read cases are kept, or None.
        workers: Cases read at a time.
    """

    preprocessing: Compose
    description: str = ""
    store: Store | None = None
    workers: int = WORKERS

    def __call__(self, case: Case) -> tuple[Tensor, Tensor]:
        """A case's slices and labels, ``(Z, H, W)`` float32 and uint8; IGNORE everywhere without a label.

        Raises:
            DataError: a file cannot be used.
        """
        key = () if self.store is None else (self.description, *_content(case))
        found = None if self.store is None else self.store.get(*key)
        if found is None:
            found = self._read(case)
            if self.store is not None:
                self.store.put(found, *key)
        return found["image"], found["label"]

    def each(self, cases: Sequence[Case]) -> Iterator[tuple[Tensor, Tensor]]:
        """The cases in their order, several read ahead."""
        pool = ThreadPoolExecutor(self.workers)
        try:
            yield from pool.map(self, cases)
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, case: Case) -> dict[str, Tensor]:
        entry: dict[str, object] = {IMAGE: case.image}
        if case.label is not None:
            entry |= {LABEL: case.label, LABEL_VALUES: case.values}
        data = self.preprocessing(entry)
        image = data[IMAGE].as_tensor()[0].permute(2, 1, 0).contiguous()
        if case.label is None:
            return {IMAGE: image, LABEL: torch.full_like(image, IGNORE, dtype=torch.uint8)}
        return {IMAGE: image, LABEL: data[LABEL].as_tensor()[0].permute(2, 1, 0).to(torch.uint8).contiguous()}


def _content(case: Case) -> tuple[str, ...]:
    if case.label is None:
        return (content_hash(case.image),)
    return content_hash(case.image), content_hash(case.label), repr(sorted(case.values.items()))


def read_truth(case: Case, volume: Volume) -> NDArray[np.uint8] | None:
    """The case's label ``(X, Y, Z)`` on the grid of its image, or None where it has none.

    Args:
        case: Labelled or not.
        volume: Its image.

    Raises:
        DataError: The label cannot be used, or lies on another grid.
    """
    if case.label is None:
        return None
    label = read_label(case.label, case.values)
    check_same_grid(label, volume)
    truth: NDArray[np.uint8] = label.array
    return truth


def zone_amounts(case: Case) -> Tensor:
    """``(3,)`` float64 mL of background, PZ and TZ in a case's label.

    Args:
        case: Labelled.

    Raises:
        DataError: The label cannot be used, or there is none.
    """
    if case.label is None:
        raise DataError(f"{case.id} has no label to measure zones in; give a labelled case")
    label = read_label(case.label, case.values)
    counts = torch.from_numpy(label.array).flatten().long().bincount(minlength=len(ZONES))
    return counts[: len(ZONES)].double() * (math.prod(label.grid.spacing) / 1000)


class Remembered(MapTransform):  # type: ignore[misc]  # MONAI ships no types
    """A slow intensity transform of ``image`` whose results are kept, by the content of what comes in.

    Args:
        transform: Changes the values of ``image`` and nothing else.
        store: Where results are kept.
        description: Names the transform with all its settings.
    """

    def __init__(self, transform: Transform, store: Store, description: str) -> None:
        super().__init__(IMAGE)
        self.transform, self.store, self.description = transform, store, description

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """As the transform's."""
        image: MetaTensor = data[IMAGE]
        key = ("normalized", self.description, _tensor_hash(image.as_tensor()), repr(image.affine.tolist()))
        found = self.store.get(*key)
        if found is None:
            out = dict(self.transform(data))
            self.store.put({IMAGE: out[IMAGE].as_tensor().contiguous()}, *key)
            return out
        return {**data, IMAGE: MetaTensor(found[IMAGE]).copy_meta_from(image)}


def _tensor_hash(tensor: Tensor) -> str:
    plain = tensor.contiguous().numpy()
    return hashlib.sha256(repr((plain.shape, plain.dtype)).encode() + plain.tobytes()).hexdigest()
