"""Noise in pseudo-labels on the runs of a tiny comparison, and ``plot noise``: numbers counted by hand, refusals."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from prostate_uda.cli import app
from prostate_uda.data.domains import PhantomSettings, get_domain
from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.maths.label_noise import LabelNoise
from prostate_uda.recipes import AdaptSettings, CompareSettings, ablation, adapt, plot_noise
from prostate_uda.recipes.comparison.grid import folder_name, plan
from prostate_uda.recipes.plot_noise import read_noise_run
from prostate_uda.review.noise import NoiseRun, noise_figure
from tests.recipes.conftest import TINY, Heard

COMMON = AdaptSettings(**{**TINY, "method": "source-only"})
ROWS = ("self-training, symmetric 0.5", "metacorrection, learned, symmetric 0.5")
PLAIN, LEARNED = map(folder_name, ROWS)


@pytest.fixture(scope="module")
def compared(finished: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs as a comparison lays them, from the source network of a run whose pseudo-labels have no noise."""
    out = tmp_path_factory.mktemp("noise") / "cmp"
    rows = tuple(row for row in ablation("noise") if row.name in ROWS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROSTATE_UDA_CACHE", str(cache))
        for run in plan(CompareSettings(common=COMMON, variants=rows, seeds=(0,), protocols=("paper",))):
            if run.row in ROWS:
                adapt(replace(run.settings, start_from=finished), out / "runs" / run.folder)
    return out


def folder(out: Path, row: str) -> Path:
    return out / "runs" / "paper" / "seed-0" / row


def labels(run: Path) -> dict[str, NDArray[np.uint8]]:
    files = sorted((run / "pseudo_labels" / "round_1").glob("*.nii.gz"))
    return {file.name.removesuffix(".nii.gz"): np.asarray(nibabel.load(file).dataobj) for file in files}


def same(one: dict[str, NDArray[np.uint8]], other: dict[str, NDArray[np.uint8]]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[case], other[case]) for case in one)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "round_1.pt", weights_only=True)["state"]["network"]


def truths() -> dict[str, NDArray[np.uint8]]:
    """By the phantom's own list, not by what the recipe reads."""
    wanted = PhantomSettings(train=COMMON.phantom_train, test=COMMON.phantom_test)
    found = get_domain("phantom-1.5t").configured(wanted).find(None)  # type: ignore[attr-defined]
    return {case.id: np.asarray(nibabel.load(case.label).dataobj) for case in found.cases}


def test_all_methods_learn_from_the_same_noise_on_the_teachers_labels(compared: Path, finished: Path) -> None:
    clean, noise = labels(finished), LabelNoise("symmetric", 0.5, 0)
    wanted = {case: noise.applied(label, case, 1) for case, label in clean.items()}
    assert len(wanted) == TINY["phantom_train"]
    assert not same(wanted, clean)
    for row in (PLAIN, LEARNED):
        assert same(labels(folder(compared, row)), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["same", "another"])
