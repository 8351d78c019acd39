"""Floor 2, review: the page a radiologist reviews contours on, one HTML file that needs nothing beside it.

Its parts lie in ``templates/``. The page asks no network, and its content security policy lets no script run but its
own: text from files is shown as text.
"""

import json
import math
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from prostate_uda.errors import DataError, SettingsError
from prostate_uda.review.files import whole
from prostate_uda.review.report_case import FORMAT

_SHOWN = ("name", "size", "pixel_mm", "slice_mm", "crop", "gland", "window", "first", "slices")
_SCRIPTS = ("store.js", "viewer.js", "panels.js", "main.js")
_KNOWN = {
    "WP_mL": ("Prostate (WP)", "mL", 1),
    "TZ_mL": ("Transition zone (TZ)", "mL", 1),
    "PZ_mL": ("Peripheral zone (PZ)", "mL", 1),
    "TZ_PZ_ratio": ("TZ / PZ", "", 2),
    "ellipsoid_mL": ("By three diameters", "mL", 1),
    "psa": ("PSA", "ng/mL", 1),
    "psa_density": ("PSA density", "ng/mL²", 2),
    "uncertainty": ("Mean uncertainty", "", 2),
    "unlikeness": ("Distance from training scans", "times the usual", 1),
    "slices": ("Slices with gland", "", 0),
    "pieces": ("Connected pieces", "", 0),
    "second_mL": ("Second piece", "mL", 1),
}
"""Measure to its words, unit and digits after the point, in the order they are shown; others follow as they come."""

_SHORTCUTS = (
    ("a c r", "Accept, to correct, reject"),
    ("m Esc", "Write a comment, leave it"),
    ("j n", "Next case"),
    ("k p", "Previous case"),
    ("u Ctrl+Z", "Undo"),
    ("↑ ↓", "Slice towards the head, towards the feet (or the wheel)"),
    ("Home End g", "Uppermost slice, lowest slice, slice with the largest gland"),
    ("Space", "Hide everything drawn over the picture, show it again"),
    ("1 2 3", "Peripheral zone, transition zone, prostate"),
    ("o f e", "Outline, fill, uncertainty"),
    ("z + -", "Gland or whole slice, zoom in, zoom out (or Ctrl and wheel; Shift and drag to move)"),
    ("w", "Window and zoom as they were (drag: right is softer, down is darker)"),
    ("/ ?", "Search, these keys"),
)


_PART = r"""[^\s\\/](?:(?:(?![:;]\s)[^\\/\n])*[^\s\\/'"(\[<=])?"""
"""A folder's name, which may have blanks inside; a sentence goes on behind a colon or semicolon."""
_FOLDERS = re.compile(
    r"""(?<![^\s'"(\[<=:,;])(?:"""
    r"(?P<kept>(?:I/O|[Ii]nput/output|and/or|(?:ng|mm|mg)²?/[\w²]+|\d+/\d+)(?![\w\\/]))"
    rf"""|(?:(?:[A-Za-z]:|~)?[\\/]+|[^\s\\/'"(\[<=:,;]+[\\/]+)(?:{_PART}[\\/]+)*(?=[^\s\\/:;,'\")\]>]))"""
)


