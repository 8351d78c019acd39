"""What scripts of single steps share, tiny: the batch, what memory is counted, and ratios within a turn."""

import importlib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from prostate_uda.engines.execution import Execution
from prostate_uda.methods import Optimization, SelfTraining, build_method

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("step_bench")


def test_blobs_are_the_seeds_and_hold_all_three_classes(bench: ModuleType) -> None:
    load = bench.Workload.of_slices("deeplab-small", 64, Execution(), batch=2)
    batch = bench.blobs(1, load)
    assert (batch.image.shape, batch.label.shape) == ((2, 1, 64, 64), (2, 64, 64))
    assert batch.label.unique().tolist() == [0, 1, 2]
    assert torch.equal(batch.image, bench.blobs(1, load).image)
    assert not torch.equal(batch.image, bench.blobs(2, load).image)
    darkest, brightest = (batch.image[:, 0][batch.label == label].mean() for label in (0, 2))
    assert darkest < brightest - 1  # the label can be told from the image


def test_blobs_of_scenes_have_colours_and_all_nineteen_classes(bench: ModuleType) -> None:
    load = bench.Workload(network="deeplab-small", shape=(64, 128), batch=4, channels=3, classes=19)
    batch = bench.blobs(1, load)
    assert (batch.image.shape, batch.label.shape) == ((4, 3, 64, 128), (4, 64, 128))
    assert (batch.label.unique().tolist(), batch.index.tolist()) == ([*range(19)], [0, 1, 2, 3])
    assert not torch.equal(batch.image[:, 0], batch.image[:, 1])


def test_the_usual_batch_is_smaller_where_the_network_or_the_image_is_larger(bench: ModuleType) -> None:
    of = bench.Workload.of_slices
    batches = [of(*case, Execution()).batch for case in (("deeplab-small", 96), ("deeplab-resnet50", 128))]
    assert [*batches, of("deeplab-resnet50", 320, Execution()).batch] == [8, 2, 1]


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


def test_networks_beside_the_one_that_learns_count_with_their_gradients(bench: ModuleType) -> None:
    load = bench.Workload.of_slices("deeplab-small", 32, Execution(), batch=2)
    small = bench.StepBench(load, torch.device("cpu"))
    states = {name: small.prepared(build_method(name)) for name in ("self-training", "adaptsegnet", "dmlc")}
    judge = bench.weight_bytes(states["adaptsegnet"].modules["discriminator"])
    assert bench.beside(states["self-training"]) == 0
    assert bench.beside(states["adaptsegnet"]) == 2 * judge
    assert bench.beside(states["dmlc"]) == judge + bench.weight_bytes(small.network)  # the predictor only looks


def test_time_is_the_median_of_the_ratios_within_a_turn(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    load = bench.Workload.of_slices("deeplab-small", 32, Execution(), batch=2)
    small = bench.StepBench(load, torch.device("cpu"))
    ready = {name: (SelfTraining(), small.prepared(SelfTraining())) for name in ("plain", "other")}
    clock = iter([0, 1, 1, 4, 4, 14, 14, 34, 34, 36, 36, 38])  # plain 1, 10, 2 s, other 3, 20, 2: 3, 2 and 1 times
    monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    found = small.costs(ready, "plain", 3)
    assert (found["other"].time_ratio, found["other"].step_s, found["plain"].time_ratio) == (2.0, 3.0, 1.0)
    assert found["other"].memory_ratio == pytest.approx(1.0, abs=0.01)
    assert found["plain"].peak_MB * 1e6 > bench.resident(ready["plain"][1])


def test_a_method_moves_as_the_workload_says(bench: ModuleType) -> None:
    optimization, execution = Optimization(algorithm="sgd"), Execution(channels_last=True)
    load = bench.Workload(
        network="deeplab-small", shape=(32, 64), batch=2, channels=3, optimization=optimization, execution=execution
    )
    small = bench.StepBench(load, torch.device("cpu"))
    state = small.prepared(build_method("self-training"))
    assert isinstance(state.optimizers["network"], torch.optim.SGD)
    weight = state.network.backbone.get_submodule("layer1.0.conv1").weight
    for tensor in (small.source.image, weight):
        assert tensor.is_contiguous(memory_format=torch.channels_last)
