"""Floor 2: what the values of a label file mean. Inside they are 0 background, 1 PZ, 2 TZ; files say so by name."""

from collections.abc import Mapping

import numpy as np

from prostate_uda.data.volumes import Volume
from prostate_uda.errors import DataError

BACKGROUND, PZ, TZ = 0, 1, 2
ZONE_VALUES: Mapping[int, int] = {0: BACKGROUND, 1: PZ, 2: TZ}
"""The Decathlon's numbering and ours."""

ZONE_WORDS: Mapping[int, tuple[str, ...]] = {
    BACKGROUND: ("background", "bg", "none"),
    PZ: ("PZ", "peripheral", "peripheral zone"),
    TZ: ("TZ", "transition", "transition zone", "transitional zone", "CG", "central gland"),
}
"""What a data list may call our zones. NCI-ISBI's central gland (transition and central zone) counts as TZ."""

ZONES = tuple(words[0] for words in ZONE_WORDS.values())
"""Their usual names, by number."""


def values_by_name(
    names: Mapping[str, str] | Mapping[int, str], words: Mapping[int, tuple[str, ...]] = ZONE_WORDS
) -> dict[int, int]:
    """File value to ours, from the names that a data list or a user gives the values.

    Args:
        names: ``{"0": "background", "1": "TZ", "2": "PZ"}``; background is 0 where it is not named. Names may carry
            more words behind a known one (``"TZ and AFS"``).
        words: What each of our values may be called, the usual name first.

    Returns:
        Total over the values named: ``{0: 0, 1: 2, 2: 1}`` for the example.

    Raises:
        DataError: A value is no whole number, a name is unknown, two values have one name, or one of ours is missing.
    """
    found: dict[int, int] = {}
    for value, name in names.items():
        if not str(value).strip().isdecimal():
            raise DataError(f"label value {value!r} ({name}); allowed are whole numbers, such as 1=PZ")
        found[int(value)] = _zone(str(name), words)
    found.setdefault(0, BACKGROUND)
    if sorted(found.values()) != sorted(words):
        named = ", ".join(f"{value}={name}" for value, name in names.items())
        raise DataError(f"labels named {named}; exactly one value each is needed for {_usual(words)}")
    return dict(sorted(found.items()))


def parse_label_names(text: str) -> dict[int, int]:
    """``"1=TZ,2=PZ"`` as file value to ours.

    Raises:
        DataError: As :func:`values_by_name`, and where the text is not of that form.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if not pairs or not all(equals and name.strip() for _, equals, name in pairs):
        raise DataError(f"label names {text!r}; allowed is value=name with commas, such as 1=PZ,2=TZ")
    return values_by_name({value.strip(): name for value, _, name in pairs})


def pz_in_front(label: Volume) -> bool:
    """Whether PZ lies in front of TZ, which no prostate has: the two values are probably exchanged.

    Compares the zones' centres of mass along the patient's front-to-back axis; a label without either zone says
    nothing.

    Args:
        label: Our values, on any grid.
    """
    front = []
    for zone in (PZ, TZ):
        voxels = np.argwhere(label.array == zone)
        if not len(voxels):
            return False
        centre = label.grid.affine @ np.append(voxels.mean(axis=0), 1.0)
        front.append(float(centre[1]))
    return front[0] > front[1]


def _zone(name: str, words: Mapping[int, tuple[str, ...]]) -> int:
    plain = " ".join(name.lower().replace("_", " ").replace("-", " ").split())
    for zone, known in words.items():
        if any(f"{plain} ".startswith(f"{word.lower()} ") for word in known):
            return zone
    raise DataError(f"label name {name!r}; allowed are {_usual(words)}, or their longer names")


def _usual(words: Mapping[int, tuple[str, ...]]) -> str:
    return ", ".join(known[0] for known in words.values())
