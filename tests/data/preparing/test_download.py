"""Transfers that break, and what is on disk then."""

from hashlib import md5, sha256

import numpy as np
import pytest

from prostate_uda.data.preparing.download import Checksum, NotOnServerError, fetch
from prostate_uda.errors import DataError, SettingsError

CONTENT = np.random.default_rng(0).bytes(300_000)
SUM = Checksum("md5", md5(CONTENT).hexdigest())


@pytest.fixture
def get(server, tmp_path):
    """Fetch ``/a.tar`` to its end; return what was yielded."""
    server.files["/a.tar"] = CONTENT

    def run(**more):
        return list(fetch(f"{server.url}/a.tar", tmp_path / "new" / "a.tar", **{"pause_s": 0.0, **more}))

    return run


def names(tmp_path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "new").iterdir())


def test_a_file_comes_whole_with_its_progress(get, tmp_path):
    pieces = get(checksum=SUM)
    assert pieces[0] == (0, len(CONTENT))
    assert pieces[-1] == (len(CONTENT), len(CONTENT))
    assert [at for at, _ in pieces] == sorted(at for at, _ in pieces)
    assert names(tmp_path) == ["a.tar"]
    assert (tmp_path / "new" / "a.tar").read_bytes() == CONTENT


def test_a_file_that_is_there_is_not_asked_for(get, server, tmp_path):
    get(checksum=SUM)
    assert get(checksum=SUM) == [(len(CONTENT), len(CONTENT))]
    assert get() == [(len(CONTENT), len(CONTENT))]
    assert len(server.asked) == 1
    (tmp_path / "new" / "a.tar").write_bytes(b"something else")
    get(checksum=SUM)
    assert (tmp_path / "new" / "a.tar").read_bytes() == CONTENT


def test_a_broken_transfer_asks_for_the_rest_only(get, server, tmp_path):
    server.break_after["/a.tar"] = [100_000, 50_000]
    get(checksum=Checksum("sha256", sha256(CONTENT).hexdigest()))
    assert server.asked == [("/a.tar", None), ("/a.tar", "bytes=100000-"), ("/a.tar", "bytes=150000-")]
    assert server.sent == [100_000, 50_000, 150_000]
    assert names(tmp_path) == ["a.tar"]
    assert (tmp_path / "new" / "a.tar").read_bytes() == CONTENT


def test_the_next_call_goes_on_where_the_last_gave_up(get, server, tmp_path):
    server.break_after["/a.tar"] = [120_000]
    with pytest.raises(DataError, match=r"broke off after 120000 of 300000 bytes; 120000 bytes are kept; run the same"):
        get(attempts=1)
    assert names(tmp_path) == ["a.tar.partial", "a.tar.partial.version"]
    assert get()[0] == (120_000, 300_000)
    assert server.sent == [120_000, 180_000]
    assert (tmp_path / "new" / "a.tar").read_bytes() == CONTENT


def test_an_interrupt_keeps_what_arrived(server, tmp_path, get):
    pieces = fetch(f"{server.url}/a.tar", tmp_path / "new" / "a.tar")
    next(pieces)
    next(pieces)
    with pytest.raises(KeyboardInterrupt):
        pieces.throw(KeyboardInterrupt)
    assert names(tmp_path) == ["a.tar.partial", "a.tar.partial.version"]
    kept = (tmp_path / "new" / "a.tar.partial").stat().st_size
    assert kept > 0
    assert get()[0] == (kept, 300_000)
    assert (tmp_path / "new" / "a.tar").read_bytes() == CONTENT


def test_a_server_without_ranges_begins_again(get, server, tmp_path):
    server.ranges = False
    server.break_after["/a.tar"] = [100_000]
    pieces = get(checksum=SUM)
    assert server.sent == [100_000, 300_000]
    assert (0, 300_000) in pieces[1:]
    assert (tmp_path / "new" / "a.tar").read_bytes() == CONTENT


def test_another_version_of_the_file_is_not_appended(get, server, tmp_path):
    server.break_after["/a.tar"] = [100_000]
    with pytest.raises(DataError):
        get(attempts=1)
    server.files["/a.tar"] = CONTENT[::-1]
    get()
    assert (tmp_path / "new" / "a.tar").read_bytes() == CONTENT[::-1]
    assert server.asked[-1] == ("/a.tar", "bytes=100000-")


def test_less_on_the_server_than_here_begins_again(get, server, tmp_path):
    server.break_after["/a.tar"] = [100_000]
    with pytest.raises(DataError):
        get(attempts=1)
    server.files["/a.tar"] = CONTENT[:5]
    get()
    assert (tmp_path / "new" / "a.tar").read_bytes() == CONTENT[:5]


def test_a_server_that_does_not_say_how_much(get, server, tmp_path):
    server.lengths = False
    assert get(checksum=SUM)[-1] == (300_000, 0)
    assert (tmp_path / "new" / "a.tar").read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(get, server, tmp_path):
    server.answers["/a.tar"] = [503, 429]
    get()
    assert len(server.asked) == 3
    server.answers["/b"] = [503, 503]
    with pytest.raises(DataError, match=r"the server answers 503 Service Unavailable; 0 bytes are kept"):
        list(fetch(f"{server.url}/b", tmp_path / "b", attempts=2, pause_s=0.0))


def test_a_wrong_checksum_names_both_and_leaves_nothing(get, server, tmp_path):
    good = server.files["/a.tar"]
    server.files["/a.tar"] = b"x" + good[1:]
    found = md5(server.files["/a.tar"]).hexdigest()
    with pytest.raises(DataError, match=rf"^a\.tar from http.* has md5 {found}, expected {SUM.value}; it was removed"):
        get(checksum=SUM)
    assert names(tmp_path) == []
    server.files["/a.tar"] = good
    get(checksum=SUM)
    assert (tmp_path / "new" / "a.tar").read_bytes() == good


def test_what_is_not_there_is_not_asked_for_again(server, tmp_path):
    with pytest.raises(NotOnServerError, match=r"/none: the server answers 404 Not Found; check the address"):
        list(fetch(f"{server.url}/none", tmp_path / "none"))
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_nobody_listens(tmp_path):
    with pytest.raises(DataError, match=r"the server cannot be reached \(.*refused.*\); 0 bytes"):
        list(fetch("http://127.0.0.1:9/a", tmp_path / "a", attempts=2, pause_s=0.0))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "Task05.tar"])
def test_other_addresses_are_refused(tmp_path, url):
    with pytest.raises(SettingsError, match="no address to download from"):
        list(fetch(url, tmp_path / "a"))


def test_a_folder_that_cannot_be_written(server, tmp_path):
    server.files["/a"] = b"x"
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        list(fetch(f"{server.url}/a", tmp_path / "file" / "a"))
