"""Floor 4: case by case on the native grid, never slice-averaged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from monai.transforms import Compose
from numpy.typing import NDArray
from torch import Tensor, nn

from prostate_uda.data.domains.base import Case
from prostate_uda.data.labels import BACKGROUND, ZONES
from prostate_uda.data.preprocessing import to_native
from prostate_uda.data.reading import zone_amounts
from prostate_uda.data.volumes import Volume, read_image
from prostate_uda.data.writing import write_label
from prostate_uda.engines.inference import SliceStackInferer
from prostate_uda.metrics import assd, hd95, summarize, volume_ml, zone_dice

SCORES = ("PZ", "TZ", "WP", "WP_pooled")


@dataclass(frozen=True)
class Segmenter:
    """A network with the preprocessing it was trained with.

    Attributes:
        network: ``(b, depth, Y, X)`` slices to ``(b, C, Y, X)`` logits.
        preprocessing: Of the key ``image``, from a path to the working grid.
        inferer: Slices to volume.
        device: Where the network lives.
        channel: Which channel of a 4D image is T2.
        classes: Names of the classes, by number.
        suffix: Of a label's file.
    """

    classes: ClassVar[tuple[str, ...]] = ZONES
    suffix: ClassVar[str] = ".nii.gz"

    network: nn.Module
    preprocessing: Compose
    inferer: SliceStackInferer
    device: torch.device
    channel: int = 0

    def probabilities(self, image: Path) -> Tensor:
        """Class probabilities ``(C, X, Y, Z)`` on the image's own grid.

        Probabilities are interpolated and the argmax is taken afterwards: interpolating labels invents classes.
        """
        data = self.preprocessing({"image": image})
        return to_native(self.logits(data["image"].as_tensor()[0]).softmax(dim=0), self.preprocessing, data)

    def logits(self, volume: Tensor) -> Tensor:
        """``(C, X, Y, Z)`` float32 on the CPU for a ``(X, Y, Z)`` volume on the working grid."""
        self.network.eval()
        with torch.inference_mode():
            logits: Tensor = self.inferer(volume.to(self.device)[None, None], self.network)[0].float().cpu()
        return logits

    def unit(self, image: Path) -> float:
        """ML of a voxel."""
        return math.prod(read_image(image, self.channel).grid.spacing) / 1000

    def amounts(self, case: Case) -> Tensor:
        """``(3,)`` float64 mL of PZ and TZ in a labelled case; NaN for background, which has the rest of any scan."""
        amounts = zone_amounts(case)
        amounts[BACKGROUND] = math.nan
        return amounts

    def write_label(self, path: Path, label: NDArray[np.uint8], image: Path) -> None:
        """A NIfTI on the image's grid, whole or not at all."""
        write_label(path, label, read_image(image, self.channel))

    def __call__(self, image: Path) -> tuple[Volume, NDArray[np.uint8]]:
        """The image as stored, and its labels ``(X, Y, Z)`` on the same grid."""
        volume = read_image(image, self.channel)
        label = self.probabilities(image).argmax(dim=0).to(torch.uint8).numpy()
        return volume, label


def judge(predicted: NDArray[np.uint8], truth: NDArray[np.uint8] | None, spacing_mm: Sequence[float]) -> dict[str, Any]:
    """One case's row: Dice by zone, surface distances of the whole prostate in mm, volumes in mL.

    Without a truth there are volumes alone.

    Args:
        predicted: ``(X, Y, Z)`` labels.
        truth: Likewise, or None.
        spacing_mm: Voxel size along X, Y, Z.
    """
    labels = torch.from_numpy(np.ascontiguousarray(predicted))
    volumes = {f"{zone}_mL": volume_ml(mask, spacing_mm) for zone, mask in _zones(labels).items()}
    if truth is None:
        return {**dict.fromkeys(SCORES, ""), "WP_hd95_mm": "", "WP_assd_mm": "", **volumes, "WP_true_mL": ""}
    true = torch.from_numpy(np.ascontiguousarray(truth))
    whole, found = _zones(true)["WP"], _zones(labels)["WP"]
    return {
        **zone_dice(labels, true),
        "WP_hd95_mm": float(hd95(found, whole, spacing_mm)),
        "WP_assd_mm": float(assd(found, whole, spacing_mm)),
        **volumes,
        "WP_true_mL": volume_ml(whole, spacing_mm),
    }


def _zones(labels: Tensor) -> dict[str, Tensor]:
    return {"PZ": labels == 1, "TZ": labels == 2, "WP": (labels == 1) | (labels == 2)}


def mean_scores(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Mean Dice over the cases that have one; ``None`` where no case has."""
    means: dict[str, float | None] = {}
    for name in SCORES:
        values = [float(row[name]) for row in rows if row[name] != ""]
        means[name] = summarize(values).mean if values else None
    return means
