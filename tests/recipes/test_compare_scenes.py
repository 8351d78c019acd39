"""``compare`` on tiny streets from end to end: its table is that of its runs, and the oracle learns from the target."""

import json
from pathlib import Path

import pytest

from prostate_uda.data.scene_classes import SCENE_CLASSES
from prostate_uda.errors import SettingsError
from prostate_uda.recipes import AdaptSettings, CompareSettings, Variant, ablation, compare
from prostate_uda.recipes.comparison.scene_scores import underscored
from tests.recipes.conftest import TINY

STREETS = {"source": "streets-render", "target": "streets-photo", "size": 48, "method": "source-only"}
SHORT = {"source_steps": 3, "predictor_steps": 2, "steps": 2}
PARTS = ("source-only", "self-training", "oracle")


def settings(*variants: Variant, **changes: object) -> CompareSettings:
    common = AdaptSettings(**{**TINY, **STREETS, **SHORT, **changes})
    return CompareSettings(common=common, variants=variants, seeds=(0,), protocols=("paper",))


@pytest.fixture(scope="module")
def compared(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compared") / "cmp"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROSTATE_UDA_CACHE", str(cache))
        assert compare(settings(Variant("self-training", "self-training")), out)["failed"] == {}
    return out


def test_the_table_is_that_of_its_runs(compared: Path) -> None:
    table = json.loads((compared / "table.json").read_text(encoding="utf-8"))
    rows = table["protocols"]["paper"]
    assert list(rows) == [*PARTS]
    for name in PARTS:
        record = json.loads((compared / "runs" / "paper" / "seed-0" / name / "run.json").read_text(encoding="utf-8"))
        found = record["results"]["adapted"]
        assert 0 < found["mIoU"] < 1
        for column in (*SCENE_CLASSES, "mIoU"):
            told = rows[name][underscored(column)]["seeds"][0]
            expected = None if found[column] is None else pytest.approx(100 * found[column], abs=1e-4)
            assert told == expected
    assert set(rows["self-training"]["against"]["source-only"]) == {"mIoU"}
    text = (compared / "table.md").read_text(encoding="utf-8")
    assert "| road | sidewalk |" in text
    assert "published" not in text


def test_the_oracle_learns_from_the_targets_training_labels(compared: Path) -> None:
    found = {
        name: json.loads((compared / "runs" / "paper" / "seed-0" / name / "run.json").read_text(encoding="utf-8"))
        for name in PARTS
    }
    oracle, source = found["oracle"], found["source-only"]
    assert oracle["cases"]["target"] == source["cases"]["target"]
    labels = {name for name in oracle["hashes"] if name.startswith("source/train/") and name.endswith("/label")}
    assert labels == {f"source/train/{case}/label" for case in source["cases"]["target"]["train"]}
    for name in ("source-only", "self-training"):
        assert not any(key.startswith("target/train/") and key.endswith("/label") for key in found[name]["hashes"])


def test_noise_is_refused() -> None:
    with pytest.raises(SettingsError, match="prostate zones"):
        ablation("noise", STREETS["source"])
    with pytest.raises(SettingsError, match="label_noise"):
        settings(*ablation("noise-symmetric"))
