"""``phantom make``: a place that cannot be written is one line, and nothing stays behind."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from prostate_uda.cli import app
from prostate_uda.errors import SettingsError
from prostate_uda.recipes import make_phantom


@pytest.mark.parametrize("out", ["file/x", "file", "a" * 300, "/proc/x", "/proc/self/x"])
def test_a_place_that_cannot_be_written(tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SettingsError, match=r"cannot be written|not an empty folder") as caught:
        make_phantom("phantom-3t", tmp_path / out, train=1, test=0)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_the_command_prints_a_long_path_whole_in_a_pipe(tmp_path: Path) -> None:
    out = tmp_path / ("a" * 90)
    done = CliRunner().invoke(app, ["phantom", "make", "phantom-3t", f"--out={out}", "--train=1", "--test=0"])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == str(out)
