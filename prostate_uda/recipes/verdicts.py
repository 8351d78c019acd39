"""Floor 5: what a reviewer said of each case, as downloaded from ``report.html``."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

from prostate_uda.errors import DataError
from prostate_uda.recipes.evaluate import BUNDLE_SUFFIX
from prostate_uda.recipes.record import read_json
from prostate_uda.recipes.scan_names import KEPT

VERDICTS = ("accept", "correct", "reject")
TOLD = ("comment", "reviewer", "reviewed_at", "digest")
FORMAT = "prostate-uda-review/"
"""What the page's JSON begins its ``format`` with."""
OUTCOME = "outcome"
"""A column of the table of corrections, which is not a reviewer's, though it repeats verdicts."""
GUARDED = ("'=", "'+", "'-", "'@", "'\t", "'\r")
"""How a cell of the page's CSV begins that a spreadsheet would take for a formula."""


@dataclass(frozen=True)
class Verdict:
    """One case's.

    Attributes:
        verdict: One of :data:`VERDICTS`.
        comment: Free text.
        reviewer: Who said so.
        reviewed_at: When, as the page wrote it.
        digest: Of the contours that were judged, as the page has it; empty where the file has none.
    """

    verdict: str
    comment: str = ""
    reviewer: str = ""
    reviewed_at: str = ""
    digest: str = ""


Outdated = Callable[[str, Verdict], bool]
"""Whether a case's verdict is on other contours than those there now."""


def outdated_by(predictions: Path) -> Outdated:
    """Compare verdicts with the contours that ``infer`` keeps beside its predictions; without those none is outdated.

    Args:
        predictions: The folder that ``infer`` wrote.

    Returns:
        It reads a case's record once, and raises a CheckpointError where that is damaged.
    """
    kept = {path.stem: path for path in (predictions / KEPT).glob("*.json")}

    @cache
    def there(case: str) -> str:
        page = read_json(kept[case]).get("page") if case in kept else None
        return str(page.get("digest", "")) if isinstance(page, dict) else ""

    def outdated(case: str, verdict: Verdict) -> bool:
        return bool(verdict.digest) and there(case) not in ("", verdict.digest)

    return outdated


def find_verdicts(folder: Path, outdated: Outdated) -> dict[str, Verdict]:
    """The verdicts of every file in a folder that holds some; JSON and CSV of one review may lie side by side.

    Args:
        folder: Where they lie.
        outdated: Such a verdict gives way to one that is not.

    Returns:
        By case; empty where no file holds any.

    Raises:
        DataError: a file of verdicts is not as the page wrote it, or two say different of one case.
    """
    found: dict[str, tuple[Path, Verdict]] = {}
    for path in sorted(folder.iterdir()):
        rows = _rows(path) if path.suffix.lower() in (".json", ".csv") and path.name[0] != "." else None
        for case, verdict in ({} if rows is None else _verdicts(path, rows)).items():
            other, before = found.get(case, (path, verdict))
            if case not in found or outdated(case, before):
                found[case] = path, verdict
            elif before.verdict != verdict.verdict and not outdated(case, verdict):
                told = f"{other} and {path} say different of {case!r}"
                raise DataError(f"{told}; keep one of them, or name it with --verdicts")
    return {case: verdict for case, (_, verdict) in found.items()}


def read_verdicts(path: Path) -> dict[str, Verdict]:
    """The verdicts of one file, by case; cases that nobody has looked at are left out.

    Raises:
        DataError: no such file, or it is not as the page wrote it.
    """
    if not path.is_file():
        raise DataError(f"{path} is no file; give the JSON or CSV that was downloaded from report.html")
    rows = _rows(path)
    if rows is None:
        raise DataError(f"{path} holds no verdicts; give the JSON or CSV that was downloaded from report.html")
    return _verdicts(path, rows)


def _rows(path: Path) -> list[Any] | None:
    """A file's rows; None where it is about something else."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text) if path.suffix.lower() == ".json" else csv.DictReader(StringIO(text, newline=""))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({_reason(error)}); download it again, or remove it") from error
    if isinstance(content, csv.DictReader):
        fields = content.fieldnames or []
        ours = {"case", "verdict"} <= set(fields) and OUTCOME not in fields
        return [{key: _unguarded(cell) for key, cell in row.items()} for row in content] if ours else None
    if not isinstance(content, dict) or not str(content.get("format", "")).startswith(FORMAT):
        return None
    rows = content.get("cases")
    return rows if isinstance(rows, list) else None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())


def _verdicts(path: Path, rows: Iterable[Any]) -> dict[str, Verdict]:
    found: dict[str, Verdict] = {}
    for row in rows:
        case = _text(row, "case").removesuffix(BUNDLE_SUFFIX)
        said = _text(row, "verdict").lower()
        if not case or (said and said not in VERDICTS):
            told = f"verdict {said!r} of case {case!r}"
            raise DataError(f"{path}: {told}; a case's name and one of {', '.join(VERDICTS)} are needed")
        if case in found:
            raise DataError(f"{path}: two verdicts of case {case!r}; keep one of them")
        if said:
            found[case] = Verdict(said, *(_text(row, key) for key in TOLD))
    return found


def _text(row: Any, key: str) -> str:  # noqa: ANN401  JSON is any
    value = row.get(key) if isinstance(row, Mapping) else None
    return "" if value is None else str(value).strip()


def _unguarded(cell: Any) -> Any:  # noqa: ANN401  a row that is too long has a list
    return cell[1:] if isinstance(cell, str) and cell[:2] in GUARDED else cell
