"""Floor 2: the Medical Segmentation Decathlon's layout: a ``dataset.json`` beside imagesTr, labelsTr and imagesTs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prostate_uda.data.domains.base import Case, Domain, Found
from prostate_uda.data.volumes import file_suffix
from prostate_uda.errors import DataError

TASK = "Task05_Prostate"
ZONE_WORDS = {1: ("pz", "peripheral"), 2: ("tz", "transition")}
"""What the data list may call our zones; anything else is another task or another numbering."""


class Decathlon(Domain):
    """Task05 of the Decathlon: 32 labelled and 16 unlabelled cases, 4D files with T2 in channel 0 and ADC in 1."""

    def find(self, root: Path | None, labels: Path | None = None) -> Found:
        """Find the cases that ``dataset.json`` lists; AppleDouble files (``._*``) are skipped.

        Args:
            root: The unpacked ``Task05_Prostate``, or the folder it was unpacked in.
            labels: Not taken; the data list names the labels.

        Raises:
            DataError: If there is no readable data list, it numbers other zones, or a file it lists is missing.
        """
        if root is None or labels is not None:
            raise DataError(
                f"domain {self.name!r} takes one folder, its labels lie in it; use domain 'folder' for others"
            )
        folder = root / TASK if (root / TASK / "dataset.json").is_file() else root
        listed = _listed(folder / "dataset.json")
        training = [_case(folder, entry) for entry in _entries(folder, listed, "training")]
        test = [_case(folder, entry) for entry in _entries(folder, listed, "test")]
        cases = sorted((*training, *test), key=lambda case: case.id)
        return Found(tuple(cases), frozenset(case.id for case in test))


def _listed(path: Path) -> dict[str, Any]:
    """The data list, once it is known to number the zones as the Decathlon does."""
    if not path.is_file():
        raise DataError(
            f"{path} does not exist; give the unpacked {TASK} folder, or use domain 'folder' for plain files"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no readable JSON ({error}); unpack {TASK}.tar again") from error
    if not isinstance(content, dict) or not isinstance(content.get("training"), list):
        raise DataError(f"{path} has no list 'training'; give the unpacked {TASK} folder")
    _check_zones(path, content.get("labels"))
    return content


def _check_zones(path: Path, named: object) -> None:
    if not isinstance(named, Mapping):
        return
    for value, words in ZONE_WORDS.items():
        name = named.get(str(value))
        if name is not None and not any(word in str(name).lower() for word in words):
            raise DataError(
                f"{path} calls label {value} {name!r}; the prostate task has 1 = PZ and 2 = TZ: give {TASK}, or "
                "convert the labels"
            )


def _entries(folder: Path, listed: Mapping[str, Any], part: str) -> list[tuple[Path, Path | None]]:
    """Image and label paths of a part; test entries may be plain strings."""
    found: list[tuple[Path, Path | None]] = []
    for entry in listed.get(part, ()):
        image, label = (entry.get("image"), entry.get("label")) if isinstance(entry, Mapping) else (entry, None)
        if not isinstance(image, str) or not isinstance(label, str | None):
            raise DataError(f"{folder / 'dataset.json'} has an entry without an image in {part!r}: {entry!r}")
        if not Path(image).name.startswith("."):
            found.append((folder / image, None if label is None else folder / label))
    return found


def _case(folder: Path, paths: tuple[Path, Path | None]) -> Case:
    for path in paths:
        if path is not None and not path.is_file():
            raise DataError(f"{path} is listed in {folder / 'dataset.json'} but missing; unpack {TASK}.tar again")
    image, label = paths
    return Case(image.name[: len(image.name) - len(file_suffix(image))], image, label)


DECATHLON = Decathlon(
    name="decathlon",
    title="Medical Segmentation Decathlon Task05: 3 T Siemens, no endorectal coil (Radboud)",
    licence="CC BY-SA 4.0",
)
