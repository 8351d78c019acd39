"""Floor 2: street scenes on disk, in the layout of Cityscapes; labels are ``*_gtFine_labelIds.png`` with its ids."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from prostate_uda.data.generated import TEST_FIRST_INDEX, check_counts, whole_folder
from prostate_uda.data.scene_classes import CITYSCAPES_VALUES
from prostate_uda.data.streets.case import StreetScene, make_scene
from prostate_uda.data.streets.faces import CLASS
from prostate_uda.data.streets.looks import Look, Size, shape_of

VERSION = 1
"""Raised whenever the same (look, seed, index, size) no longer gives the same bits; part of every cache path."""

DESCRIPTION = "streets.json"
"""Says which look a folder holds; written last."""

STATIC = 4
"""Cityscapes' id of things that belong to no class."""

CITIES = {"streets-render": "renderton", "streets-photo": "photoville"}
"""The folder of each look's pictures: Cityscapes has one per city."""


def write_dataset(
    look: Look,
    out: Path,
    *,
    train: int,
    test: int,
    seed: int,
    size: Size,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write ``leftImg8bit`` and ``gtFine`` with ``train`` and ``val`` in them; all of it or nothing; return ``out``.

    Args:
        look: Render or photo.
        out: The folder to make; it may exist if it is empty.
        train: Number of training scenes, indices 0 and up; at least 1.
        test: Number of test scenes, indices :data:`TEST_FIRST_INDEX` and up, labelled too, in ``val``.
        seed: Names the cohort.
        size: ``"small"`` or ``"full"``.
        progress: Told the number of scenes written after each of them.

    Raises:
        SettingsError: ``out`` holds something, a count is out of range, or the size is unknown.
    """
    shape_of(size)
    check_counts(train, test, "scenes")
    with whole_folder(out) as work:
        indices = [("train", i) for i in range(train)] + [("val", TEST_FIRST_INDEX + i) for i in range(test)]
        for done, (part, index) in enumerate(indices, start=1):
            scene = make_scene(look, seed=seed, index=index, size=size)
            _write_scene(scene, work, part, f"{CITIES[look.name]}_{seed:06d}_{index:06d}")
            if progress is not None:
                progress(done)
        told = {"look": look.name, "seed": seed, "size": size, "train": train, "test": test, "version": VERSION}
        (work / DESCRIPTION).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return out


def _write_scene(scene: StreetScene, work: Path, part: str, frame: str) -> None:
    """Write a picture and its label."""
    city = frame.partition("_")[0]
    ids = np.full(256, STATIC, dtype=np.uint8)
    for value, train_id in CITYSCAPES_VALUES.items():
        if train_id < len(CLASS):
            ids[train_id] = value
    for folder, ending, array in (
        ("leftImg8bit", "leftImg8bit", scene.image),
        ("gtFine", "gtFine_labelIds", ids[scene.label]),
    ):
        place = work / folder / part / city
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(place / f"{frame}_{ending}.png")
