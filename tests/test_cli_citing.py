"""The command's side of citations; in this process, which has imported what takes seconds."""

import sys

import pytest

from prostate_uda import cli
from prostate_uda.methods.citations import BIBTEX, FOUNDATION


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code."""
    monkeypatch.setattr(sys, "argv", ["prostate-uda", *arguments])
    with pytest.raises(SystemExit) as done:
        cli.main()
    return int(done.value.code or 0)


def test_cite_prints_bibtex_as_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "cite", "maxsquare") == 0
    assert capsys.readouterr() == (f"{BIBTEX[FOUNDATION]}\n\n{BIBTEX['chen2019maxsquare']}\n", "")


def test_cite_all_prints_every_entry(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "cite", "--all") == 0
    told = capsys.readouterr().out
    assert all(entry in told for entry in BIBTEX.values())


def test_an_unknown_name_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "cite", "maxsquare", "simt") == 2
    out, complaint = capsys.readouterr()
    assert out == ""
    assert complaint.startswith("error: unknown method 'simt'; choose one of: adaptsegnet")
    assert complaint.count("\n") == 1
