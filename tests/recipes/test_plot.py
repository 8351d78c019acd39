"""``plot ntm``: what is read is what was logged, and what cannot be drawn is told in one line."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from prostate_uda.errors import CheckpointError, ProstateUDAError, SettingsError, ShapeError
from prostate_uda.recipes import plot_ntm
from prostate_uda.recipes.plot import read_ntms


def matrices(steps: int, seed: int, *, levels: int = 2, classes: int = 3) -> NDArray[np.float64]:
    return np.random.default_rng(seed).dirichlet(np.ones(classes), (steps, levels, classes))


def lines(ntms: NDArray[np.float64]) -> str:
    """A log as a stage writes it."""
    entries = ({"step": step, "target": 0.5, "ntm": ntm.tolist()} for step, ntm in enumerate(ntms, start=1))
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def a_run(
    folder: Path, logs: Mapping[str, str], method: str = "metacorrection", options: Mapping[str, object] | None = None
) -> Path:
    (folder / "logs").mkdir(parents=True)
    settings = {"method": method, "options": options or {}}
    (folder / "run.json").write_text(json.dumps({"settings": settings, "timing": {}, "hashes": {}}))
    for stage, content in logs.items():
        (folder / "logs" / f"{stage}.jsonl").write_text(content)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three rounds of three steps."""
    logs = {f"round_{number}": lines(matrices(3, number)) for number in (1, 2, 10)}
    return a_run(tmp_path / "run", {"source": '{"step": 1, "source": 0.7}\n', **logs})


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_rounds_are_read_in_their_order_with_every_value(run: Path) -> None:
    rounds = read_ntms(run)
    assert [one.number for one in rounds] == [1, 2, 10]
    for one in rounds:
        assert np.array_equal(one.matrices, matrices(3, one.number))


def test_a_picture_and_nothing_else_is_written(run: Path) -> None:
    before = files(run)
    drawn = plot_ntm(run)
    assert drawn.picture == run / "pictures" / "ntm.png"
    assert files(run).keys() - before.keys() == {drawn.picture}
    assert {path: content for path, content in files(run).items() if path in before} == before
    assert np.array_equal(drawn.last, matrices(3, 10)[-1])
    assert drawn.classes == ("background", "PZ", "TZ")
    assert drawn.levels == ("layer3 head, weight 0.1", "layer4 head, weight 1.0")
    with Image.open(drawn.picture) as picture:
        width, height = picture.size
    assert 1000 < width < 2000
    assert 500 < height < 1200


@pytest.mark.parametrize(("name", "begins"), [("a.PNG", b"\x89PNG"), ("new/a.pdf", b"%PDF"), ("a.svg", b"<?xml")])
def test_the_suffix_says_the_format(run: Path, tmp_path: Path, name: str, begins: bytes) -> None:
    before = files(run)
    out = tmp_path / "out" / name
    assert plot_ntm(run, out).picture == out
    assert out.read_bytes().startswith(begins)
    assert list(out.parent.iterdir()) == [out]
    assert files(run) == before


def test_the_figure_says_run_method_and_mode_and_what_took_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures, really = [], Figure.savefig

    def seen(figure: Figure, path: Path, **options: object) -> None:
        figures.append(figure)
        really(figure, path, **options)

    monkeypatch.setattr(Figure, "savefig", seen)
    run = a_run(tmp_path / "mine", {"round_1": lines(matrices(90, 0))}, "dmlc", {"ntm_mode": "learned"})
    other = a_run(
        tmp_path / ("x" * 99), {"round_1": lines(matrices(90, 0))}, "metacorrection", {"level_weights": [1, 2]}
    )
    learned, per_step = plot_ntm(run), plot_ntm(other)
    assert figures[0].get_suptitle() == "mine\nnoise transition matrices of dmlc, NTM mode learned"
    assert figures[1].get_suptitle().endswith("\nnoise transition matrices of metacorrection, NTM mode per-step")
    assert max(map(len, figures[1].get_suptitle().splitlines())) < 80
    assert learned.levels == ("layer3 head, weight 0: took no part, stays at its start", "layer4 head, weight 1.0")
    assert per_step.levels == ("layer3 head, weight 1", "layer4 head, weight 2")
    curves = [len(figure.axes[1].lines) for figure in figures]
    assert curves == [3, 6]  # with a rolling mean where the NTM begins anew at every step


def test_a_killed_run_is_drawn_up_to_its_last_whole_line(tmp_path: Path) -> None:
    whole = lines(matrices(4, 0))
    cut = whole[: whole.rindex("{") + 40]
    run = a_run(tmp_path / "run", {"round_1": lines(matrices(2, 1)), "round_2": cut, "round_3": '{"st'})
    rounds = read_ntms(run)
    assert [len(one.matrices) for one in rounds] == [2, 3]
    assert np.array_equal(plot_ntm(run).last, matrices(4, 0)[2])


