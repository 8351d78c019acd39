"""A comparison of scenes with the cost of its methods' steps: the table stays, and the methods' page reads it."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from prostate_uda.errors import CheckpointError, SettingsError
from prostate_uda.methods import METHODS
from prostate_uda.recipes.compare import CompareSettings, Variant, compare
from prostate_uda.recipes.method_pages import overview
from prostate_uda.recipes.settings import AdaptSettings

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
STREETS = AdaptSettings(source="streets-render", target="streets-photo", size=32, batch_size=2, algorithm="sgd")
FIGURES = {"step_ratio", "step_s", "memory_ratio", "peak_MB"}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("streets_table")


def written(folder: Path, settings: AdaptSettings) -> dict[str, object]:
    """A comparison's table, as ``compare`` writes it, in its folder."""
    score = {"mIoU": {"mean": 41.26, "sd": None, "seeds": [41.26, None]}}
    table = {
        "command": "prostate-uda compare",
        "source": settings.source,
        "target": settings.target,
        "seeds": [0, 1],
        "protocols": {"paper": {"maxsquare": score}},
        "settings": settings.record(),
        "failed": {},
    }
    folder.mkdir(parents=True)
    (folder / "table.json").write_text(json.dumps(table), encoding="utf-8")
    return json.loads((folder / "table.json").read_text(encoding="utf-8"))


def called(monkeypatch: pytest.MonkeyPatch, script: ModuleType, *flags: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["streets_table.py", *map(str, flags)])
    script.main()


@pytest.mark.slow
def test_the_table_stays_and_every_method_has_its_cost(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = written(tmp_path / "grid", STREETS)
    out = tmp_path / "benchmarks" / "results" / "compare_streets_render_to_photo.json"
    called(monkeypatch, script, tmp_path / "grid", "--quick", "--device", "cpu", "--out", out)
    content = json.loads(out.read_text(encoding="utf-8"))
    cost = content.pop("cost")
    assert content.pop("device") == f"{torch.get_num_threads()} CPU threads"
    assert content.pop("cost_command").startswith(f"python benchmarks/streets_table.py {tmp_path / 'grid'} --quick")
    assert content == table
    assert list(cost) == list(METHODS)
    assert all(row.keys() == FIGURES and min(row.values()) > 0 for row in cost.values())
    assert (cost["self-training"]["step_ratio"], cost["self-training"]["memory_ratio"]) == (1.0, 1.0)
    memory = {name: row["memory_ratio"] for name, row in cost.items()}
    assert memory["source-only"] < 1 < memory["adaptsegnet"] < memory["advent"]  # no discriminator, one, one per head
    (tmp_path / "docs" / "methods").mkdir(parents=True)
    page = overview(tmp_path)
    assert "## streets-render → streets-photo" in page
    assert "| `maxsquare` | 41.3 |" in page


def test_a_step_is_of_what_the_runs_were(script: ModuleType) -> None:
    load = script.workload(STREETS)
    assert (load.network, load.shape, load.batch, load.channels, load.classes) == ("deeplab-small", (32, 64), 2, 3, 19)
    assert (load.optimization.algorithm, load.optimization.learning_rate) == ("sgd", STREETS.adapt_rate)


def test_results_are_named_after_the_domains(script: ModuleType) -> None:
    assert script.result_name(STREETS) == "compare_streets_render_to_photo"
    published = AdaptSettings(source="gta5", target="cityscapes", source_root=Path("a"), target_root=Path("b"))
    assert script.result_name(published) == "compare_gta5_to_cityscapes"


def test_what_is_no_comparison_of_scenes_is_refused(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    written(tmp_path / "zones", AdaptSettings())
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "table.json").write_text("{}", encoding="utf-8")
    for folder, error, told in (
        ("zones", SettingsError, "no driving scenes"),
        ("run", SettingsError, "is no comparison's"),
        ("nowhere", CheckpointError, "nowhere"),
    ):
        with pytest.raises(error, match=told):
            called(monkeypatch, script, tmp_path / folder, "--quick", "--out", out)
    assert not out.exists()


@pytest.mark.slow
def test_a_comparison_that_was_run_is_taken_over(tmp_path: Path) -> None:
    small = {"size": 48, "phantom_train": 3, "phantom_test": 2, "source_steps": 4, "predictor_steps": 2, "steps": 2}
    common = AdaptSettings(source="streets-render", target="streets-photo", batch_size=2, device="cpu", **small)
    variants = tuple(Variant(name, name) for name in ("self-training", "advent"))
    compare(CompareSettings(common=common, variants=variants, seeds=(0, 1), protocols=("paper",)), tmp_path / "grid")
    flags = [str(tmp_path / "grid"), "--quick", "--device", "cpu", "--out", str(tmp_path / "out.json")]
    subprocess.run([sys.executable, str(FOLDER / "streets_table.py"), *flags], check=True, stdout=subprocess.DEVNULL)
    content = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    table = json.loads((tmp_path / "grid" / "table.json").read_text(encoding="utf-8"))
    assert {key: content[key] for key in table} == table
    assert {"source-only", *(variant.name for variant in variants)} < table["protocols"]["paper"].keys()
    assert list(content["cost"]) == list(METHODS)
