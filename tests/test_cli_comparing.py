"""``compare`` as a command: its flags are adapt's, its mistakes are one line, its help knows every method."""

import inspect
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from prostate_uda.cli import app
from prostate_uda.cli.adapting import adapt
from prostate_uda.cli.comparing import GRIDS_OWN, ablate, compare, read_seeds, read_variants
from prostate_uda.display import RichProgress
from prostate_uda.errors import SettingsError, UnknownNameError
from prostate_uda.methods import METHODS, SelfTraining
from prostate_uda.recipes import Variant, pick_launcher
from prostate_uda.recipes.comparison.ablations import ABLATIONS
from prostate_uda.recipes.comparison.launchers import Here, Processes
from tests.test_cli import complaint, run

pytestmark = pytest.mark.slow  # each test starts Python anew


@pytest.mark.parametrize("command", [compare, ablate])
def test_it_has_the_flags_of_adapt_but_for_the_grids_own(command: Callable[..., None]) -> None:
    ours, theirs = (inspect.signature(one).parameters for one in (command, adapt))
    assert {*theirs} - {*ours} == {*GRIDS_OWN} - {"out"}
    assert all(ours[name] == theirs[name] for name in theirs if name not in GRIDS_OWN)


def test_help_names_a_method_that_came_today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "newcomer", SelfTraining)
    told = CliRunner().invoke(app, ["compare", "--help"], env={"COLUMNS": "200"})
    assert told.exit_code == 0
    assert ", newcomer." in told.output


def test_methods_are_read_with_their_settings() -> None:
    found = read_variants("self-training, dmlc?level_weights=[0,1]&ntm_mode=learned")
    assert found[0] == Variant("self-training", "self-training")
    assert found[1].options == {"level_weights": (0, 1), "ntm_mode": "learned"}
    assert found[1].name == "dmlc?level_weights=[0,1]&ntm_mode=learned"
    assert [variant.name for variant in read_variants("all")] == [*METHODS]


def test_what_is_no_setting_is_told_by_its_own_flag(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^--methods 'epsilon'; .* such as --methods 'dmlc\?epsilon=0.1'$"):
        read_variants("dmlc?epsilon")
    line = complaint(run("compare", "--launcher=slurm", "--slurm=gpu", "--out", str(tmp_path / "cmp")))
    assert "--slurm 'gpu'; allowed is name=value, such as --slurm timeout_min=600" in line


def test_protocols_may_have_spaces(tmp_path: Path) -> None:
    """The second is looked up as it is meant."""
    line = complaint(run("compare", "--protocols", "paper, week", "--out", str(tmp_path / "cmp")))
    assert "unknown protocol 'week'" in line


def test_seeds_are_numbers() -> None:
    assert read_seeds("0,3") == (0, 3)
    with pytest.raises(SettingsError, match="--seeds '0;1'"):
        read_seeds("0;1")


def test_launchers(tmp_path: Path) -> None:
    progress = RichProgress(Console(quiet=True))
    assert isinstance(pick_launcher("local", None, {}, tmp_path, progress), Here)
    assert isinstance(pick_launcher("local", 1, {}, tmp_path, progress), Here)
    two = pick_launcher("local", 2, {}, tmp_path, progress)
    assert isinstance(two, Processes)
    assert two.room == 2
    for name, jobs, options in (("pbs", 1, {}), ("local", 0, {}), ("local", 1, {"timeout_min": 3})):
        with pytest.raises(SettingsError):
            pick_launcher(name, jobs, options, tmp_path, progress)


def test_a_machine_without_slurm_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SettingsError, match=r"slurm cannot be used so: .*srun.*use --launcher local"):
        pick_launcher("slurm", None, {}, tmp_path / "cmp", RichProgress(Console(quiet=True)))
    assert not (tmp_path / "cmp").exists()


def test_an_unknown_method_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    line = complaint(run("compare", "--methods", "dmcl", "--out", str(tmp_path / "cmp")))
    assert "unknown method 'dmcl'" in line
    assert not (tmp_path / "cmp").exists()


def test_ablations_are_named_in_help_and_where_there_is_none_of_that_name() -> None:
    told = CliRunner().invoke(app, ["ablate", "--help"], env={"COLUMNS": "200"})
    assert all(name in told.output for name in ABLATIONS)
    wrong = CliRunner().invoke(app, ["ablate", "letters", "--out", "/nonexistent/cmp"])
    assert isinstance(wrong.exception, UnknownNameError)


def test_a_bar_stands_within_another() -> None:
    console = Console(file=StringIO(), force_terminal=True, width=80)
    progress = RichProgress(console)
    with progress.task("runs", 2) as runs:
        for _ in range(2):
            with progress.task("source training", 3) as steps:
                steps.advance(3)
            runs.advance()
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert "source training" in told
    assert "2/2" in told
