"""Floor 5: a bundle's predictions of driving scenes against a folder of labels: IoU by class, over all pictures."""

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prostate_uda.data.scene_classes import (
    CITYSCAPES_VALUES,
    GTA5_VALUES,
    SCENE_CLASSES,
    SYNTHIA_VALUES,
    TRAIN_VALUES,
)
from prostate_uda.data.scene_images import check_same_size, read_scene_label, scene_size
from prostate_uda.engines.scenes import INTERSECTION, UNION, column, judge_scene
from prostate_uda.errors import DataError, SettingsError, UnknownNameError
from prostate_uda.recipes.record import write_rows, writing
from prostate_uda.recipes.scene_judging import scene_scores
from prostate_uda.recipes.scene_pictures import LABEL_FILE, LOGGER, SaveScene

LABEL_FOLDERS = ("gtFine", "labels", "GT/LABELS")
"""Where Cityscapes, GTA5 and SYNTHIA have their labels."""
NAMED = re.compile(r"(_gtFine|_gtCoarse)?_(?P<kind>labelIds|labelTrainIds)$")
COARSE = re.compile(r"_gtCoarse_\w+$")
"""Rough outlines, which count only for a picture that has no other label at any place."""
KINDS = {"labelIds": CITYSCAPES_VALUES, "labelTrainIds": TRAIN_VALUES}
"""What the name of a file says of its values; where a picture has both, the first counts."""
LABEL_VALUES = {
    "train_ids": TRAIN_VALUES,
    "label_ids": CITYSCAPES_VALUES,
    "gta5": GTA5_VALUES,
    "synthia": SYNTHIA_VALUES,
}
"""What files may hold whose name says nothing."""


@dataclass(frozen=True)
class SceneTruth:
    """A picture's label: its file, and what the values there mean."""

    path: Path
    values: Mapping[int, int]


def scene_labels(
    folder: str | None, pictures: Sequence[Mapping[str, str]], values: str | None = None
) -> dict[str, SceneTruth]:
    """The labels of these pictures, found before anything is segmented.

    A label lies in its picture's sub-folder, or elsewhere where its name and the picture's are there only once.
    Cityscapes' names say what the values mean; its coarse labels count where a picture has no others.

    Args:
        folder: Labels at any depth; of a data set's own folder, those in the first of :data:`LABEL_FOLDERS` it has.
        pictures: Of :func:`~prostate_uda.recipes.scene_pictures.pictures_in`.
        values: Name in :data:`LABEL_VALUES`, for files named as their pictures; None passes such files over.

    Returns:
        Name of a picture to its label; pictures without one are left out, and named in the log.

    Raises:
        SettingsError: no folder is given.
        UnknownNameError: no such ``values``.
        DataError: it is no folder, no picture has a label there, a picture has two, or a label is of another size.
    """
    if folder is None:
        raise SettingsError("no labels to judge by; give their folder with --labels_dir")
    if values is not None and values not in LABEL_VALUES:
        raise UnknownNameError("label_values", values, LABEL_VALUES)
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{folder} is not a folder; give the folder of the labels with --labels_dir")
    inner = next((root / name for name in LABEL_FOLDERS if (root / name).is_dir()), root)
    found = _by_frame(inner, values)
    names = [one["name"] for one in pictures]
    frames = Counter(Path(name).name for name in names)
    places = {name: _truth(name, found, alone=frames[Path(name).name] == 1) for name in names}
    truths = {name: truth for name, truth in places.items() if truth is not None}
    _check(inner, pictures, truths, values)
    return truths


def _by_frame(root: Path, values: str | None) -> dict[str, dict[str, SceneTruth]]:
    """Label files by the name of their frame, and there by sub-folder."""
    files = sorted(path for path in root.rglob("*.png") if not path.name.startswith(".") and path.is_file())
    coarse = [path for path in files if COARSE.search(path.stem) is not None]
    fine = [path for path in files if COARSE.search(path.stem) is None]
    return _placed(root, coarse, None) | _placed(root, fine, values)


def _placed(root: Path, files: Sequence[Path], values: str | None) -> dict[str, dict[str, SceneTruth]]:
    found: dict[str, dict[str, SceneTruth]] = {}
    for frame, path, meaning in _label_files(files, values):
        place = found.setdefault(frame, {})
        place.setdefault(path.relative_to(root).parent.as_posix(), SceneTruth(path, meaning))
    return found


