"""Floor 2: one domain of a data list: its cases, splits, label values and where they come from; and its checks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from prostate_uda.data.labels import values_by_name
from prostate_uda.errors import DataError, SettingsError

CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}")
TRAIN, TEST, FOLD = "train", "test", "fold-"
NULL = type(None)


@dataclass(frozen=True)
class ListedCase:
    """One patient of a list.

    Args:
        id: As the data set names him.
        image: Checksum of the image file; None where it is not known.
        label: Checksum of the label file; None where it is not known or there is none.
        series: SeriesInstanceUID of the image; None where it is no DICOM or not known.
    """

    id: str
    image: str | None = None
    label: str | None = None
    series: str | None = None


@dataclass(frozen=True)
class Archive:
    """A file to download.

    Args:
        name: Of the file.
        url: Where it is.
        checksum: ``sha256:…`` or ``md5:…``; None where it is not known.
    """

    name: str
    url: str
    checksum: str | None = None


@dataclass(frozen=True, kw_only=True)
class ListedDomain:
    """One data set of a list.

    Args:
        domain: Name in the registry of domains.
        licence: Under which terms the data may be used.
        splits: ``train`` and ``test``, or ``fold-1`` to ``fold-k``, to cases.
        labels: What label values mean, by name (``{"1": "PZ"}``); empty where the files say so themselves.
        origin: Pages and DOIs of the data.
        archives: What to download.
        ids_from: Where the ids were read.

    Raises:
        DataError: Other splits, or a checksum that is none.
    """

    domain: str
    licence: str
    splits: Mapping[str, tuple[ListedCase, ...]]
    labels: Mapping[str, str] = field(default_factory=dict)
    origin: tuple[str, ...] = ()
    archives: tuple[Archive, ...] = ()
    ids_from: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        numbered = {f"{FOLD}{number}" for number in range(1, len(self.splits) + 1)}
        if set(self.splits) not in ({TRAIN, TEST}, numbered) or len(self.splits) < 2:
            raise DataError(
                f"splits {', '.join(self.splits) or 'none'} of {self.domain!r}; allowed are train and test, or fold-1 "
                "to fold-k"
            )
        if self.labels:
            values_by_name(self.labels)
        for case in self.cases:
            for checksum in (case.image, case.label):
                _check_checksum(checksum, case.id)
        for archive in self.archives:
            _check_checksum(archive.checksum, archive.name)

    @property
    def cases(self) -> tuple[ListedCase, ...]:
        """Every case, split after split."""
        return tuple(case for cases in self.splits.values() for case in cases)

    @property
    def folded(self) -> bool:
        """Whether the splits are folds."""
        return TRAIN not in self.splits

    def train_test(self, fold: int | None = None) -> tuple[tuple[ListedCase, ...], tuple[ListedCase, ...]]:
        """The cases to learn from and to test on; of folds, ``fold`` is tested on, counted from 1.

        Raises:
            SettingsError: No fold of folds, a fold where there are none, or one that there is not.
        """
        if not self.folded:
            if fold is not None:
                raise SettingsError(f"fold {fold} of a list with train and test; leave the fold out, or give folds")
            return self.splits[TRAIN], self.splits[TEST]
        if fold is None or not 1 <= fold <= len(self.splits):
            raise SettingsError(f"fold {fold} of a list with {len(self.splits)}; choose 1 to {len(self.splits)}")
        tested = f"{FOLD}{fold}"
        learned = tuple(case for name, cases in self.splits.items() if name != tested for case in cases)
        return learned, self.splits[tested]

    def filled(self, checksums: Mapping[str, Mapping[str, str]]) -> Self:
        """The same domain with checksums: listed id to ``image`` and ``label``; what is not given stays.

        Raises:
            DataError: An id that is not listed, or a value that is no checksum.
        """
        unknown = sorted(set(checksums) - {case.id for case in self.cases})
        if unknown:
            raise DataError(f"checksums of {', '.join(unknown)}, which the list of {self.domain!r} does not name")
        splits = {
            name: tuple(replace(case, **checksums.get(case.id, {})) for case in cases)
            for name, cases in self.splits.items()
        }
        return replace(self, splits=splits)


def read_domain(content: Any, where: str) -> ListedDomain:  # noqa: ANN401  JSON is any
    """A domain from JSON.

    Args:
        content: What JSON holds.
        where: For messages.

    Raises:
        DataError: Content of another form.
    """
    required = {"domain": str, "licence": str, "splits": dict}
    optional = {"labels": dict, "origin": list, "archives": list, "ids_from": list}
    check_object(content, where, required, optional)
    for key in ("origin", "ids_from"):
        check_texts(content.get(key, []), f"{where}.{key}")
    check_texts(list(content.get("labels", {}).values()), f"{where}.labels")
    archives = enumerate(content.get("archives", ()))
    return ListedDomain(
        domain=content["domain"],
        licence=content["licence"],
        splits={name: _cases(entries, f"{where}.splits.{name}") for name, entries in content["splits"].items()},
        labels=content.get("labels", {}),
        origin=tuple(content.get("origin", ())),
        archives=tuple(_archive(entry, f"{where}.archives[{number}]") for number, entry in archives),
        ids_from=tuple(content.get("ids_from", ())),
    )


def check_object(
    content: Any,  # noqa: ANN401  JSON is any
    where: str,
    required: Mapping[str, type],
    optional: Mapping[str, type | tuple[type, ...]],
) -> None:
    """Check that JSON holds an object with these keys and kinds of values, and no other keys.

    Raises:
        DataError: It does not; the message says where and what.
    """
    if not isinstance(content, dict):
        raise DataError(f"{where} is {_kind(content)}; an object is needed")
    allowed = {**required, **optional}
    unknown = sorted(set(content) - set(allowed))
    if unknown:
        raise DataError(f"{where} has the unknown key {unknown[0]!r}; allowed are {', '.join(sorted(allowed))}")
    for key in required:
        if key not in content:
            raise DataError(f"{where} has no {key!r}; add it")
    for key, value in content.items():
        if not isinstance(value, allowed[key]):
            raise DataError(f"{where}.{key} is {_kind(value)}; {_named(allowed[key])} is needed")


def _cases(entries: Any, where: str) -> tuple[ListedCase, ...]:  # noqa: ANN401
    if not isinstance(entries, list):
        raise DataError(f"{where} is {_kind(entries)}; a list of cases is needed")
    optional = {entry.name: (str, NULL) for entry in fields(ListedCase) if entry.name != "id"}
    for number, entry in enumerate(entries):
        check_object(entry, f"{where}[{number}]", {"id": str}, optional)
        if not entry["id"].strip():
            raise DataError(f"{where}[{number}].id is empty; a patient's id is needed")
    return tuple(ListedCase(**entry) for entry in entries)


def _archive(entry: Any, where: str) -> Archive:  # noqa: ANN401
    check_object(entry, where, {"name": str, "url": str}, {"checksum": (str, NULL)})
    return Archive(**entry)


def check_texts(values: list[Any], where: str) -> None:
    """Check that JSON holds nothing but texts.

    Raises:
        DataError: It does not.
    """
    for value in values:
        if not isinstance(value, str):
            raise DataError(f"{where} holds {_kind(value)}; texts are needed")


def _check_checksum(value: str | None, name: str) -> None:
    if value is not None and not CHECKSUM.fullmatch(value):
        raise DataError(f"checksum {value!r} of {name}; allowed are sha256: or md5: with their digits, or null")


def _kind(value: Any) -> str:  # noqa: ANN401
    names: dict[type, str] = {dict: "an object", list: "a list", str: "a text", bool: "true or false", NULL: "null"}
    return names.get(type(value), "a number")


def _named(kinds: type | tuple[type, ...]) -> str:
    first = kinds[0] if isinstance(kinds, tuple) else kinds
    names: dict[type, str] = {dict: "an object", list: "a list", str: "a text"}
    return names[first] + (" or null" if isinstance(kinds, tuple) else "")
