"""Floor 2: lists of scans: every scan of a folder, and the patients that a published protocol names.

A data list is one JSON file for a pair of domains (``source``, ``target``) or for the folds of one (``domain``). It
holds ids, what label values mean, licences and checksums: enough to repeat a split without copying a single image.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from prostate_uda.data.domains.base import Case, Found, Role, Split
from prostate_uda.data.domains.folder import FOLDER
from prostate_uda.data.files import whole
from prostate_uda.data.labels import ZONE_VALUES, values_by_name
from prostate_uda.data.listed import ListedDomain, check_object, check_texts, read_domain
from prostate_uda.data.patients import check_leakage, patient
from prostate_uda.errors import DataError, SettingsError

FORMAT = "prostate_uda data list 1"
PAIR, ALONE = ("source", "target"), "domain"


def images_in(folder: Path | str) -> list[dict[str, str]]:
    """One entry for each scan in a folder, laid out as the domain ``folder`` allows, sorted by id.

    Args:
        folder: Holds NIfTI, NRRD or MHA files or folders with DICOM; labels beside them are passed over.

    Returns:
        ``[{"image": path}, ...]``.

    Raises:
        DataError: no such folder, no scan in it, or two scans whose results MONAI would write under one name.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the folder that holds the scans")
    scans = [case.image for case in FOLDER.find(folder).cases]
    if not scans:
        raise DataError(f"{folder} holds no scan; put NIfTI, NRRD or MHA files or DICOM folders there")
    taken: dict[str, Path] = {}
    for scan in scans:
        other = taken.setdefault(_saved_name(scan), scan)
        if other != scan:
            raise DataError(f"{other.name} and {scan.name} would be written under one name; rename one of them")
    return [{"image": str(scan)} for scan in scans]