def report_page(
    cases: Sequence[Mapping[str, Any]],
    *,
    title: str,
    path: Path,
    provenance: Mapping[str, str],
    page: int = 1,
    pages: int = 1,
    failures: Sequence[tuple[str, str]] = (),
) -> None:
    """Write the page: its cases with slices, contours, flags and measures, and the means to judge them.

    Verdicts are kept in the browser under the digests of their cases: they are there again on whatever page of whatever
    report a case stands unchanged.

    Args:
        cases: What :func:`~prostate_uda.review.report_case.render_case` returned, in any order; none is allowed.
        title: Headline.
        path: The HTML; written under another name first, so it is never half there. Of several pages, the first is
            ``report.html``, the second ``report_2.html``.
        provenance: Name to value of what made the contours, shown under "About this report".
        page: Which page this is, from 1.
        pages: How many there are; the others are linked.
        failures: Scan and reason of those that failed; of paths in a reason the last name is shown.

    Raises:
        SettingsError: ``page`` is not one of ``pages``, or two cases have one name.
        DataError: A case was rendered by another version.
    """
    if not 1 <= page <= pages:
        raise SettingsError(f"page {page} of {pages}; 1 to {max(pages, 1)} is allowed; count from 1")
    _check(cases)
    cases = sorted(cases, key=lambda case: (-case["attention"], case["name"]))
    index = [_listed(case) for case in cases]
    made = {"title": title, "provenance": dict(provenance)}
    report = made | {"stem": path.stem, "id": _digest([made, index])}
    style, script = _part("report.css"), "\n".join(_part(name) for name in _SCRIPTS)
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(
        _part("report.html")
    )
    text = template.render(
        title=title,
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        report=report,
        index=index,
        cases=[{key: case[key] for key in _SHOWN} for case in cases],
        provenance=provenance,
        failures=[(name, without_folders(reason)) for name, reason in failures],
        shortcuts=_SHORTCUTS,
        links=_links(path, page, pages),
    )
    with whole(path) as half:
        half.write_text(text, encoding="utf-8", errors="replace")  # a file's name may not be Unicode


def measure_rows(measures: Mapping[str, float | None]) -> list[tuple[str, str]]:
    """Words and value with unit of each measure, the known ones first; a missing value is n/a."""
    rows = []
    for name in sorted(measures, key=lambda name: list(_KNOWN).index(name) if name in _KNOWN else len(_KNOWN)):
        value = measures[name]
        words, unit, digits = _KNOWN.get(name, (name.removesuffix("_mL"), "mL" if name.endswith("_mL") else "", None))
        if value is None or not math.isfinite(value):
            text = "n/a"
        else:
            text = (f"{value:.3g}" if digits is None else f"{value:.{digits}f}") + (f" {unit}" if unit else "")
        rows.append((words, text))
    return rows


def without_folders(text: str) -> str:
    """A sentence with only the last name of each path in it: folders may be named after patients.

    In doubt a word goes rather than a folder's name stays. The first folder of a relative path is known up to a blank.
    """
    return _FOLDERS.sub(lambda found: found["kept"] or "", text)


def _listed(case: Mapping[str, Any]) -> dict[str, Any]:
    """What the list and the panel need of a case before its slices are read."""
    volume = case["measures"].get("WP_mL")
    return {
        "name": case["name"],
        "source": case["source"],
        "flags": case["flags"],
        "volume": "" if volume is None else f"{volume:.0f} mL",
        "rows": measure_rows(case["measures"]),
        "digest": case["digest"],
    }


def _links(path: Path, page: int, pages: int) -> list[dict[str, Any]]:
    """First, last and neighbouring pages; a gap stands for those between."""
    stem = path.stem if page == 1 else path.stem.removesuffix(f"_{page}")
    links: list[dict[str, Any]] = []
    last = 0
    for number in sorted({1, pages} | {place for place in range(page - 2, page + 3) if 1 <= place <= pages}):
        if number - last > 1:
            links.append({"gap": True, "here": False, "number": 0, "href": ""})
        href = f"{stem}{'' if number == 1 else f'_{number}'}{path.suffix}"
        links.append(
            {"gap": False, "here": number == page, "number": number, "href": quote(href, errors="surrogateescape")}
        )
        last = number
    return links


def _digest(known: list[Any]) -> str:
    return sha256(json.dumps(known, sort_keys=True).encode("ascii")).hexdigest()[:16]


def _part(name: str) -> str:
    return (files("prostate_uda.review") / "templates" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode("utf-8")).digest()).decode("ascii")


def _check(cases: Sequence[Mapping[str, Any]]) -> None:
    names = set()
    for case in cases:
        if case.get("format") != FORMAT:
            raise DataError(f"a case of format {case.get('format')!r}; {FORMAT} is allowed; delete the kept file")
        if case["name"] in names:
            raise SettingsError(f"two cases named {case['name']!r}; a verdict is kept under a name; rename one")
        names.add(case["name"])
