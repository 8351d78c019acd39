"""``adapt`` from end to end on a tiny phantom: what it leaves behind, and that it can be taken up again."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from prostate_uda.data.domains import PhantomSettings, get_domain
from prostate_uda.errors import DataError, SettingsError, UnknownNameError
from prostate_uda.metrics import zone_dice
from prostate_uda.recipes import AdaptSettings, InferSettings, adapt, evaluate, infer
from tests.recipes.conftest import TINY


def weights(out: Path, stage: str = "round_1") -> dict[str, torch.Tensor]:
    return torch.load(out / "checkpoints" / f"{stage}.pt", weights_only=True)["state"]["network"]


def same_weights(first: Path, second: Path) -> bool:
    one, other = weights(first), weights(second)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def case_rows(out: Path) -> list[dict[str, str]]:
    with (out / "cases.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_what_others_rely_on(finished: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    assert record["status"] == "done"
    assert {"settings", "versions", "seed", "selection_rule", "timing", "results", "hashes"} <= record.keys()
    for stage in ("source_only", "adapted"):
        assert set(record["results"][stage]) == {"PZ", "TZ", "WP", "WP_pooled"}
    assert {path.name for path in finished.iterdir()} >= {
        "bundle",
        "predictions",
        "pictures",
        "checkpoints",
        "cases.csv",
        "pseudo_labels",
    }
    assert not [path for path in finished.rglob("*") if "partial" in path.name]


def test_cases_csv_has_a_row_per_case_and_stage_and_the_means_are_its_means(finished: Path) -> None:
    rows = case_rows(finished)
    record = json.loads((finished / "run.json").read_text())
    for stage in ("source_only", "adapted"):
        mine = [row for row in rows if row["stage"] == stage]
        assert sorted(row["case"] for row in mine) == record["cases"]["target"]["test"]
        mean = np.mean([float(row["TZ"]) for row in mine])
        assert mean == pytest.approx(record["results"][stage]["TZ"], nan_ok=True)


def test_no_target_training_case_is_read_with_a_label(finished: Path) -> None:
    hashes = json.loads((finished / "run.json").read_text())["hashes"]
    assert any(name.startswith("target/test/") and name.endswith("/label") for name in hashes)
    assert not any(name.startswith("target/train/") and name.endswith("/label") for name in hashes)


def test_predictions_lie_on_their_images_by_two_readers(finished: Path) -> None:
    split = phantom_split("phantom-1.5t")
    for case in split.test:
        predicted = finished / "predictions" / "adapted" / f"{case.id}.nii.gz"
        image, label = nibabel.load(case.image), nibabel.load(predicted)
        assert np.array_equal(image.affine, label.affine)
        assert image.shape == label.shape
        assert label.get_data_dtype() == np.uint8
        first, second = sitk.ReadImage(str(case.image)), sitk.ReadImage(str(predicted))
        assert first.GetSize() == second.GetSize()
        assert np.allclose(first.GetDirection(), second.GetDirection(), atol=1e-5)
        assert np.allclose(first.GetOrigin(), second.GetOrigin(), atol=1e-3)
        assert set(np.unique(sitk.GetArrayFromImage(second))) <= {0, 1, 2}


def phantom_split(name: str, role: str = "target"):
    domain = get_domain(name).configured(PhantomSettings(train=3, test=2))
    return domain.cases(None, role=role, seed=0)


def test_recorded_dice_is_that_of_the_files(finished: Path) -> None:
    rows = {(row["case"], row["stage"]): row for row in case_rows(finished)}
    for case in phantom_split("phantom-1.5t").test:
        predicted = nibabel.load(finished / "predictions" / "adapted" / f"{case.id}.nii.gz")
        truth = nibabel.load(case.label)
        scores = zone_dice(*(torch.from_numpy(np.asarray(one.dataobj).astype(np.int64)) for one in (predicted, truth)))
        assert float(rows[case.id, "adapted"]["WP"]) == pytest.approx(scores["WP"], nan_ok=True)


def test_infer_with_the_bundle_gives_the_runs_predictions(finished: Path, tmp_path: Path) -> None:
    case = phantom_split("phantom-1.5t").test[0]
    (written,) = infer([case.image], finished, tmp_path / "out", InferSettings(device="cpu")).labels
    theirs = finished / "predictions" / "adapted" / f"{case.id}.nii.gz"
    assert np.array_equal(np.asarray(nibabel.load(written).dataobj), np.asarray(nibabel.load(theirs).dataobj))


def test_evaluate_agrees_with_the_run(finished: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    for case in phantom_split("phantom-1.5t").test:
        (labels / f"{case.id}.nii.gz").write_bytes(case.label.read_bytes())
    _, means = evaluate(finished / "predictions" / "adapted", labels, out=tmp_path / "cases.csv")
    recorded = json.loads((finished / "run.json").read_text())["results"]["adapted"]
    assert means["WP"] == pytest.approx(recorded["WP"], nan_ok=True)


class InterruptsAt:
    """A progress that presses Ctrl-C at the n-th step of a stage."""

    def __init__(self, title: str, step: int) -> None:
        self.title, self.left = title, step
        self.current = ""

    @contextmanager
    def task(self, title: str, total: int, done: int = 0, *, unit: str = "") -> Iterator["InterruptsAt"]:
        self.current = title
        yield self

    def advance(self, amount: int = 1, values: Mapping[str, float] | None = None) -> None:
        if self.current.startswith(self.title):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    def note(self, text: str) -> None:
        pass


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("title", "step"),
    [
        pytest.param("source training", 3, marks=SLOW),
        ("domain predictor", 3),
        pytest.param("round 1: pseudo", 2, marks=SLOW),
        ("round 1: metacorr", 3),
        pytest.param("evaluation", 1, marks=SLOW),
    ],
)
def test_an_interrupted_run_resumes_to_the_same_bits(finished: Path, tmp_path: Path, title: str, step: int) -> None:
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        adapt(AdaptSettings(**TINY), out, progress=InterruptsAt(title, step))
    assert json.loads((out / "run.json").read_text())["status"] == "running"
    record = adapt(AdaptSettings(**TINY), out, resume=True)
    assert same_weights(out, finished)
    assert record["results"] == json.loads((finished / "run.json").read_text())["results"]
    lines = [json.loads(line)["step"] for line in (out / "logs" / "round_1.jsonl").read_text().splitlines()]
    assert lines == list(range(1, TINY["steps"] + 1))


def test_kill_minus_nine_and_resume_gives_the_same_bits(finished: Path, tmp_path: Path, cache: Path) -> None:
    out = tmp_path / "run"
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    command = [sys.executable, "-m", "prostate_uda", "adapt", f"--out={out}", *flags]
    environment = {**os.environ, "PROSTATE_UDA_CACHE": str(cache)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not (out / "checkpoints" / "predictor.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    subprocess.run([*command, "--resume"], env=environment, check=True, stdout=subprocess.DEVNULL)
    assert same_weights(out, finished)


def test_another_seed_gives_another_network(finished: Path, tmp_path: Path) -> None:
    adapt(AdaptSettings(**{**TINY, "seed": 1}), tmp_path / "run")
    assert not same_weights(tmp_path / "run", finished)


def test_a_folder_in_use_is_refused_and_left_alone(finished: Path) -> None:
    before = (finished / "run.json").read_bytes()
    with pytest.raises(SettingsError, match="--resume"):
        adapt(AdaptSettings(**TINY), finished)
    assert (finished / "run.json").read_bytes() == before


def test_resuming_with_other_settings_is_refused(finished: Path) -> None:
    with pytest.raises(SettingsError, match="batch_size was 2 and is 3"):
        adapt(AdaptSettings(**{**TINY, "batch_size": 3}), finished, resume=True)


@pytest.mark.parametrize("method", ["self-training", "dmlc", "adaptsegnet"])
def test_every_method_runs_end_to_end_from_an_earlier_source_model(finished: Path, tmp_path: Path, method: str) -> None:
    record = adapt(AdaptSettings(**TINY, method=method, start_from=finished), tmp_path / "run")
    assert record["status"] == "done"
    earlier = json.loads((finished / "run.json").read_text())["results"]["source_only"]
    assert record["results"]["source_only"] == earlier


def test_two_rounds_label_anew_and_a_threshold_ignores(finished: Path, tmp_path: Path) -> None:
    settings = AdaptSettings(**TINY, rounds=2, pseudo_threshold=0.9999, start_from=finished)
    adapt(settings, tmp_path / "run")
    for number in (1, 2):
        files = sorted((tmp_path / "run" / "pseudo_labels" / f"round_{number}").glob("*.nii.gz"))
        assert len(files) == TINY["phantom_train"]
        values = {int(value) for file in files for value in np.unique(np.asarray(nibabel.load(file).dataobj))}
        assert 255 in values
        assert values <= {0, 1, 2, 255}


def test_starting_from_a_run_with_another_source_training_is_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="source_steps was 6 and is 7"):
        adapt(AdaptSettings(**{**TINY, "source_steps": 7}, start_from=finished), tmp_path / "run")


def test_adaptation_in_three_slices(tmp_path: Path) -> None:
    record = adapt(AdaptSettings(**TINY, depth=3, method="self-training"), tmp_path / "run")
    assert record["status"] == "done"


def test_names_and_numbers_that_are_not_allowed() -> None:
    with pytest.raises(UnknownNameError, match="metacorrection"):
        AdaptSettings(method="metacorection")
    with pytest.raises(UnknownNameError, match="phantom-3t"):
        AdaptSettings(source="nowhere")
    for wrong in (
        {"depth": 2},
        {"rounds": 0},
        {"pseudo_threshold": 1.0},
        {"size": 50},
        {"size": 0},
        {"learning_rate": 0},
        {"algorithm": "adamw"},
        {"options": {"epsilon": 0}},
        {"options": {"nothing": 1}},
        {"seed": -1},
    ):
        with pytest.raises(SettingsError):
            AdaptSettings(**wrong)


def test_a_truncated_nifti_stops_before_anything_is_written(tmp_path: Path) -> None:
    from prostate_uda.recipes import make_phantom

    root = make_phantom("phantom-3t", tmp_path / "data", train=3, test=1)
    victim = sorted((root / "imagesTr").glob("*.nii.gz"))[1]
    victim.write_bytes(victim.read_bytes()[:2000])
    with pytest.raises(DataError, match=victim.name):
        adapt(AdaptSettings(**TINY, source_root=root), tmp_path / "run")
    assert not (tmp_path / "run").exists()
