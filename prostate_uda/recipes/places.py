"""Floor 5: where data lie, as a user says it: the name of a domain, or a folder."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from prostate_uda.data.domains import DOMAINS, Case, Domain, PhantomDomain, PhantomSettings
from prostate_uda.data.domains.base import Role
from prostate_uda.data.labels import parse_label_names
from prostate_uda.errors import DataError, SettingsError

DATASET = "dataset.json"


@dataclass(frozen=True)
class Place:
    """A domain in a folder.

    Attributes:
        domain: Whose layout the folder has.
        root: The folder; None where the domain needs none.
        labels: The labels' folder, where they do not lie in the layout's own place.
        values: What label values mean, where the user says so: file value to ours.
    """

    domain: Domain
    root: Path | None = None
    labels: Path | None = None
    values: dict[int, int] | None = None

    @classmethod
    def of(
        cls, text: str, *, root: Path | None = None, labels: Path | None = None, label_names: str | None = None
    ) -> Self:
        """What ``FOLDER|DOMAIN`` means.

        A folder with a ``dataset.json`` that lists its training cases is read as the Decathlon's layout, which
        ``prepare`` writes, too; any other as the user's own.

        Args:
            text: Name in the registry of domains, or a folder.
            root: The folder of a domain that needs one.
            labels: The labels' folder, where they do not lie in the layout's own place.
            label_names: What label values mean, such as ``"1=TZ,2=PZ"``.

        Raises:
            DataError: Neither a domain nor a folder, a domain without its folder, or label names that are none.
        """
        values = None if label_names is None else parse_label_names(label_names)
        if text in DOMAINS:
            domain = DOMAINS[text]
            if domain.task != "zones":
                raise DataError(f"domain {text!r} is of pictures, and this is of prostate volumes; adapt takes it")
            if domain.needs_root and root is None:
                raise DataError(f"domain {text!r} needs its folder; say where it is with --root, or give the folder")
            return cls(_small(domain), root, labels, values)
        folder = Path(text)
        if root is not None:
            raise DataError(f"{text!r} is no domain, yet it has the folder {root}; choose one of: {', '.join(DOMAINS)}")
        if not folder.is_dir():
            raise DataError(f"{text!r} is neither a folder nor a domain; domains are: {', '.join(DOMAINS)}")
        listed = labels is None and _has_data_list(folder)
        return cls(DOMAINS["decathlon" if listed else "folder"], folder, labels, values)

    @property
    def title(self) -> str:
        """The folder's name, or the domain's."""
        return self.domain.name if self.root is None else self.root.resolve().name

    def named(self, cases: Sequence[Case]) -> tuple[Case, ...]:
        """The cases with the label values that the user names, where he does."""
        if self.values is None:
            return tuple(cases)
        return tuple(replace(case, values=self.values) for case in cases)

    def cases(self) -> tuple[Case, ...]:
        """Every case, sorted by id.

        Raises:
            DataError: The folder cannot be used, or holds no case.
        """
        found = self.domain.find(self.root, self.labels).cases
        if not found:
            raise DataError(f"{self.root} holds no case; put NIfTI, NRRD, MHA or DICOM there ('doctor' says more)")
        return self.named(found)


def read_role(text: str | None) -> Role | None:
    """A role as a user writes it.

    Raises:
        SettingsError: neither ``source`` nor ``target``.
    """
    if text in ("source", "target") or text is None:
        return text  # type: ignore[return-value]  # mypy does not narrow a str to a Literal
    raise SettingsError(f"unknown role {text!r}; choose one of: source, target")


def _has_data_list(folder: Path) -> bool:
    """Whether there is a ``dataset.json`` with a list of cases (nnU-Net's has none), or one that cannot be read."""
    path = folder / DATASET
    if not path.is_file():
        return False
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return True
    return isinstance(content, dict) and isinstance(content.get("training"), list)


def _small(domain: Domain) -> Domain:
    """A phantom with the cohort that is shown where nothing else is said; other domains as they are."""
    return domain.configured(PhantomSettings()) if isinstance(domain, PhantomDomain) else domain