@dataclass(frozen=True, kw_only=True)
class DataList:
    """Who is learned from and who is tested on.

    Args:
        name: Of the list, that of its file.
        title: One line for people.
        parts: ``source`` and ``target``, each split into ``train`` and ``test``; or ``domain``, split into folds.
        made_with: The command that drew the splits; empty where they are published.
        notes: What a reader should know.

    Raises:
        DataError: Other parts, or a patient is listed twice, be it in one domain or in both.
    """

    name: str
    title: str
    parts: Mapping[str, ListedDomain]
    made_with: str = ""
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if set(self.parts) not in ({*PAIR}, {ALONE}):
            raise DataError(
                f"data list {self.name!r} has the parts {', '.join(self.parts) or 'none'}; allowed are source and "
                "target, or domain for the folds of one"
            )
        if ALONE not in self.parts and any(part.folded for part in self.parts.values()):
            raise DataError(f"data list {self.name!r} pairs two domains in folds; split each into train and test")
        self.check_leakage()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a list.

        Raises:
            DataError: No such file, or content of another form; the message says where.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path} cannot be read as a data list ({error}); give a file as in data_lists/") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise DataError(f"{path} is no data list: its 'format' is not {FORMAT!r}; give a file as in data_lists/")
        try:
            return cls._of(content)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error

    @classmethod
    def _of(cls, content: Mapping[str, Any]) -> Self:
        optional = {"made_with": str, "notes": list, **dict.fromkeys((*PAIR, ALONE), dict)}
        check_object(content, "the list", {"format": str, "name": str, "title": str}, optional)
        check_texts(content.get("notes", []), "the list.notes")
        return cls(
            name=content["name"],
            title=content["title"],
            parts={name: read_domain(content[name], name) for name in (*PAIR, ALONE) if name in content},
            made_with=content.get("made_with", ""),
            notes=tuple(content.get("notes", ())),
        )

    def write(self, path: Path) -> None:
        """Write the list: one line per case, through a temporary name."""
        with whole(path, ".json") as temporary:
            temporary.write_text(self._text(), encoding="utf-8")

    def _text(self) -> str:
        lines: list[str] = []
        content: dict[str, Any] = {"format": FORMAT, "name": self.name, "title": self.title}
        content |= {"made_with": self.made_with, "notes": list(self.notes)}
        for name, part in self.parts.items():
            domain = asdict(part)
            domain["splits"] = {split: [_line(case, lines) for case in cases] for split, cases in part.splits.items()}
            content[name] = domain
        text = json.dumps(content, indent=2, ensure_ascii=False)
        for number, line in enumerate(lines):
            text = text.replace(f'"\\u0000{number}\\u0000"', line)
        return text + "\n"

    def check_leakage(self) -> None:
        """Check that every patient is listed once, whatever the case of his id and what is appended to it.

        Raises:
            DataError: A patient is in two splits, in both domains, or twice in one split.
        """
        check_leakage(
            {
                f"{name} {split}": [case.id for case in cases]
                for name, part in self.parts.items()
                for split, cases in part.splits.items()
            }
        )

    def part(self, role: Role) -> ListedDomain:
        """The domain that the list has for a role; that of a list of folds serves either.

        Raises:
            SettingsError: ``role`` is neither.
        """
        if role not in PAIR:
            raise SettingsError(f"unknown role {role!r}; choose one of: source, target")
        return self.parts[ALONE if ALONE in self.parts else role]

    def concerns(self, role: Role, domain: str) -> bool:
        """Whether the list says anything of a role that this domain has: folds are of one domain alone."""
        return ALONE not in self.parts or self.part(role).domain == domain

    def apply(self, found: Found, role: Role, fold: int | None = None) -> Split:
        """The listed cases among those found; what the list does not name is left out.

        Args:
            found: What a domain found in its folder; ids are matched as patients (:func:`patients.patient`).
            role: ``"source"``: every listed case needs a label. ``"target"``: training labels are dropped.
            fold: Of a list of folds, the one to test on, from 1; the others are learned from.

        Returns:
            Train and test in the list's order; a source may have nothing to test on.

        Raises:
            DataError: Listed cases are missing, ambiguous or, in a source, without label; or the files' label values
                are known to mean something else than the list says.
            SettingsError: No fold of a list of folds, a fold of another, or one that there is not.
        """
        part = self.part(role)
        train, test = part.train_test(fold)
        cases = self._matched(found, role, [case.id for case in (*train, *test)])
        cases = [_with_values(case, part) for case in cases]
        if role == "source":
            self._check_labelled(cases)
            return Split(tuple(cases[: len(train)]), tuple(cases[len(train) :]))
        unlabelled = tuple(replace(case, label=None) for case in cases[: len(train)])
        return Split(unlabelled, tuple(cases[len(train) :]))

    def _matched(self, found: Found, role: Role, ids: list[str]) -> list[Case]:
        by_patient: dict[str, list[Case]] = {}
        for case in found.cases:
            by_patient.setdefault(patient(case.id), []).append(case)
        missing = [name for name in ids if patient(name) not in by_patient]
        if missing:
            raise DataError(
                f"data list {self.name!r} names {len(missing)} of {len(ids)} {role} cases that are not there: "
                f"{', '.join(missing)}; give the whole of {self.part(role).domain!r}, or another list"
            )
        twice = next((by_patient[patient(name)] for name in ids if len(by_patient[patient(name)]) > 1), None)
        if twice:
            raise DataError(
                f"two images of one listed patient: {twice[0].image} and {twice[1].image}; keep one image per patient"
            )
        return [by_patient[patient(name)][0] for name in ids]

    def _check_labelled(self, cases: list[Case]) -> None:
        bare = [case.id for case in cases if case.label is None]
        if bare:
            raise DataError(
                f"{len(bare)} source cases of data list {self.name!r} have no label: {', '.join(bare)}; give their "
                "folder with --source-labels"
            )

    def filled(self, name: str, checksums: Mapping[str, Mapping[str, str]]) -> Self:
        """The same list with checksums.

        Args:
            name: Of the part.
            checksums: Listed id to ``image`` and ``label``, each ``sha256:…``; what is not given stays.

        Raises:
            DataError: An id that is not listed, or a value that is no checksum.
        """
        return replace(self, parts={**self.parts, name: self.parts[name].filled(checksums)})


def _with_values(case: Case, part: ListedDomain) -> Case:
    """The case with the list's label values; a data set's own list must not contradict them."""
    if case.label is None or not part.labels:
        return case
    values = values_by_name(part.labels)
    if case.values is not ZONE_VALUES and dict(case.values) != values:  # the very object: the data set says nothing
        raise DataError(
            f"label values of {case.label} mean {dict(case.values)} by its own data set and {values} by the data list "
            "(file -> ours); mend the list's 'labels'"
        )
    return replace(case, values=values)


def _line(case: Any, lines: list[str]) -> str:  # noqa: ANN401
    """A placeholder that JSON cannot otherwise hold, for one case on one line."""
    lines.append(json.dumps(asdict(case), ensure_ascii=False))
    return f"\0{len(lines) - 1}\0"


def _saved_name(path: Path) -> str:
    """What MONAI's ``SaveImaged`` makes of a path: ``.gz`` and one more ending are cut, from a folder's name, too."""
    stem, ending = os.path.splitext(path.name)  # noqa: PTH122  # exactly as MONAI does it
    return os.path.splitext(stem)[0] if ending == ".gz" else stem  # noqa: PTH122
