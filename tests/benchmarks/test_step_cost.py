"""The cost of the meta step, tiny: the batch, what memory is counted, and a row per variant."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from prostate_uda.methods import Optimization, SelfTraining

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("step_cost")


def test_blobs_are_the_seeds_and_hold_all_three_classes(bench: ModuleType) -> None:
    batch = bench.blobs(1, 2, 64)
    assert (batch.image.shape, batch.label.shape) == ((2, 1, 64, 64), (2, 64, 64))
    assert batch.label.unique().tolist() == [0, 1, 2]
    assert torch.equal(batch.image, bench.blobs(1, 2, 64).image)
    assert not torch.equal(batch.image, bench.blobs(2, 2, 64).image)
    darkest, brightest = (batch.image[:, 0][batch.label == label].mean() for label in (0, 2))
    assert darkest < brightest - 1  # the label can be told from the image


def test_the_highest_point_of_memory_is_what_is_held_at_once(bench: ModuleType) -> None:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        held = torch.zeros(1_000_000)
        more = torch.zeros(2_000_000)
        del more
        last = torch.zeros(500_000)
    assert bench.highest(profiler) == pytest.approx(4 * 3_000_000, rel=1e-3)
    del held, last


def test_resident_counts_weights_statistics_and_momentum(bench: ModuleType) -> None:
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8))
    numbers = 8 * 9 + 8 + 8 + 8  # of parameters
    state = SelfTraining().prepare(network, Optimization(algorithm="adam"))
    assert bench.resident(state) == 4 * (numbers + 16) + 8  # running mean, variance and the count of batches
    network(torch.randn(2, 1, 5, 5)).sum().backward()
    state.optimizers["network"].step()
    assert bench.resident(state) == 4 * (numbers + 16) + 8 + 4 * (2 * numbers + 4)  # two moments and a step each


def test_every_variant_has_a_row_beside_the_plain_step(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "cost.json"
    monkeypatch.setattr(sys, "argv", ["step_cost.py", "--quick", "--device", "cpu", "--out", str(out)])
    whole = bench.Bench
    monkeypatch.setattr(bench, "Bench", lambda network, _, *more: whole(network, 32, *more))
    bench.main()
    content = json.loads(out.read_text())
    assert content["device"] == f"{torch.get_num_threads()} CPU threads"
    assert content["command"] == f"python benchmarks/step_cost.py --quick --device cpu --out {out}"
    rows = {(row["variant"], row["scope"]): row for row in content["rows"]}
    assert list(rows) == list(bench.VARIANTS)
    plain = rows.pop(bench.PLAIN)
    assert (plain["time_ratio"], plain["memory_ratio"], plain["g_relative_error"]) == (1, 1, None)
    assert plain["matmul_share"] > 0
    for row in rows.values():
        assert (row["network"], row["size"], row["batch"]) == ("deeplab-small", 32, 8)
        assert row["time_ratio"] > 0
        assert row["memory_ratio"] > 1
    errors = {key: row["g_relative_error"] for key, row in rows.items()}
    assert errors["linear", "heads"] < 1e-10
    assert errors["forward-mode", "all"] < 1e-10
    assert errors["double-backward", "all"] < 1e-3
    for scope in ("all", "last-stage"):
        assert errors["finite-difference", scope] < 0.1
