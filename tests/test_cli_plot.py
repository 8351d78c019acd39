"""The command's side of figures."""

from pathlib import Path

import numpy as np
import pytest

from tests.recipes.test_plot import a_run, lines, matrices
from tests.test_cli import complaint, run

pytestmark = pytest.mark.slow  # each test starts Python anew


def test_plot_ntm_prints_the_last_matrices_and_where_the_picture_is(tmp_path: Path) -> None:
    ntms = matrices(3, 0)
    folder = a_run(tmp_path / "my[/]run", {"round_1": lines(ntms)})
    done = run("plot", "ntm", str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    *table, last = done.stdout.splitlines()
    assert last == str(folder / "pictures" / "ntm.png")
    assert Path(last).is_file()
    rows = [line.split("│")[2:-1] for line in table if line.startswith("│")]
    assert [row[0].strip() for row in rows] == ["background", "PZ", "TZ"] * 2
    assert np.array([row[1:] for row in rows], dtype=float).reshape(2, 3, 3) == pytest.approx(ntms[-1], abs=6e-4)
    assert "layer3 head" in done.stdout
    assert max(map(len, table)) <= 80


def test_plot_ntm_of_a_method_without_ntm_is_one_line(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run", {"round_1": '{"step": 1, "loss": 0.5}\n'}, "self-training")
    line = complaint(run("plot", "ntm", str(folder), "--out", str(tmp_path / "a.png")))
    assert (
        "self-training, which has no NTM; dmlc, metacorrection, metacorrection-balanced, recommended have NTMs" in line
    )
    assert list(tmp_path.iterdir()) == [folder]


def test_plot_cases_of_no_comparison_is_one_line(tmp_path: Path) -> None:
    assert "holds no comparison" in complaint(run("plot", "cases", str(tmp_path), "--methods", "cbst,dmlc"))
    assert list(tmp_path.iterdir()) == []
