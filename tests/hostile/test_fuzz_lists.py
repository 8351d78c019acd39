"""Data lists, label names, landmarks: JSON and text of any form are read as they are, or refused in one line."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prostate_uda.data.datalists import FORMAT, DataList
from prostate_uda.data.labels import parse_label_names, values_by_name
from prostate_uda.errors import ProstateUDAError
from prostate_uda.transforms import Landmarks, load_landmarks

QUIET = (HealthCheck.too_slow,)
FEW = settings(max_examples=60, deadline=None, suppress_health_check=QUIET)
MANY = settings(max_examples=3000, deadline=None, suppress_health_check=QUIET)

LISTED: dict[str, Any] = {
    "format": FORMAT,
    "name": "a-pair",
    "title": "One pair.",
    "notes": ["A note."],
    "source": {
        "domain": "folder",
        "licence": "CC0",
        "labels": {"1": "PZ", "2": "TZ"},
        "origin": ["https://example.org"],
        "archives": [{"name": "a.zip", "url": "https://example.org/a.zip", "checksum": "md5:" + 32 * "0"}],
        "splits": {"train": [{"id": "a", "image": "sha256:" + 64 * "1"}], "test": [{"id": "b"}]},
    },
    "target": {"domain": "folder", "licence": "CC0", "splits": {"train": [{"id": "c"}], "test": [{"id": "d"}]}},
}
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 300), st.floats(), st.text(max_size=8), st.sampled_from(("a", "../x", ""))
)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def places(content: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where there is something in JSON, the whole aside."""
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place for key, value in inside for place in ((*here, key), *places(value, (*here, key)))]


@st.composite
def changed_lists(draw: st.DrawFn) -> Any:
    """The list with something else, or nothing, in one to three places; or something else altogether."""
    if draw(st.integers(0, 9)) == 0:
        return draw(ANYTHING)
    content = json.loads(json.dumps(LISTED))
    for _ in range(draw(st.integers(0, 3))):
        *way, last = draw(st.sampled_from(places(content) or [("format",)]))
        there = content
        for key in way:
            there = there[key]
        if draw(st.booleans()) and isinstance(there, dict):
            del there[last]
        else:
            there[last] = draw(ANYTHING)
    return content


def check_list(content: Any) -> None:
    """What is read can be written and is the same when it is read again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        try:
            found = DataList.read(path)
        except ProstateUDAError as error:
            assert content != LISTED
            assert "\n" not in str(error)  # noqa: PT017  a result is right, too
            return
        found.write(path)
        assert DataList.read(path) == found
    ids = [case["id"] for part in ("source", "target", "domain") for case in cases(content.get(part))]
    assert len(set(ids)) == len(ids) > 0


def cases(part: Any) -> list[Any]:
    return [case for split in part["splits"].values() for case in split] if part else []


@FEW
@given(content=changed_lists())
def test_data_lists(content: Any) -> None:
    check_list(content)


@pytest.mark.slow
@MANY
@given(content=changed_lists())
def test_data_lists_many_times(content: Any) -> None:
    check_list(content)


@FEW
@given(raw=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_bytes_that_are_no_list(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.json"
        path.write_bytes(raw)
        for read in (DataList.read, load_landmarks):
            with pytest.raises(ProstateUDAError) as caught:
                read(path)
            assert "\n" not in str(caught.value)


NAMES = st.sampled_from(("PZ", "TZ", "background", "peripheral zone", "CG", "tz_and-afs", "urethra", "", " ", "pz pz"))
VALUES = st.one_of(st.integers(-3, 300).map(str), st.sampled_from(("1", "2", "0", "1.5", "one", " 1 ", "²", "٣", "")))


@FEW
@given(names=st.dictionaries(VALUES, NAMES, max_size=4))
def test_label_names(names: dict[str, str]) -> None:
    text = ",".join(f"{value}={name}" for value, name in names.items())
    for read, given_ in ((values_by_name, names), (parse_label_names, text)):
        try:
            found = read(given_)
        except ProstateUDAError as error:
            assert "\n" not in str(error)  # noqa: PT017  a result is right, too
        else:
            assert sorted(found.values()) == [0, 1, 2]
            assert found[0] == 0 or 0 in found.values()
            assert {*found} - {0} <= {int(value) for value in names}


@FEW
@given(text=st.text(max_size=30))
def test_any_text_as_label_names(text: str) -> None:
    try:
        found = parse_label_names(text)
    except ProstateUDAError as error:
        assert "\n" not in str(error)  # noqa: PT017  a result is right, too
    else:
        assert sorted(found.values()) == [0, 1, 2]


@FEW
@given(content=st.fixed_dictionaries({"percentiles": ANYTHING, "values": ANYTHING}) | ANYTHING)
def test_landmarks(content: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "landmarks.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        try:
            found = load_landmarks(path)
        except ProstateUDAError as error:
            assert "\n" not in str(error)  # noqa: PT017  a result is right, too
        else:
            assert found == Landmarks(found.percentiles, found.values)
