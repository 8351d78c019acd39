"""Floor 2: the Medical Segmentation Decathlon's layout: a ``dataset.json`` beside imagesTr, labelsTr and imagesTs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prostate_uda.data.canonical import check_finished
from prostate_uda.data.domains.base import Case, Domain, Found
from prostate_uda.data.labels import ZONE_VALUES, ZONE_WORDS, values_by_name
from prostate_uda.data.volumes import file_suffix
from prostate_uda.errors import DataError

TASK = "Task05_Prostate"


@dataclass(frozen=True, kw_only=True)
class Decathlon(Domain):
    """A task of the Decathlon; Task05 has 32 labelled and 16 unlabelled cases, 4D, with T2 in channel 0 and ADC in 1.

    Args:
        unpacked: Name of the unpacked folder.
        words: What the data list may call each of our label values.
    """

    unpacked: str = TASK
    words: Mapping[int, tuple[str, ...]] = field(default_factory=lambda: ZONE_WORDS)

    def find(self, root: Path | None, labels: Path | None = None) -> Found:
        """Find the cases that ``dataset.json`` lists; AppleDouble files (``._*``) are skipped.

        Args:
            root: The unpacked task (``Task05_Prostate``), the folder it was unpacked in, or what ``prepare`` made.
            labels: Not taken; the data list names the labels.

        Raises:
            DataError: If there is no readable data list, it names other zones, a file it lists is missing, or
                the folder was not prepared to the end.
        """
        if root is None or labels is not None:
            raise DataError(
                f"domain {self.name!r} takes one folder, its labels lie in it; use domain 'folder' for others"
            )
        check_finished(root)
        folder = root / self.unpacked if (root / self.unpacked / "dataset.json").is_file() else root
        listed = _listed(folder / "dataset.json")
        values = self._values(folder / "dataset.json", listed.get("labels"))
        training = [_case(folder, entry, values) for entry in _entries(folder, listed, "training")]
        test = [_case(folder, entry, values) for entry in _entries(folder, listed, "test")]
        cases = sorted((*training, *test), key=lambda case: case.id)
        return Found(tuple(cases), frozenset(case.id for case in test))

    def _values(self, path: Path, named: object) -> Mapping[int, int]:
        """What the list's label values mean, by their names: the Decathlon has 1 = PZ, Prostate158 has 2 = PZ."""
        if not isinstance(named, Mapping):
            return ZONE_VALUES
        try:
            return values_by_name(named, self.words)
        except DataError as error:
            raise DataError(f"{path}: {error}; give {self.unpacked}, or a list with these names") from error


def _listed(path: Path) -> dict[str, Any]:
    """The data list."""
    if not path.is_file():
        raise DataError(
            f"{path} does not exist; give the unpacked {TASK} folder, or use domain 'folder' for plain files"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is no readable JSON ({error}); unpack {TASK}.tar again") from error
    if not isinstance(content, dict) or not isinstance(content.get("training"), list):
        raise DataError(f"{path} has no list 'training'; give the unpacked {TASK} folder")
    return content


def _entries(folder: Path, listed: Mapping[str, Any], part: str) -> list[tuple[Path, Path | None]]:
    """Image and label paths of a part; test entries may be plain strings."""
    found: list[tuple[Path, Path | None]] = []
    entries = listed.get(part) or ()
    if not isinstance(entries, list | tuple):
        raise DataError(f"{folder / 'dataset.json'} has no list {part!r} but {entries!r}; unpack the task again")
    for entry in entries:
        image, label = (entry.get("image"), entry.get("label")) if isinstance(entry, Mapping) else (entry, None)
        if not isinstance(image, str) or not isinstance(label, str | None):
            raise DataError(f"{folder / 'dataset.json'} has an entry without an image in {part!r}: {entry!r}")
        _check_inside(folder / "dataset.json", image, label)
        if not Path(image).name.startswith("."):
            found.append((folder / image, None if label is None else folder / label))
    return found


def _check_inside(path: Path, *named: str | None) -> None:
    """Refuse names that lead out of the list's folder; a folder in it may be a link of the user's own.

    Raises:
        DataError: so one does.
    """
    for name in named:
        if name is not None and (Path(name).is_absolute() or ".." in Path(name).parts):
            raise DataError(f"{path} names {name!r}, which lies outside of its folder; give names inside of it")


def _case(folder: Path, paths: tuple[Path, Path | None], values: Mapping[int, int]) -> Case:
    for path in paths:
        if path is not None and not path.is_file():
            raise DataError(f"{path} is listed in {folder / 'dataset.json'} but missing; unpack {TASK}.tar again")
    image, label = paths
    return Case(image.name[: len(image.name) - len(file_suffix(image))], image, label, values)


DECATHLON = Decathlon(
    name="decathlon",
    title="Medical Segmentation Decathlon Task05: 3 T Siemens, no endorectal coil (Radboud)",
    licence="CC BY-SA 4.0",
)
