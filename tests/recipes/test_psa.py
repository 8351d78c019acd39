"""PSA of scans: a number for one, a table for several, and one line where it is neither."""

from pathlib import Path

import pytest

from prostate_uda.errors import SettingsError
from prostate_uda.recipes.psa import read_psa


def table(tmp_path: Path, content: str, encoding: str = "utf-8") -> str:
    path = tmp_path / "psa.csv"
    path.write_text(content, encoding=encoding)
    return str(path)


def test_none_is_none() -> None:
    assert read_psa(None, ["a", "b"]) == {}


@pytest.mark.parametrize(("given", "value"), [("6.5", 6.5), ("0", 0.0), (" 12 ", 12.0), ("1e1", 10.0)])
def test_a_number_is_the_only_scans(given: str, value: float) -> None:
    assert read_psa(given, ["a"]) == {"a": value}


@pytest.mark.parametrize("given", ["-1", "nan", "inf", "-inf"])
def test_a_number_that_no_blood_has(given: str) -> None:
    with pytest.raises(SettingsError, match=rf"^PSA {given}; allowed is 0 or more ng/mL$"):
        read_psa(given, ["a"])


def test_a_number_for_several_scans() -> None:
    with pytest.raises(
        SettingsError,
        match=r"^PSA 6\.5 for 2 scans, such as 'a'; give a CSV with",
    ):
        read_psa("6.5", ["a", "b"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("line", ["\n", "\r\n"])
def test_a_table_with_or_without_a_mark_at_its_head(tmp_path: Path, encoding: str, line: str) -> None:
    given = table(
        tmp_path, line.join(["case,age,psa", "a,61,6.5", 'b,70,""', "c,55, 4 ", "unknown,1,-3", ""]), encoding
    )
    assert read_psa(given, ["a", "b", "c", "d"]) == {"a": 6.5, "c": 4.0}


def test_names_of_any_kind(tmp_path: Path) -> None:
    given = table(tmp_path, 'psa,case\n1.5,"Müller, <b>"\n2,0001\n')
    assert read_psa(given, ["Müller, <b>", "0001"]) == {"Müller, <b>": 1.5, "0001": 2.0}


def test_a_table_of_no_scan_names_some_of_both(tmp_path: Path) -> None:
    told = r"has no row of any scan: it names 'x' and 'y', scans are 'a' and 'b'; name cases like scans$"
    with pytest.raises(SettingsError, match=told):
        read_psa(table(tmp_path, "case,psa\nx,3\ny,4\nz,5\n"), ["a", "b", "c"])
    with pytest.raises(SettingsError, match=r"it names 'x', scans are 'a'; "):
        read_psa(table(tmp_path, "case,psa\nx,3\n"), ["a"])


@pytest.mark.parametrize("rows", ["a,3\na,4", "a,3\na,3", "a,\nb,1\na,4", "a,3\na"])
def test_two_rows_of_one_scan(tmp_path: Path, rows: str) -> None:
    with pytest.raises(SettingsError, match=r"has two rows of 'a'; keep one of them$"):
        read_psa(table(tmp_path, f"case,psa\n{rows}\n"), ["a", "b"])


def test_rows_of_others_are_nobodys_business(tmp_path: Path) -> None:
    assert read_psa(table(tmp_path, "case,psa\nx,3\nx,4\nb,\ny,-1\n"), ["a", "b"]) == {}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("case,value\na,3\n", "has no rows with the columns case and psa; name them so"),
        ("case,psa\n", "has no rows with the columns case and psa"),
        ("case;psa\na;3\n", "has no rows with the columns case and psa"),
        ("", "has no rows with the columns case and psa"),
        ("case,psa\na,high\n", "PSA 'high' of a is no number; give ng/mL"),
        ('case,psa\na,"6,5"\n', "PSA '6,5' of a is no number; give ng/mL"),
        ("case,psa\na,-2\n", r"PSA -2; allowed is 0 or more ng/mL"),
        ("case,psa\na,nan\n", r"PSA nan; allowed is 0 or more ng/mL"),
    ],
)
def test_a_table_that_is_none_is_one_line(tmp_path: Path, content: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as caught:
        read_psa(table(tmp_path, content), ["a"])
    assert "\n" not in str(caught.value)


def test_a_short_row_has_no_value(tmp_path: Path) -> None:
    assert read_psa(table(tmp_path, "case,psa\na\nb,2\n"), ["a", "b"]) == {"b": 2.0}


@pytest.mark.parametrize("given", ["six", "no.csv", ".", "", "6,5"])
def test_text_that_is_no_table(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        SettingsError,
        match=r"is no (number and no file|table that can be read); give ng/mL",
    ):
        read_psa(given, ["a"])


def test_a_picture_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "psa.csv").write_bytes(b"\x89PNG\r\n\xff\xfe\x00")
    with pytest.raises(SettingsError, match="no table that can be read"):
        read_psa(str(tmp_path / "psa.csv"), ["a"])
