"""Floor 2: what the random dictionary transforms share: one draw, done to every key."""

from collections.abc import Hashable, Mapping
from typing import Any, Self

import numpy as np
from monai.config import KeysCollection
from monai.transforms import RandomizableTransform
from monai.transforms.transform import MapTransform, Randomizable


class OneDrawd(MapTransform, Randomizable):  # type: ignore[misc]  # MONAI ships no types
    """A random array transform on several keys of an entry, drawn once for all of them.

    Args:
        keys: Of the images; labels are none of them.
        transform: The array transform; called with ``randomize=False`` after the draw.
        allow_missing_keys: Whether an entry may lack a key.
    """

    def __init__(self, keys: KeysCollection, transform: RandomizableTransform, allow_missing_keys: bool) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.transform = transform

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> Self:
        """Of the one draw."""
        self.transform.set_random_state(seed, state)
        return self

    def randomize(self, data: Any = None) -> None:  # noqa: ANN401  MONAI's contract
        """Draws once for all keys."""
        self.transform.randomize(data)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same entry with its images transformed."""
        self.randomize()
        return {**data, **{key: self.transform(data[key], randomize=False) for key in self.key_iterator(dict(data))}}
