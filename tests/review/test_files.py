from pathlib import Path

import pytest

from prostate_uda.review.files import whole


def test_a_file_is_there_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deeper" / "a.txt"
    with whole(path, ".txt") as half:
        assert half.parent == path.parent
        assert half.name[0] == "."
        assert half.suffix == ".txt"
        half.write_text("one", encoding="utf-8")
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "one"
    assert [one.name for one in path.parent.iterdir()] == ["a.txt"]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(ValueError, match="half way"), whole(path) as half:  # noqa: PT012  what is done before it fails
        half.write_text("ne", encoding="utf-8")
        raise ValueError("half way")
    with pytest.raises(FileNotFoundError), whole(path):
        pass  # nothing was written
    assert path.read_text(encoding="utf-8") == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]


def test_a_name_as_long_as_names_may_be(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 251 + ".txt")
    with whole(path) as half:
        half.write_text("one", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "one"


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole(path) as first, whole(path) as second:
        first.write_text("first", encoding="utf-8")
        second.write_text("second", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "first"
