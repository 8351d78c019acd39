"""Floor 5: a bundle of driving scenes at work: pictures found and read, and what the network says of each written.

The classes here are MONAI transforms of dictionaries, for a bundle's ``inference.json``. Results lie apart by kind, in
:data:`KINDS`, each under its picture's name and sub-folder: ``labels/`` alone is what Cityscapes' own scripts judge.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from prostate_uda.data.scene_classes import CITYSCAPES_VALUES, COLOURS
from prostate_uda.data.scene_images import (
    SCENE_SUFFIXES,
    read_scene,
    resize_scene,
    write_scene_colours,
    write_scene_label,
)
from prostate_uda.engines.scenes import full_size
from prostate_uda.errors import DataError, SettingsError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.recipes.record import whole, writing
from prostate_uda.review.scenes import overlay

LOGGER = "prostate_uda.bundle"
LABELS, COLORED, OVERLAYS = KINDS = ("labels", "colors", "overlays")
"""Folders of the results."""
PICTURE_FOLDERS = ("leftImg8bit", "images", "RGB")
"""Where Cityscapes, GTA5 and SYNTHIA have their pictures."""
PICTURE_END = "_leftImg8bit"
"""Behind a frame's name in Cityscapes."""
LABEL_FILE = re.compile(r"_gt(Fine|Coarse)_\w+$")
"""The end of a name in Cityscapes' folders of labels, which are PNG, too."""
ALPHA = 0.5
"""Share of the colors in an overlay."""
LABEL_IDS = np.array(
    [number for _, number in sorted((train, number) for number, train in CITYSCAPES_VALUES.items() if train != IGNORE)],
    dtype=np.uint8,
)
"""Cityscapes' label id of each train id: what its server takes."""


def pictures_in(folder: str, leave_out: str | None = None) -> list[dict[str, str]]:
    """The pictures of a folder and of the folders in it, by name; hidden files and Cityscapes' labels are passed over.

    Args:
        folder: Pictures (:data:`SCENE_SUFFIXES`) at any depth; of a data set's own folder, those in the first of
            :data:`PICTURE_FOLDERS` that it has.
        leave_out: Folder of the results, which are no pictures to segment.

    Returns:
        ``[{"image": path, "name": its name and sub-folder, without ending}, ...]``.

    Raises:
        DataError: no such folder, no picture in it, or two whose results would have one name.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{folder} is not a folder; give the folder of the pictures with --dataset_dir")
    inner = next((root / name for name in PICTURE_FOLDERS if (root / name).is_dir()), root)
    results = [] if leave_out is None else [(Path(leave_out) / kind).resolve() for kind in KINDS]
    named: dict[str, Path] = {}
    for path in sorted(inner.rglob("*")):
        if not _is_picture(path, inner) or any(path.resolve().is_relative_to(kind) for kind in results):
            continue
        name = path.relative_to(inner).with_name(path.stem.removesuffix(PICTURE_END)).as_posix()
        if name in named:
            raise DataError(f"{named[name]} and {path} would be written under one name; rename one of them")
        named[name] = path
    if not named:
        raise DataError(f"{inner} holds no picture; put {', '.join(SCENE_SUFFIXES)} files there")
    return [{"image": str(path), "name": name} for name, path in named.items()]


def _is_picture(path: Path, root: Path) -> bool:
    if path.suffix.lower() not in SCENE_SUFFIXES or not path.is_file():
        return False
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return not hidden and LABEL_FILE.search(path.stem) is None


class ReadScene(Transform):  # type: ignore[misc]  # MONAI ships no types
    """From ``{"image": path, "name": name}`` to what the network sees, and the picture itself for the results.

    A picture that cannot be read stops nothing: its image is black, and :class:`SaveScene` writes nothing of it.

    Args:
        size: Height and width that pictures are resized to.
        normalize: ``(H, W, 3)`` uint8 RGB to ``(3, H, W)`` float32.

    Raises:
        SettingsError: a size below 1, or not two numbers.
    """

    def __init__(self, size: Sequence[int], normalize: Callable[[NDArray[np.uint8]], Tensor]) -> None:
        if len(size) != 2 or min(size) < 1:
            raise SettingsError(f"a size of {size}; a height and a width of at least 1 are needed")
        self.size, self.normalize = (int(size[0]), int(size[1])), normalize

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """``image`` ``(3, h, w)`` float32, ``pixels`` ``(H, W, 3)`` uint8, ``failure``: why it is unreadable."""
        failure = ""
        try:
            pixels = read_scene(Path(data["image"]))
        except DataError as error:
            pixels, failure = np.zeros((*self.size, 3), dtype=np.uint8), str(error)
        image = self.normalize(resize_scene(pixels, self.size))
        return {**data, "image": image, "pixels": torch.from_numpy(pixels), "failure": failure}


class FullSize(Transform):  # type: ignore[misc]
    """Logits at the size of their picture, as :class:`~prostate_uda.engines.scenes.SceneSegmenter` has them."""

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """``pred``, ``(C, h, w)``, becomes ``(C, H, W)`` float32."""
        return {**data, "pred": full_size(data["pred"][None], data["pixels"].shape[:2])[0]}


class SaveScene(Transform):  # type: ignore[misc]
    """Writes what was found in a picture, and remembers what could not be read. Each file is whole or not there.

    Args:
        folder: Gets the folders of :data:`KINDS`.
        label_ids: Whether labels are Cityscapes' label ids, as its server takes them; train ids otherwise.

    Attributes:
        saved: Name of a picture to its predicted label in :data:`COLORED`, whose numbers are train ids in any case.
        failures: What was wrong with the others.
    """

    def __init__(self, folder: str, *, label_ids: bool = False) -> None:
        self.folder, self.label_ids = Path(folder), label_ids
        self.saved: dict[str, Path] = {}
        self.failures: list[str] = []

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Write ``pred``, ``(1, H, W)`` train ids, under ``name``; the label comes last, so where it is, all is.

        Raises:
            SettingsError: the folder cannot be written.
        """
        if data["failure"]:
            self.failures.append(data["failure"])
            logging.getLogger(LOGGER).error("%s", data["failure"])
            return dict(data)
        label = data["pred"][0].to(torch.uint8).cpu().numpy()
        label_file, colored, painted = (self.folder / kind / f"{data['name']}.png" for kind in KINDS)
        with writing(self.folder):
            write_scene_colours(colored, label)
            _write_picture(painted, overlay(data["pixels"].cpu().numpy(), label, COLOURS, ALPHA))
            if self.label_ids:
                _write_picture(label_file, LABEL_IDS[label])
            else:
                write_scene_label(label_file, label)
        self.saved[data["name"]] = colored
        logging.getLogger(LOGGER).info("%s", label_file)
        return dict(data)

    def finish(self) -> None:
        """The end, after all pictures.

        Raises:
            DataError: some could not be read.
        """
        if self.failures:
            more = f" (and {len(self.failures) - 1} more, named above)" if len(self.failures) > 1 else ""
            raise DataError(f"no result for {self.failures[0]}{more}; those of {len(self.saved)} others are written")


def _write_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        Image.fromarray(np.ascontiguousarray(pixels)).save(partial, format="PNG")
