"""Floor 5: ``report.json``, ``.csv`` and ``.html`` on a folder of segmented scans, and ``failures.csv``."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prostate_uda.recipes.record import read_json, write_json, write_rows
from prostate_uda.review.itksnap import write_label_descriptions
from prostate_uda.review.report_page import report_page

PER_PAGE = 50
"""Cases on one page; a browser keeps some 10 MB of pictures for them."""

MEASURES = (
    *("WP_mL", "PZ_mL", "TZ_mL", "TZ_PZ_ratio", "ellipsoid_mL", "slices", "pieces", "second_mL", "uncertainty"),
    *("psa", "psa_density"),
)
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
    failures = [(str(one["case"]), str(one["source"]), str(one["failure"])) for one in records if one.get("failure")]
    rows = [_row(one) for one in done]
    content = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "research_use_only": True,
        **provenance,
        "cases": [
            {**row, "flags": one["flags"], "scan": one["made_with"]["scan"], "bundle": one["made_with"]["bundle"]}
            for row, one in zip(rows, done, strict=True)
        ],
        "failures": [dict(zip(("case", "source", "reason"), one, strict=True)) for one in failures],
    }
    write_json(out / "report.json", content)
    write_rows(out / "report.csv", rows)
    _write_failures(out / "failures.csv", failures)
    for stale in (out / "report.html", *out.glob("report_[0-9]*.html")):
        stale.unlink(missing_ok=True)
    if page:
        write_label_descriptions(out / "itksnap_labels.txt")
        shown = [one["case"] for one in done if one["has_page"]]
        _write_pages(out, [kept / f"{case}.json" for case in shown], failures, provenance)


def _without_page(path: Path) -> dict[str, Any]:
    """A record without its pictures: those of thousands of scans are read a page at a time."""
    record = read_json(path)
    return {**record, "has_page": bool(record.pop("page", None))}


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    measures = record["measures"]
    numbers = {name: _number(measures.get(name)) for name in MEASURES}
    flags = ";".join(code for code, _ in record["flags"])
    names = {key: _plain(str(record[key])) for key in ("case", "source")}
    return {**names, **numbers, "place": record["place"], "flags": flags}


def _plain(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _number(value: float | None) -> float | str:
    """Rounded; empty where there is none."""
    return "" if value is None or not math.isfinite(value) else round(float(value), 4)


def _write_failures(path: Path, failures: Sequence[tuple[str, str, str]]) -> None:
    """The scans that could not be segmented; no file where there is none."""
    if not failures:
        path.unlink(missing_ok=True)
        return
    write_rows(path, [dict(zip(("case", "source", "reason"), one, strict=True)) for one in failures])


def _write_pages(
    out: Path,
    done: Sequence[Path],
    failures: Sequence[tuple[str, str, str]],
    provenance: Mapping[str, Any],
) -> None:
    told = {name: str(value) for name, value in provenance["bundle"].items() if name in ("name", "version", "weights")}
    told |= {"prostate-uda": str(provenance["versions"]["prostate-uda"])}
    pages = max(1, math.ceil(len(done) / PER_PAGE))
    for number in range(1, pages + 1):
        cases = [read_json(path)["page"] for path in done[(number - 1) * PER_PAGE : number * PER_PAGE]]
        report_page(
            cases,
            title=TITLE,
            path=out / ("report.html" if number == 1 else f"report_{number}.html"),
            provenance=told,
            page=number,
            pages=pages,
            failures=[(case, reason) for case, _, reason in failures] if number == 1 else (),
        )
