"""Floor 4: a network over whole pictures: resized as in training, its answer at the picture's own size."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate

from prostate_uda.data.domains.base import Case
from prostate_uda.data.scene_classes import SCENE_CLASSES
from prostate_uda.data.scene_images import (
    read_scene,
    read_scene_label,
    resize_scene,
    scene_size,
    write_scene_label,
)
from prostate_uda.data.scene_set import normalize_scene
from prostate_uda.errors import DataError
from prostate_uda.metrics import confusion, intersection_union

INTERSECTION, UNION = "intersection", "union"


@dataclass(frozen=True)
class SceneSegmenter:
    """A network of driving scenes; see :class:`~prostate_uda.engines.rounds.Labeller`.

    Attributes:
        network: ``(1, 3, h, w)`` normalized RGB to ``(1, C, h, w)`` logits.
        size: Height and width that a picture is resized to.
        device: Where the network lives.
        classes: Names of the classes, by number.
        suffix: Of a label's file.
    """

    classes: ClassVar[tuple[str, ...]] = SCENE_CLASSES
    suffix: ClassVar[str] = ".png"

    network: nn.Module
    size: tuple[int, int]
    device: torch.device

    def probabilities(self, image: Path) -> Tensor:
        """Class probabilities ``(C, H, W)`` float32, on the CPU, at the picture's own size.

        Logits are interpolated and the softmax is taken afterwards, as the paper's evaluation does.

        Raises:
            DataError: The file cannot be used.
        """
        return self.of_pixels(read_scene(image)).cpu()

    def of_pixels(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Likewise of ``(H, W, 3)`` uint8 RGB, where the network lives."""
        self.network.eval()
        with torch.inference_mode():
            scene = normalize_scene(resize_scene(pixels, self.size))[None].to(self.device)
            probabilities: Tensor = full_size(self.network(scene), pixels.shape[:2])[0].softmax(dim=0)
        return probabilities

    def unit(self, image: Path) -> float:
        """A pixel's share of its picture."""
        height, width = scene_size(image)
        return 1 / (height * width)

    def amounts(self, case: Case) -> Tensor:
        """``(C,)`` float64, the share that each class has of a picture's labelled pixels.

        Raises:
            DataError: The label cannot be used, or there is none.
        """
        if case.label is None:
            raise DataError(f"{case.id} has no label to measure classes in")
        label = torch.from_numpy(read_scene_label(case.label, case.values))
        counts = label.flatten().long().bincount(minlength=len(self.classes))[: len(self.classes)]
        return counts.double() / counts.sum().clamp_min(1)

    def write_label(self, path: Path, label: NDArray[np.uint8], image: Path) -> None:  # noqa: ARG002  PNG has no grid
        """Train ids as PNG, whole or not at all."""
        write_scene_label(path, label)

    def __call__(self, image: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The picture ``(H, W, 3)``, and its labels ``(H, W)`` uint8."""
        pixels = read_scene(image)
        label = self.of_pixels(pixels).argmax(dim=0).to(torch.uint8).cpu().numpy()
        return pixels, label


def full_size(logits: Tensor, size: Sequence[int]) -> Tensor:
    """``(B, C, h, w)`` logits at the size of their picture, ``(B, C, H, W)`` float32."""
    return interpolate(logits.float(), size=(size[0], size[1]), mode="bilinear", align_corners=False)


def column(name: str, what: str) -> str:
    """A class's column in a run's ``cases.csv``: ``traffic_light_union``."""
    return f"{name.replace(' ', '_')}_{what}"


def judge_scene(predicted: NDArray[np.uint8], truth: NDArray[np.uint8] | None) -> dict[str, Any]:
    """A picture's row: pixels of intersection and union by class; they add up over pictures. Empty without a truth.

    Args:
        predicted: ``(H, W)`` train ids.
        truth: Likewise, IGNORE where nothing is known.

    Raises:
        ShapeError: their shapes differ.
    """
    names = [column(name, what) for what in (INTERSECTION, UNION) for name in SCENE_CLASSES]
    if truth is None:
        return dict.fromkeys(names, "")
    counts = confusion(torch.from_numpy(predicted), torch.from_numpy(truth), len(SCENE_CLASSES))
    both, either = intersection_union(counts)
    return dict(zip(names, [*both.tolist(), *either.tolist()], strict=True))
