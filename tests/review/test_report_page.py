"""The review page as a file: what is in it, what may run, what is refused."""

import json
import re
import time
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import escape

from prostate_uda.errors import DataError, SettingsError
from prostate_uda.review.report_page import measure_rows, without_folders
from tests.review.report_cases import HOSTILE, SHAPE, a_case, the_cases, write


class Outline(HTMLParser):
    """Tags of a page, and what each script holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.held: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in {"script", "style"}:
            self.held.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.held[-1] += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    text = write(
        tmp_path / "report.html",
        the_cases(),
        title=f"Title {HOSTILE}",
        provenance={HOSTILE: HOSTILE},
        failures=[(HOSTILE, HOSTILE)],
    )
    page = Outline(text)
    assert page.named("img") == []
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert [script.get("type") for script in page.named("script")] == ["application/json"] * 5 + [None]
    report, index, *cases = (json.loads(held) for held in page.held[1:-1])
    assert report["title"] == f"Title {HOSTILE}"
    assert index[0]["source"] == HOSTILE
    assert [case["name"] for case in cases] == [f"=hostile {HOSTILE}", "alpha", "beta"]


def test_only_its_own_script_may_run_and_nothing_is_fetched(tmp_path: Path) -> None:
    text = write(tmp_path / "report.html", the_cases())
    page = Outline(text)
    policy = next(meta["content"] for meta in page.named("meta") if meta.get("http-equiv")) or ""
    hashes = [b64encode(sha256(held.encode()).digest()).decode() for held in (page.held[0], page.held[-1])]
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert f"style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'" in policy
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert [tag for tag, attributes in page.tags if "src" in attributes] == []
    assert "Research use only. Not a medical device." in text


def test_same_name_or_another_version_is_refused(tmp_path: Path) -> None:
    case = a_case("one")
    with pytest.raises(SettingsError, match="two cases named 'one'"):
        write(tmp_path / "report.html", [case, case])
    with pytest.raises(DataError, match="format 0"):
        write(tmp_path / "report.html", [case | {"format": 0}])
    with pytest.raises(SettingsError, match="page 3 of 2"):
        write(tmp_path / "report.html", [case], page=3, pages=2)
    assert list(tmp_path.iterdir()) == []


def test_pages_are_linked(tmp_path: Path) -> None:
    def links(name: str, page: int) -> list[str | None]:
        return [link["href"] for link in Outline(write(tmp_path / name, [], page=page, pages=9)).named("a")]

    assert links("report.html", 1) == ["report_2.html", "report_3.html", "report_9.html"]
    assert links("report_2.html", 2) == ["report.html", "report_3.html", "report_4.html", "report_9.html"]
    assert links("my # report_9.html", 9) == [f"my%20%23%20report{end}.html" for end in ("", "_7", "_8")]
    assert Outline(write(tmp_path / "report.html", [])).named("nav") == []


def test_another_report_has_another_id(tmp_path: Path) -> None:
    def identity(cases: list[dict[str, Any]], **changes: Any) -> str:
        return str(json.loads(Outline(write(tmp_path / "report.html", cases, **changes)).held[1])["id"])

    one, label = a_case("one"), np.ones(SHAPE, dtype=np.uint8)
    same = identity([one])
    assert identity([json.loads(json.dumps(one))]) == same
    assert same not in {
        identity([one], title="Other"),
        identity([one, a_case("two")]),
        identity([a_case("one", label=label)]),
    }


def test_a_name_that_is_no_unicode_is_written(tmp_path: Path) -> None:
    assert "bad?name" in write(tmp_path / "report.html", [a_case("odd\udc80")], failures=[("bad\udc80name", "why")])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/data/Müller Hans/T2/scan.nii.gz: 2 dimensions; 3 are needed", "scan.nii.gz: 2 dimensions; 3 are needed"),
        ("/data/Müller Hans: no series; give another", "Müller Hans: no series; give another"),
        ("no scan in /data/Müller/T2/; give a NIfTI file", "no scan in T2/; give a NIfTI file"),
        (r"C:\Users\Hans Müller\scan.nii is no scan", "scan.nii is no scan"),
        (r"\\server\share\O'Brien, Pat (1970)\a.dcm: bad", "a.dcm: bad"),
        ("[Errno 5] Input/output error: '/data/Mü ller/x.nii'", "[Errno 5] Input/output error: 'x.nii'"),
        ("scans/Müller/a.nii and /b/c d/e.nii differ", "a.nii and e.nii differ"),
        ("('/a/b', \"/c d/e\"), [/Müller/f], image=/g/h.nii", "('b', \"e\"), [f], image=h.nii"),
        ("/scan.nii: ~/Müller/a or ../up/.hidden", "scan.nii: .hidden"),  # in doubt a word goes
        (
            "slice 3/4 of I/O; 0.5 mm / 2, 4 ng/mL. Nothing: here",
            "slice 3/4 of I/O; 0.5 mm / 2, 4 ng/mL. Nothing: here",
        ),
    ],
)
def test_a_reason_names_files_and_no_folders(tmp_path: Path, text: str, shown: str) -> None:
    assert without_folders(text) == without_folders(shown) == shown
    page = write(tmp_path / "report.html", [], failures=[("a", text)])
    assert str(escape(shown)) in page
    assert str(escape(text)) not in page or text == shown


@pytest.mark.parametrize("text", ["/a" * 9000, "/" * 20000, "a b " * 5000 + "/", "/" + "a b: " * 4000, "/a b/ " * 3000])
def test_a_long_reason_takes_no_time(text: str) -> None:
    start = time.process_time()
    without_folders(text)
    assert time.process_time() - start < 1


def test_measures_have_words_and_units() -> None:
    measures = {"uncertainty": 0.31, "other_mL": 0.01234, "psa_density": 0.154, "WP_mL": 41.26, "TZ_PZ_ratio": None}
    assert measure_rows(measures) == [
        ("Prostate (WP)", "41.3 mL"),
        ("TZ / PZ", "n/a"),
        ("PSA density", "0.15 ng/mL²"),
        ("Mean uncertainty", "0.31"),
        ("other", "0.0123 mL"),
    ]
