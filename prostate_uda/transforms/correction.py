"""Floor 2: intensity transforms that can tell what they will do before they do it, and so undo it."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any, TypeAlias

from monai.config import KeysCollection
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform, Transform
from monai.utils import TraceKeys
from torch import Tensor

from prostate_uda.errors import ShapeError
from prostate_uda.transforms.body import like, plain

Fitted: TypeAlias = dict[str, Tensor]


class Correction(Transform, ABC):  # type: ignore[misc]  # MONAI ships no types
    """An array transform in two steps: estimate from the image alone, then apply.

    Images are ``(C, X, Y, Z)`` or ``(B, C, X, Y, Z)``; every volume is treated by itself. A MetaTensor stays one and
    keeps its affine, its meta data and its operations; the result is float32.
    """

    @abstractmethod
    def fit(self, image: Tensor) -> Fitted:
        """What :meth:`apply` and :meth:`undo` need to know of this image."""

    @abstractmethod
    def apply(self, image: Tensor, fitted: Fitted) -> Tensor:
        """The corrected image."""

    @abstractmethod
    def undo(self, image: Tensor, fitted: Fitted) -> Tensor:
        """The image before :meth:`apply`."""

    def __call__(self, image: Tensor) -> Tensor:
        """The corrected image, of the input's shape and kind."""
        return self.apply(image, self.fit(image))


class FieldCorrection(Correction):
    """A correction that divides by a positive field."""

    @abstractmethod
    def field(self, image: Tensor) -> Tensor:
        """The field, plain float32 of the image's shape, positive everywhere."""

    def fit(self, image: Tensor) -> Fitted:
        """The field."""
        return {"field": self.field(image)}

    def apply(self, image: Tensor, fitted: Fitted) -> Tensor:
        """Divide by the field."""
        return like(plain(image) / _checked(fitted["field"], image), image)

    def undo(self, image: Tensor, fitted: Fitted) -> Tensor:
        """Multiply by the field.

        Raises:
            ShapeError: The image no longer has the field's shape.
        """
        return like(plain(image) * _checked(fitted["field"], image), image)


def _checked(field: Tensor, image: Tensor) -> Tensor:
    if field.shape != image.shape:
        came, expected = tuple(image.shape), tuple(field.shape)
        raise ShapeError(f"an image of shape {came} and a field of shape {expected}; undo what changed the shape first")
    return field.to(image.device)


class Correctiond(MapTransform, InvertibleTransform):  # type: ignore[misc]  # MONAI ships no types
    """Dictionary version of a :class:`Correction`.

    Args:
        correction: The array transform.
        keys: Of the images.
        invertible: Record what ``inverse`` needs in ``applied_operations``. Leave it off wherever the inverse of the
            pipeline is used on predictions: those go back through space, and no gain is theirs to be multiplied by.
        allow_missing_keys: Pass over entries without a key.
    """

    def __init__(
        self, correction: Correction, keys: KeysCollection, *, invertible: bool, allow_missing_keys: bool
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.correction = correction
        self.invertible = invertible

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same entry with corrected images."""
        out = dict(data)
        for key in self.key_iterator(out):
            fitted = self.correction.fit(out[key])
            out[key] = self.correction.apply(out[key], fitted)
            if self.invertible:
                self.push_transform(out[key], extra_info=fitted)
        return out

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The entry before the correction; as it is where nothing was recorded.

        Raises:
            ShapeError: The image does not have the shape it had after the correction.
        """
        out = dict(data)
        if self.invertible:
            for key in self.key_iterator(out):
                fitted = self.pop_transform(out[key])[TraceKeys.EXTRA_INFO]
                out[key] = self.correction.undo(out[key], fitted)
        return out
