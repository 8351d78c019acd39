"""What is cited with a method."""

import re

import pytest

from prostate_uda.errors import SettingsError, UnknownNameError
from prostate_uda.methods import METHODS
from prostate_uda.methods.citations import BIBTEX, CITATIONS, FOUNDATION
from prostate_uda.recipes import cite


def keys(text: str) -> list[str]:
    return re.findall(r"^@\w+\{(\w+),$", text, flags=re.MULTILINE)


def test_the_foundation_comes_first_and_every_source_once() -> None:
    assert keys(cite()) == [FOUNDATION]
    assert keys(cite(["maxsquare"])) == [FOUNDATION, "chen2019maxsquare"]
    assert keys(cite(["cbst", "mrent", "mrkld", "metacorrection"])) == [FOUNDATION, "zou2018cbst", "zou2019crst"]


def test_everything_is_every_entry() -> None:
    assert sorted(keys(cite(everything=True))) == sorted(BIBTEX)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown method 'simt'; choose one of: adaptsegnet, .*"):
        cite(["maxsquare", "simt"])


def test_a_method_whose_source_nobody_wrote_down_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "new", METHODS["self-training"])
    with pytest.raises(SettingsError, match="new has no citation yet; add its source"):
        cite(["new"])


@pytest.mark.parametrize("key", BIBTEX)
def test_an_entry_is_well_formed_bibtex(key: str) -> None:
    entry = BIBTEX[key]
    assert keys(entry) == [key]
    assert entry.count("{") == entry.count("}")
    assert entry.isascii()  # for every BibTeX
    fields = dict(re.findall(r"^  (\w+)\s+= \{(.+?)\},$", entry, flags=re.MULTILINE | re.DOTALL))
    assert {"author", "title", "year"} <= fields.keys()
    assert fields.keys() & {"booktitle", "journal"}
    assert key.startswith(re.split(r"\W", fields["author"])[0].lower() + fields["year"])


def test_no_entry_is_without_a_method() -> None:
    assert {key for sources in CITATIONS.values() for key in sources} == set(BIBTEX)
