"""Floor 5: the folder that ``prepare`` fills: whose it is, what is done in it, and that nobody else writes there."""

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prostate_uda.data.canonical import DATASET, FINISHED, LABELS, REPORT, describe, image_name, label_name
from prostate_uda.data.datalists import ALONE, DataList
from prostate_uda.data.listed import TEST, TRAIN, ListedCase, ListedDomain
from prostate_uda.data.preparing.convert import VERSION, Source, checksums, convert
from prostate_uda.errors import CheckpointError, SettingsError
from prostate_uda.recipes.record import LOCK, claimed, read_json, versions, write_json

DOWNLOADS = "downloads"
PARTS = ("imagesTr", "labelsTr", "imagesTs", "labelsTs")


class Workspace:
    """A folder in the canonical layout, whole or under way; made by :func:`workspace`.

    Its report is on disk after every case, so a run that ends early is taken up again, case by case.

    Args:
        out: The folder.
        domain: What is prepared in it.
    """

    def __init__(self, out: Path, domain: str) -> None:
        self.out, self.domain = out, domain
        before = read_json(out / REPORT) if (out / REPORT).is_file() else {}
        self.before: dict[str, Any] = before
        self.report: dict[str, Any] = {}
        self.reused = 0

    @property
    def downloads(self) -> Path:
        """What was fetched; may be removed when all is done."""
        return self.out / DOWNLOADS

    @property
    def unpacked(self) -> Path:
        """What archives hold, until all is done."""
        return self.downloads / "unpacked"

    def unchanged(self, inputs: Mapping[str, Any]) -> bool:
        """Whether all was done before, from the same inputs, and every file is still as it was written."""
        if self.before.get("status") != FINISHED or self.before.get("left_out") or self.before["inputs"] != inputs:
            return False
        entries = self.before["cases"].values()
        return (self.out / DATASET).is_file() and all(self._intact(entry) for entry in entries)

    def begin(self, inputs: Mapping[str, Any]) -> None:
        """From here on the folder is under way; what was made of other inputs before is warned of."""
        self.report = {
            "status": "running",
            "domain": self.domain,
            "inputs": dict(inputs),
            "started": _now(),
            "versions": versions(),
            "cases": dict(self.before.get("cases", {})),
            "left_out": {},
            "warnings": [],
        }
        if self.before.get("status") == FINISHED and self.before["inputs"] != inputs:
            self.warn("was prepared from other inputs before; cases that differ are made anew")
        self.save()
        for name in self.before.get("pending", ()):  # a killed run's case
            (self.out / name).unlink(missing_ok=True)
        for part in PARTS:
            for left in (self.out / part).glob(".*"):  # a killed run's temporary names
                left.unlink()

    def warn(self, text: str) -> None:
        """Something is odd about the whole."""
        self.report["warnings"].append(text)

    def save(self) -> None:
        """Write the report."""
        write_json(self.out / REPORT, self.report)

    def done(self, source: Source, root: Path) -> bool:
        """Whether a case was converted from the same content before, and its files are still as they were written.

        Args:
            source: The case.
            root: The sources' folder; where the case comes from is told anew.
        """
        entry = self.report["cases"].get(source.id)
        if entry is None or entry["source_sha256"] != source.digest() or not self._intact(entry):
            return False
        entry |= source.origin(root)
        self.reused += 1
        return True

    def convert(self, source: Source, root: Path) -> None:
        """Convert a case; should the run be killed meanwhile, the next one removes what there is of it.

        Args:
            source: The case.
            root: The sources' folder.

        Raises:
            DataError: The case cannot be used.
        """
        self.report["cases"].pop(source.id, None)
        self.report["pending"] = [image_name(source.part, source.id), label_name(source.part, source.id)]
        self.save()
        self.report["cases"][source.id] = convert(source, self.out, root)
        self.report["pending"] = []
        self.save()

    def finish(self, kept: Iterable[str], *, title: str, licence: str, source: str, reader: str) -> None:
        """Remove what an earlier run made of cases that are no more, write the lists, and call it finished.

        Args:
            kept: The cases there are.
            title: One line for people.
            licence: Of the data.
            source: Where they came from.
            reader: The domain that reads the folder.
        """
        kept = set(kept)
        cases = self.report["cases"]
        now = {name for case in kept for name in cases[case]["sha256"]}
        for entry in (*cases.values(), *self.before.get("cases", {}).values()):
            for name in entry["sha256"]:
                if name not in now:
                    (self.out / name).unlink(missing_ok=True)
        self.report["cases"] = {case: cases[case] for case in sorted(kept)}
        content = describe(self.domain, self.report["cases"], title=title, licence=licence, source=source)
        write_json(self.out / DATASET, content)
        _data_list(reader, self.report["cases"], licence=licence, source=source).write(
            self.out / "data_lists" / f"{reader}.json"
        )
        self.report.pop("pending", None)
        self.report |= {"status": FINISHED, "finished": _now()}
        self.save()
        shutil.rmtree(self.unpacked, ignore_errors=True)
        if self.downloads.is_dir() and not any(self.downloads.iterdir()):
            self.downloads.rmdir()

    def _intact(self, entry: Mapping[str, Any]) -> bool:
        written: dict[str, str] = entry["sha256"]
        there = all((self.out / name).is_file() for name in written)
        return there and checksums(self.out, written) == written


