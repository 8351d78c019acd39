"""Floor 5: ``report.json``, ``.csv`` and ``.html`` on a folder of segmented scans, and ``failures.csv``."""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prostate_uda.errors import CheckpointError
from prostate_uda.recipes.record import read_json, write_json, write_rows
from prostate_uda.review.itksnap import write_label_descriptions
from prostate_uda.review.report_page import report_page

PER_PAGE = 50
"""Cases on one page; a browser keeps some 10 MB of pictures for them."""

MEASURES = (
    *("WP_mL", "PZ_mL", "TZ_mL", "TZ_PZ_ratio", "ellipsoid_mL", "slices", "pieces", "second_mL", "uncertainty"),
    "unlikeness",
    *("psa", "psa_density"),
)
MADE_WITH = ("scan", "bundle", "settings", "versions")
FAILURE = ("case", "source", "failure")
TITLE = "Prostate zones for review"


def write_report(out: Path, kept: Path, provenance: Mapping[str, Any], *, page: bool) -> None:
    """Write what is known of all scans of a folder, what needs a look first.

    Args:
        out: Folder of the results.
        kept: Folder of their records, also those of earlier calls.
        provenance: What made them.
        page: Whether ``report.html`` and label descriptions for ITK-SNAP are written, too.
    """
    records = [_without_page(path) for path in sorted(kept.glob("*.json"))]
    done = sorted((one for one in records if not one.get("failure")), key=lambda one: (-one["attention"], one["case"]))
    failures = [{key: str(one[key]) for key in FAILURE} for one in records if one.get("failure")]
    rows = [_row(one) for one in done]
    content = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "research_use_only": True,
        **provenance,
        "cases": [
            {**row, "flags": one["flags"], **{key: one["made_with"][key] for key in MADE_WITH}}
            for row, one in zip(rows, done, strict=True)
        ],
        "failures": failures,
    }
    write_json(out / "report.json", content)
    write_rows(out / "report.csv", [_guarded(row) for row in rows])
    _write_failures(out / "failures.csv", failures)
    for stale in out.glob("report_*.html"):
        if re.fullmatch(r"report_\d+\.html", stale.name):
            stale.unlink()
    if page or any(one["has_page"] for one in done):
        write_label_descriptions(out / "itksnap_labels.txt")
        _write_pages(out, [one for one in done if one["has_page"]], kept, failures)


def _without_page(path: Path) -> dict[str, Any]:
    """A record without its pictures: those of thousands of scans are read a page at a time."""
    try:
        record = read_json(path)
    except CheckpointError:
        return {"case": path.stem, "source": "", "failure": "its record is damaged; segment it again"}
    page = record.pop("page", None)
    return {**record, "has_page": bool(page)}


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    measures = record["measures"]
    numbers = {name: _number(measures.get(name)) for name in MEASURES}
    flags = ";".join(code for code, _ in record["flags"])
    return {"case": record["case"], "source": record["source"], **numbers, "place": record["place"], "flags": flags}


def _guarded(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of which no spreadsheet takes a text for a formula."""
    return {
        key: f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value
        for key, value in row.items()
    }


def _number(value: float | None) -> float | None:
    """Rounded; None where there is none."""
    return None if value is None or not math.isfinite(value) else round(float(value), 4)


def _write_failures(path: Path, failures: Sequence[Mapping[str, str]]) -> None:
    """The scans that could not be segmented; no file where there is none."""
    if not failures:
        path.unlink(missing_ok=True)
        return
    write_rows(
        path, [_guarded({"case": one["case"], "source": one["source"], "reason": one["failure"]}) for one in failures]
    )


def _write_pages(
    out: Path, done: Sequence[Mapping[str, Any]], kept: Path, failures: Sequence[Mapping[str, str]]
) -> None:
    pages = max(1, math.ceil(len(done) / PER_PAGE))
    for number in range(1, pages + 1):
        cases = [read_json(kept / f"{one['case']}.json")["page"] for one in done[(number - 1) * PER_PAGE :][:PER_PAGE]]
        report_page(
            cases,
            title=TITLE,
            path=out / ("report.html" if number == 1 else f"report_{number}.html"),
            provenance=_told(done),
            page=number,
            pages=pages,
            failures=[(one["case"], one["failure"]) for one in failures] if number == 1 else (),
        )


def _told(done: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Which bundles and versions made the cases."""
    made = [one["made_with"] for one in done]
    named = {key: {str(one["bundle"][key]) for one in made} for key in ("name", "version", "weights")}
    named["prostate-uda"] = {str(one["versions"]["prostate-uda"]) for one in made}
    return {key: ", ".join(sorted(values)) for key, values in named.items()}