BAD = {
    "garbage": ("{]\n", "no JSON object"),
    "bytes of a flipped bit": ("\udcff\n", "no JSON object"),
    "a list": ("[1]\n", "no JSON object"),
    "depth": ("[" * 100_000 + "\n", "no JSON object"),
    "empty": ("\n", "no JSON object"),
    "another step": ('{"step": 7, "ntm": []}\n', "is of step 7, there belongs step 3"),
    "no ntm": ('{"step": 3}\n', "has no 'ntm'"),
    "words": ('{"step": 3, "ntm": "much"}\n', "no \\(L, C, C\\) list of numbers"),
    "ragged": ('{"step": 3, "ntm": [[[1, 0], [1]]]}\n', "no \\(L, C, C\\) list of numbers"),
    "an object": ('{"step": 3, "ntm": {}}\n', "no \\(L, C, C\\) list of numbers"),
    "one matrix": ('{"step": 3, "ntm": [[1, 0], [0, 1]]}\n', "shape \\(2, 2\\)"),
    "none": ('{"step": 3, "ntm": []}\n', "shape \\(0,\\)"),
    "not square": ('{"step": 3, "ntm": [[[1, 0]]]}\n', "shape \\(1, 1, 2\\)"),
    "one level": ('{"step": 3, "ntm": [[[1, 0, 0], [0, 1, 0], [0, 0, 1]]]}\n', "shape \\(1, 3, 3\\) after some of"),
    "sums": ('{"step": 3, "ntm": [[[1, 1, 0], [0, 1, 0], [0, 0, 1]]]}\n', "no distributions"),
    "below zero": ('{"step": 3, "ntm": [[[2, -1, 0], [0, 1, 0], [0, 0, 1]]]}\n', "no distributions"),
    "NaN": ('{"step": 3, "ntm": [[[NaN, 0, 0], [0, 1, 0], [0, 0, 1]]]}\n', "no distributions"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("ends", [True, False])
def test_a_damaged_log_is_named_with_its_line(tmp_path: Path, what: str, ends: bool) -> None:
    """In the middle and at the end: only a last line without its end is a killed run's."""
    bad, complaint = BAD[what]
    first, more = matrices(2, 0), lines(matrices(4, 1)).splitlines(keepends=True)[3]
    run = a_run(tmp_path / "run", {"round_1": lines(first)})
    log = run / "logs" / "round_1.jsonl"
    log.write_bytes((lines(first) + bad + ("" if ends else more)).encode(errors="surrogateescape"))
    with pytest.raises((CheckpointError, ShapeError), match=complaint) as told:
        plot_ntm(run)
    assert f"{log}, line 3" in str(told.value)
    assert "\n" not in str(told.value)
    assert not (run / "pictures").exists()


def test_a_round_of_another_shape_is_named(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", {"round_1": lines(matrices(2, 0)), "round_2": lines(matrices(2, 0, classes=4))})
    with pytest.raises(ShapeError, match=r"round_2.jsonl, line 1: NTMs of shape \(2, 4, 4\) after some of shape"):
        plot_ntm(run)


@pytest.mark.parametrize("method", ["source-only", "self-training", "adaptsegnet", "someone's"])
def test_a_method_without_ntm_is_named_beside_those_that_have_one(tmp_path: Path, method: str) -> None:
    run = a_run(tmp_path / "run", {"round_1": '{"step": 1, "loss": 0.5}\n'}, method)
    with pytest.raises(SettingsError, match=f"with {method}, which has no NTM; dmlc, metacorrection, .* have NTMs"):
        plot_ntm(run)


def test_what_is_no_run_or_has_not_come_far_enough(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.json").write_text("{}")
    for name in ("nowhere", "file", "damaged"):
        with pytest.raises(CheckpointError, match=f"{name}/run.json .*give the folder of"):
            plot_ntm(tmp_path / name)
    early = a_run(tmp_path / "early", {"source": '{"step": 1}\n', "round_1": "", "round_one": "{}\n"})
    with pytest.raises(CheckpointError, match="no step of a round yet"):
        plot_ntm(early)
    (early / "logs" / "round_2.jsonl").mkdir()
    with pytest.raises(CheckpointError, match=r"round_2.jsonl cannot be read"):
        plot_ntm(early)


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.tar.gz", "run/run.json"])
def test_another_suffix_is_refused(run: Path, tmp_path: Path, name: str) -> None:
    before = files(tmp_path)
    with pytest.raises(SettingsError, match=r"has suffix .*; allowed are \.png, \.pdf, \.svg"):
        plot_ntm(run, tmp_path / name)
    assert files(tmp_path) == before


def test_a_place_that_cannot_be_written_keeps_what_it_holds(run: Path, tmp_path: Path) -> None:
    (tmp_path / "taken.png").mkdir()
    before = files(tmp_path)
    for out in (tmp_path / "taken.png", run / "run.json" / "a.png", tmp_path / f"{'a' * 300}.png"):
        with pytest.raises(SettingsError, match="cannot be written"):
            plot_ntm(run, out)
    assert files(tmp_path) == before


def test_a_figure_that_fails_leaves_the_old_one(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = plot_ntm(run).picture
    before = files(run)

    def half(figure: object, path: Path, **options: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(ProstateUDAError, match="No space left"):
        plot_ntm(run)
    assert files(run) == before
    assert picture in before


def test_a_real_run_can_be_drawn(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(finished / "run.json", run)
    shutil.copytree(finished / "logs", run / "logs")
    drawn = plot_ntm(run)
    assert drawn.last.shape == (2, 3, 3)
    assert drawn.last.sum(axis=-1) == pytest.approx(np.ones((2, 3)), abs=3e-5)
    (only,) = read_ntms(run)
    assert len(only.matrices) == json.loads((run / "run.json").read_text())["settings"]["steps"]
    assert np.ptp(only.matrices[:, 1], axis=0).max() > 0  # it moved
    assert drawn.picture.is_file()