@contextmanager
def workspace(out: Path, domain: str) -> Iterator[Workspace]:
    """Take a folder for a domain, for the time of the ``with`` block alone.

    Args:
        out: A new folder, an empty one, or one that ``prepare`` made for the same domain.
        domain: What is prepared in it.

    Raises:
        SettingsError: The folder is in use by something else, another process prepares in it, or it cannot be
            written.
    """
    _check_ours(out, domain)
    with claimed(out):
        yield Workspace(out, domain)


def stamp(paths: Iterable[Path]) -> str:
    """A name for the state of files and folders: paths, sizes and dates, not content."""
    digest = hashlib.sha256(str(VERSION).encode())
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in (file for file in files if file.is_file()):
            status = file.stat()
            digest.update(f"{file.absolute()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _check_ours(out: Path, domain: str) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise SettingsError(f"{out} is a file; name a new folder with --out")
    if (out / REPORT).is_file():
        try:
            other = read_json(out / REPORT).get("domain")
        except CheckpointError as error:
            raise SettingsError(f"{out / REPORT} is damaged; remove it, or name a new folder with --out") from error
        if other != domain:
            raise SettingsError(
                f"{out} holds {other!r} as prepared before, not {domain!r}; name a new folder with --out"
            )
        return
    if any(entry.name not in (LOCK, DOWNLOADS, f".{REPORT}.partial") for entry in out.iterdir()):
        raise SettingsError(
            f"{out} is in use by something else: it is not empty and was not made by prepare; name a new folder with "
            "--out"
        )


def _data_list(domain: str, cases: Mapping[str, Mapping[str, Any]], *, licence: str, source: str) -> DataList:
    """The split that the data set itself declares: its test part holds what there are labels of."""
    splits: dict[str, tuple[ListedCase, ...]] = {}
    for part, split in (("Tr", TRAIN), ("Ts", TEST)):
        listed = {case: entry for case, entry in cases.items() if entry["part"] == part}
        splits[split] = tuple(
            ListedCase(
                case,
                image=f"sha256:{entry['sha256'][entry['image']]}",
                label=f"sha256:{entry['sha256'][entry['label']]}" if entry["label"] else None,
                series=entry["source"].get("series"),
            )
            for case, entry in listed.items()
            if part == "Tr" or entry["label"]
        )
    only = ListedDomain(domain=domain, licence=licence, splits=splits, labels=dict(LABELS), origin=(source,))
    return DataList(
        name=domain, title=f"{domain} as prepared", parts={ALONE: only}, made_with=f"prostate-uda prepare {domain}"
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