def _label_files(files: Sequence[Path], values: str | None) -> Iterator[tuple[str, Path, Mapping[int, int]]]:
    """Frame, file and meaning; of two files of a frame, the one that counts comes first."""
    for kind, meaning in KINDS.items():
        for path in files:
            named = NAMED.search(path.stem)
            if named is not None and named["kind"] == kind:
                yield path.stem[: named.start()], path, meaning
    if values is not None:
        for path in files:
            if NAMED.search(path.stem) is None and LABEL_FILE.search(path.stem) is None:
                yield path.stem, path, LABEL_VALUES[values]


def _truth(name: str, found: Mapping[str, Mapping[str, SceneTruth]], *, alone: bool) -> SceneTruth | None:
    """The label in a picture's sub-folder; elsewhere where neither picture nor label has a namesake."""
    place = Path(name)
    of_frame = found.get(place.name, {})
    inside = place.parent.as_posix()
    if inside in of_frame:
        return of_frame[inside]
    if not alone:
        return None
    if len(of_frame) > 1:
        first, second = (truth.path for truth in list(of_frame.values())[:2])
        raise DataError(f"{first} and {second} are both of {name!r}; give the folder of one with --labels_dir")
    return next(iter(of_frame.values()), None)


def _check(
    root: Path, pictures: Sequence[Mapping[str, str]], truths: Mapping[str, SceneTruth], values: str | None
) -> None:
    if not truths:
        wanted = f"{Path(pictures[0]['name']).name}_gtFine_labelIds.png"
        mend = f"; for labels named as their pictures say --label_values ({', '.join(LABEL_VALUES)})"
        raise DataError(f"{root} holds no label of the pictures, such as {wanted}{'' if values else mend}")
    for one in pictures:
        if one["name"] in truths and _is_readable(Path(one["image"])):
            check_same_size(Path(one["image"]), truths[one["name"]].path)
    alone = [one["name"] for one in pictures if one["name"] not in truths]
    if alone:
        told = "%d pictures without a label are not judged: %s"
        logging.getLogger(LOGGER).warning(told, len(alone), ", ".join(alone))


def _is_readable(picture: Path) -> bool:
    """Whether its head is; what is wrong with it is told when it is segmented."""
    try:
        scene_size(picture)
    except DataError:
        return False
    return True


def judge_pictures(
    saver: SaveScene, labels: Mapping[str, SceneTruth], out: str, absent_classes: Sequence[str] = ()
) -> dict[str, float | None]:
    """Judge what was just written, pixels added up over the pictures at their own size, as ``adapt`` does.

    Args:
        saver: Has written the predictions.
        labels: Of the pictures.
        out: CSV with a row per class (IoU, pixels of intersection and of union), and the means.
        absent_classes: Classes that ``mIoU`` is not over: the source never labels them.

    Returns:
        IoU of each class, and the means; fractions, None where no picture tells.

    Raises:
        UnknownNameError: a class that there is not.
        DataError: a label cannot be used, or no labelled picture was segmented.
        SettingsError: the CSV cannot be written.
    """
    for name in absent_classes:
        if name not in SCENE_CLASSES:
            raise UnknownNameError("class", name, SCENE_CLASSES)
    rows = [
        judge_scene(read_scene_label(path, TRAIN_VALUES), read_scene_label(labels[name].path, labels[name].values))
        for name, path in saver.saved.items()
        if name in labels
    ]
    if not rows:
        raise DataError("no labelled picture could be read, so nothing is judged; the log says what is wrong with each")
    counted = [place for place, name in enumerate(SCENE_CLASSES) if name not in absent_classes]
    scores = scene_scores(rows, counted)
    pixels = {
        name: {what: sum(row[column(name, what)] for row in rows) for what in (INTERSECTION, UNION)}
        for name in SCENE_CLASSES
    }
    place = Path(out)
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        empty = {INTERSECTION: "", UNION: ""}
        write_rows(place, [{"class": name, "iou": value, **pixels.get(name, empty)} for name, value in scores.items()])
    told = ", ".join(f"{name} {value:.3f}" for name, value in scores.items() if value is not None)
    logging.getLogger(LOGGER).info("IoU over %d pictures: %s; table in %s", len(rows), told, out)
    return scores
