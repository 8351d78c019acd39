"""Floor 4: one scan as a clinic has it: probabilities, labels and doubt on its own grid, the gland never cut unseen."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from monai.transforms import Compose
from numpy.typing import NDArray
from torch import Tensor

from prostate_uda.data.dicom import Series
from prostate_uda.data.preprocessing import IMAGE, Preprocessing, to_native
from prostate_uda.data.volumes import Volume, read_image
from prostate_uda.engines.evaluation import Segmenter
from prostate_uda.engines.windows import (
    Windows,
    gland_centre,
    is_cut,
    least_voxels,
    whole_field,
    window_about,
    windows_of,
)
from prostate_uda.errors import SettingsError
from prostate_uda.maths.entropy import normalized_entropy
from prostate_uda.maths.uncertainty import disagreement
from prostate_uda.networks import AllLevels, FinalLogits
from prostate_uda.transforms import LabelZones

Doubt = Literal["entropy", "levels"]
Place = Literal["centred", "moved", "whole field"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What was found in a scan.

    Attributes:
        volume: The scan as stored.
        probabilities: ``(3, X, Y, Z)`` float32 on its grid; 0 outside of what the network saw.
        uncertainty: ``(X, Y, Z)`` float32 from 0 (sure) to 1.
        label: ``(X, Y, Z)`` uint8: 0 background, 1 PZ, 2 TZ.
        place: Where the network looked: the square about the scan's middle, one about the gland, or the whole field.
        cut: Whether the gland reaches the edge of what the network saw where the scan goes on.
        seen: ``(X, Y, Z)`` normalized image of the square about the scan's middle, on the working grid, wherever the
            network looked: training scans are such squares.
    """

    volume: Volume
    probabilities: Tensor
    uncertainty: NDArray[np.float32]
    label: NDArray[np.uint8]
    place: Place
    cut: bool
    seen: Tensor


@dataclass(frozen=True, eq=False)
class _Look:
    """One pass over one part of the scan."""

    data: dict[Hashable, Any]
    way_back: Compose
    logits: Tensor
    place: Place
    cut: bool
    found: int
    seen: Tensor


@dataclass(frozen=True)
class ScanSegmenter(Segmenter):
    """A :class:`Segmenter` that follows the gland, says how sure it is, and keeps to anatomy where it is told to.

    Attributes:
        follow: Whether the square is moved, see :mod:`prostate_uda.engines.windows`.
        doubt: Of what the uncertainty is: the entropy of the classes, or how far the network's levels disagree.
        rules: From probabilities to labels.
        precision: ``float32``, or ``bf16``: convolutions under autocast.

    Raises:
        SettingsError: levels are to be compared, and the network has no more than one.
    """

    follow: bool = True
    doubt: Doubt = "entropy"
    rules: LabelZones = field(default_factory=LabelZones)
    precision: Literal["float32", "bf16"] = "float32"

    def __post_init__(self) -> None:
        if self.doubt == "levels" and not isinstance(self.network, FinalLogits):
            kind = type(self.network).__name__
            raise SettingsError(
                f"uncertainty 'levels' of a network without levels ({kind}); entropy is allowed; choose it, or give a "
                "bundle whose network has levels"
            )

    def predict(self, image: Path | Series | Volume) -> Prediction:
        """Segment one scan.

        Raises:
            DataError: it cannot be used.
        """
        volume = image if isinstance(image, Volume) else read_image(image, self.channel)
        look = self._look(volume)
        probabilities, uncertainty = self._classes(look.logits)
        stacked = torch.cat((probabilities, uncertainty[None]))
        native = to_native(stacked, look.way_back, look.data)
        label = self.rules(native[:-1])[0].numpy()
        doubt = native[-1].clamp(0, 1).numpy()
        return Prediction(volume, native[:-1], doubt, label, look.place, look.cut and look.found > 0, look.seen)

    def probabilities(self, image: Path | Series | Volume) -> Tensor:
        """Class probabilities ``(3, X, Y, Z)`` on the image's own grid."""
        return self.predict(image).probabilities

    def __call__(self, image: Path | Series | Volume) -> tuple[Volume, NDArray[np.uint8]]:
        """The image as stored, and its labels ``(X, Y, Z)`` on the same grid."""
        found = self.predict(image)
        return found.volume, found.label

    def logits(self, volume: Tensor) -> Tensor:
        """As :meth:`Segmenter.logits`; where levels are compared, those of all levels one after another."""
        network = AllLevels(cast("FinalLogits", self.network).network) if self.doubt == "levels" else self.network
        plain = Segmenter(network, self.preprocessing, self.inferer, self.device, self.channel)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            return plain.logits(volume)

    def _classes(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities ``(3, X, Y, Z)`` and uncertainty ``(X, Y, Z)``."""
        levels = torch.split(logits, 3)
        final = levels[-1]
        unsure = disagreement(levels) if len(levels) > 1 else normalized_entropy(final[None])[0]
        return final.softmax(dim=0), unsure

    def _look(self, volume: Volume) -> _Look:
        windows = windows_of(self.preprocessing)
        if windows is None or not self.follow:
            data = self.preprocessing({IMAGE: volume})
            seen = data[IMAGE].as_tensor()[0]
            return _Look(data, self.preprocessing, self.logits(seen), "centred", cut=False, found=0, seen=seen)
        scan = windows.field({IMAGE: volume})
        shape = tuple(scan[IMAGE].shape[1:])
        first = self._at(windows, Compose([windows.centred]), scan, "centred")
        enough = first.found >= least_voxels(scan[IMAGE].affine) or max(shape[:2]) <= windows.size
        if enough and not first.cut:
            return first
        return replace(self._elsewhere(windows, scan, first), seen=first.seen)

    def _elsewhere(self, windows: Windows, scan: Mapping[Hashable, Any], first: _Look) -> _Look:
        """A look at the whole field and one about the gland there, or the first where those find no more."""
        shape = tuple(scan[IMAGE].shape[1:])
        whole = self._at(windows, Compose([whole_field()]), scan, "whole field")
        centre = gland_centre(self._classes(whole.logits)[0])
        if centre is None or (whole.found <= first.found and not first.cut):
            return first
        x, y = (c - (p - n) // 2 for c, p, n in zip(centre, whole.data[IMAGE].shape[1:3], shape[:2], strict=True))
        moved = self._at(windows, window_about(windows, (x, y), shape), scan, "moved")
        return whole if moved.cut else moved

    def _at(self, windows: Windows, window: Compose, scan: Mapping[Hashable, Any], place: Place) -> _Look:
        """One look through a window of the scan's field."""
        data = window(dict(scan))
        seen = data[IMAGE].as_tensor()[0]
        logits = self.logits(seen)
        label = self._classes(logits)[0].argmax(dim=0)
        last = window.transforms[-1]
        start = (last.cropper.slices[0].start, last.cropper.slices[1].start) if place == "moved" else None
        cut = is_cut(label, tuple(scan[IMAGE].shape[1:]), start)
        way_back = Preprocessing([*windows.field.transforms, *window.transforms])
        return _Look(data, way_back, logits, place, cut, int((label > 0).sum()), seen)
