"""``plot cases``: which rows and cases are drawn with which numbers, and what is no finished comparison."""

import csv
import json
import shutil
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from prostate_uda.cli import app
from prostate_uda.errors import CheckpointError, GeometryError, SettingsError, UnknownNameError
from prostate_uda.recipes import plot_cases
from prostate_uda.review.case_grid import GridCase

ROWS = ("source-only", "dmlc,ntm_mode=learned", "oracle")


@pytest.fixture
def compared(finished: Path, tmp_path: Path) -> Path:
    """A comparison as ``compare`` lays it out, each of its rows this finished run."""
    for row in ROWS:
        shutil.copytree(
            finished,
            tmp_path / "cmp" / "runs" / "paper" / "seed-0" / row,
            ignore=shutil.ignore_patterns("checkpoints", "bundle", "pictures", "logs"),
        )
    return tmp_path / "cmp"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What the grid is drawn of; it is drawn all the same."""
    module = sys.modules[plot_cases.__module__]  # the package has the function under its name
    seen, really = [], module.case_grid

    def keep(rows: list[GridCase], **more: object) -> None:
        seen.append({"rows": rows, **more})
        really(rows, **more)

    monkeypatch.setattr(module, "case_grid", keep)
    return seen


def test_every_row_of_the_comparison_on_its_first_cases(compared: Path, drawn: list[dict]) -> None:
    folder = compared / "runs" / "paper" / "seed-0"
    changed = folder / "oracle" / "predictions" / "adapted" / "phantom-1.5t_10000.nii.gz"
    image = nibabel.load(changed)
    nibabel.save(nibabel.Nifti1Image(np.full(image.shape, 2, np.uint8), image.affine, image.header), changed)
    plotted = plot_cases(compared)
    assert plotted.picture == compared / "cases.png"
    assert plotted.picture.read_bytes().startswith(b"\x89PNG")
    assert plotted.columns == ROWS
    assert plotted.cases == ("phantom-1.5t_10000", "phantom-1.5t_10001")
    (grid,) = drawn
    assert grid["columns"] == [*ROWS, "truth"]
    for row in grid["rows"]:
        with (folder / "source-only" / "cases.csv").open() as file:
            (told,) = (r for r in csv.DictReader(file) if (r["case"], r["stage"]) == (row.case.title, "adapted"))
        assert row.dice["source-only"] == float(told["WP"])
        assert row.case.labels["truth"].any()
    assert (grid["rows"][0].case.labels["oracle"] == 2).all()
    assert not (grid["rows"][0].case.labels["source-only"] == 2).all()


def test_methods_by_either_name_and_fewer_cases(compared: Path, drawn: list[dict]) -> None:
    for name in ("dmlc?ntm_mode=learned", "dmlc,ntm_mode=learned"):
        assert plot_cases(compared, methods=[name, name], cases=1).columns == ROWS
    assert plot_cases(compared, methods=["source-only"], cases=1).columns == ("source-only", "oracle")
    assert [len(grid["rows"]) for grid in drawn] == [1, 1, 1]
    shutil.rmtree(compared / "runs" / "paper" / "seed-0" / "oracle")
    assert plot_cases(compared, methods=["source-only"], cases=1).columns == ("source-only",)


def test_the_command_takes_names_with_commas(compared: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.svg"
    methods = "source-only,dmlc?ntm_mode=learned"
    done = CliRunner().invoke(app, ["plot", "cases", str(compared), "--methods", methods, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "".join(done.output.split()).endswith(str(out))
    assert "ntm_mode=learned" in out.read_text(encoding="utf-8")  # a comment of each text stands in an SVG


def test_unknown_names_are_told_beside_the_known(compared: Path) -> None:
    for given, words in (
        ({"protocol": "strong"}, "unknown protocol 'strong'; choose one of: paper"),
        ({"seed": 3}, "unknown seed '3'; choose one of: 0"),
        ({"methods": ["cbst"]}, "unknown row 'cbst'; choose one of: dmlc,ntm_mode=learned, oracle, source-only"),
    ):
        with pytest.raises(UnknownNameError) as told:
            plot_cases(compared, **given)
        assert str(told.value) == words


def test_what_is_no_comparison_or_not_finished_is_refused(compared: Path, finished: Path) -> None:
    for folder in (finished, compared / "nowhere"):
        with pytest.raises(CheckpointError, match="holds no comparison"):
            plot_cases(folder)
    rows = compared / "runs" / "paper" / "seed-0"
    record = json.loads((rows / "oracle" / "run.json").read_text())
    (rows / "oracle" / "run.json").write_text(json.dumps(record | {"status": "running"}))
    with pytest.raises(CheckpointError, match="oracle is not finished"):
        plot_cases(compared)
    (rows / "oracle" / "run.json").write_text(json.dumps(record | {"hashes": {}}))
    with pytest.raises(SettingsError, match=r"is not the file that .*oracle read"):
        plot_cases(compared)
    shutil.rmtree(rows / "source-only")
    with pytest.raises(CheckpointError, match="has no run of source-only"):
        plot_cases(compared)
    assert not (compared / "cases.png").exists()


def test_a_prediction_on_another_grid_is_refused(compared: Path) -> None:
    path = compared / "runs" / "paper" / "seed-0" / "oracle" / "predictions" / "adapted" / "phantom-1.5t_10000.nii.gz"
    image = nibabel.load(path)
    nibabel.save(image.slicer[:-1], path)
    with pytest.raises(GeometryError, match="is not on the grid"):
        plot_cases(compared)


@pytest.mark.parametrize(("given", "words"), [({"cases": 0}, "0 cases"), ({"out": Path("a.txt")}, "has suffix")])
def test_settings_out_of_their_range(compared: Path, given: dict, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        plot_cases(compared, **given)