def test_an_interrupted_round_ends_with_the_same_bits(
    compared: Path, finished: Path, tmp_path: Path, rule: str
) -> None:
    """One label is lost; or all are of a run without noise, and none may stay."""
    run = shutil.copytree(folder(compared, PLAIN), tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "status": "running"}))
    (run / "checkpoints" / "round_1.pt").unlink()
    round_1 = run / "pseudo_labels" / "round_1"
    if rule == "same":
        sorted(round_1.glob("*.nii.gz"))[1].unlink()
    else:
        shutil.rmtree(round_1)
        shutil.copytree(finished / "pseudo_labels" / "round_1", round_1)
    settings = AdaptSettings(**TINY, method="self-training", label_noise="symmetric:0.5", start_from=finished)
    heard = Heard()
    adapt(settings, run, resume=True, progress=heard)
    assert any("another rule" in note for note in heard.notes) == (rule == "another")
    assert same(labels(run), labels(folder(compared, PLAIN)))
    ours, theirs = weights(run), weights(folder(compared, PLAIN))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_numbers_are_those_counted_by_hand(compared: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "curve.pdf"
    done = CliRunner().invoke(app, ["plot", "noise", str(compared), "--out", str(out)])
    assert (done.exit_code, done.output) == (0, f"{out} and curve.json: 2 runs\n")
    assert sorted(path.name for path in out.parent.iterdir()) == ["curve.json", "curve.pdf"]
    assert out.read_bytes().startswith(b"%PDF")
    content = json.loads((out.parent / "curve.json").read_text())
    assert content["command"].startswith("prostate-uda")
    learned, plain = content["rows"]
    for row, method, name in ((learned, "learned", LEARNED), (plain, "self-training", PLAIN)):
        told = [row[key] for key in ("protocol", "seed", "kind", "rate", "method")]
        assert told == ["paper", 0, "symmetric", 0.5, method]
        scores = json.loads((folder(compared, name) / "run.json").read_text())["results"]["adapted"]
        for zone in ("PZ", "TZ", "WP"):
            assert row["dice"][zone] == pytest.approx(100 * scores[zone])
        assert row["dice"]["mean"] == pytest.approx(sum(row["dice"][zone] for zone in ("PZ", "TZ", "WP")) / 3)
    pseudo, true = labels(folder(compared, PLAIN)), truths()
    pairs = np.concatenate([np.stack([true[case].ravel(), label.ravel()]) for case, label in pseudo.items()], axis=1)
    ntm = np.array([[np.mean(pairs[1][pairs[0] == j] == k) for k in range(3)] for j in range(3)])
    assert ntm[0] == pytest.approx([0.5, 0.25, 0.25], abs=0.2)  # what was injected, and the teacher's own
    assert plain["identity_error"] == learned["identity_error"] == pytest.approx(abs(np.eye(3) - ntm).mean())
    assert plain["ntm_error"] is None
    last = json.loads((folder(compared, LEARNED) / "logs" / "round_1.jsonl").read_text().splitlines()[-1])["ntm"]
    assert learned["ntm_error"] == pytest.approx([abs(np.array(level) - ntm).mean() for level in last])


def test_what_is_not_done_is_left_out_and_nothing_else_is_written(compared: Path, tmp_path: Path) -> None:
    out = shutil.copytree(compared, tmp_path / "cmp")
    record = folder(out, LEARNED) / "run.json"
    record.write_text(record.read_text().replace('"status": "done"', '"status": "running"'))
    before = {path for path in out.rglob("*") if path.is_file()}
    assert plot_noise(out).runs == 1
    assert {path for path in out.rglob("*") if path.is_file()} - before == {out / "noise.png", out / "noise.json"}


def test_other_scans_than_the_run_read_are_refused(compared: Path, tmp_path: Path) -> None:
    run = shutil.copytree(folder(compared, PLAIN), tmp_path / "paper" / "seed-0" / "row")
    record = json.loads((run / "run.json").read_text())
    name = next(name for name in record["hashes"] if name.startswith("target/train/"))
    (run / "run.json").write_text(json.dumps({**record, "hashes": {**record["hashes"], name: "0"}}))
    with pytest.raises(SettingsError, match=r"is not the file that .*row read; bring it back"):
        read_noise_run(run)


def test_nothing_to_draw_is_one_line_and_writes_nothing(compared: Path, tmp_path: Path) -> None:
    for given, complaint in (([], "holds no finished run"), (["--out", str(tmp_path / "a.jpg")], "has suffix '.jpg'")):
        wrong = CliRunner().invoke(app, ["plot", "noise", str(tmp_path), *given])
        assert isinstance(wrong.exception, SettingsError)
        assert complaint in str(wrong.exception)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("method", ["source-only", "entropy", "adaptsegnet", "lrent"])
def test_noise_that_would_teach_nobody_is_refused(method: str) -> None:
    with pytest.raises(SettingsError, match=f"label_noise symmetric:0.1 beside {method}, which does not learn from"):
        AdaptSettings(method=method, label_noise="symmetric:0.1")
    with pytest.raises(SettingsError, match="label_noise 'salt'; allowed are none or KIND:RATE"):
        AdaptSettings(method="self-training", label_noise="salt")


def a_run(seed: int, method: str, dice: float, error: float | None) -> NoiseRun:
    errors = (error, error + 0.1) if error is not None and method == "learned" else None
    return NoiseRun("paper", seed, "boundary", 0.2, method, {"mean": dice}, errors, error)


def test_the_figure_has_mean_and_sd_over_seeds() -> None:
    runs = [a_run(seed, method, 70 + 4 * seed, 0.2) for seed in (0, 1) for method in ("self-training", "learned")]
    dice, errors = noise_figure(runs).axes
    for curve in dice.containers:
        line, _, (bars,) = curve.lines  # type: ignore[attr-defined]
        assert line.get_ydata() == pytest.approx([72])
        assert bars.get_segments()[0][:, 1] == pytest.approx([72 - 8**0.5, 72 + 8**0.5])
    assert [curve.get_label() for curve in dice.containers] == ["self-training", "learned"]
    assert [curve.lines[0].get_ydata()[0] for curve in errors.containers] == pytest.approx([0.2, 0.2, 0.3])
    (words,) = noise_figure([a_run(0, "self-training", 70, None)]).axes[1].texts
    assert words.get_text() == "no truth of the training cases"
    with pytest.raises(ShapeError, match="no runs to draw"):
        noise_figure([])
