"""How steps are computed: batches made ahead, memory layout, precision; and that no batch is another for it."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import torch
from monai.transforms import Compose
from torch import Tensor

from prostate_uda.data.batch import Batch
from prostate_uda.data.slices import BatchStream, SliceSet
from prostate_uda.engines.execution import Execution, ahead
from prostate_uda.engines.observers import Silent
from prostate_uda.engines.stages import Pairs, Stage, Workplace, train
from prostate_uda.errors import DataError, SettingsError
from prostate_uda.methods import MetaCorrection, Method, Optimization, SelfTraining, State
from prostate_uda.recipes import AdaptSettings, adapt
from prostate_uda.recipes.settings import FREE
from prostate_uda.transforms import AUGMENTATIONS
from tests.builders import tiny_deeplab as tiny
from tests.recipes.conftest import TINY

CPU = torch.device("cpu")
STEPS = 7


class Recorded(BatchStream):
    """A stream that keeps which step's batch was made in which thread, and fails at a step."""

    def __init__(self, name: str, augment: Compose, *, bad: int | None = None) -> None:
        rng = torch.Generator().manual_seed(len(name))
        images, labels = torch.randn(12, 32, 32, generator=rng), torch.randint(3, (12, 32, 32), generator=rng)
        whole = torch.zeros(12, dtype=torch.long)
        slices = SliceSet(images, labels.to(torch.uint8), whole, whole + 11, ("case",) * 12)
        super().__init__(slices, batch_size=2, depth=1, seed=3, name=name, augment=augment)
        self.bad, self.made = bad, []

    def at(self, step: int) -> Batch:
        self.made.append((step, threading.current_thread().name.split("_")[0]))
        if step == self.bad:
            raise DataError(f"step {step} has no batch")
        return super().at(step)


class Interrupted(Silent):
    """A progress at which someone presses Ctrl-C when a step is done."""

    def __init__(self, step: int) -> None:
        self.left = step

    @contextmanager
    def task(self, *_: object, **__: object) -> Iterator["Interrupted"]:
        yield self

    def advance(self, amount: int = 1, values: Mapping[str, float] | None = None) -> None:
        self.left -= amount
        if self.left == 0:
            raise KeyboardInterrupt


def streams(bad: int | None = None) -> Pairs:
    strong = AUGMENTATIONS["strong"]
    return Pairs(Recorded("source", strong()), Recorded("target", strong(), bad=bad))


def run(
    folder: Path, execution: Execution, *, method: Method | None = None, stop: int = 0, pairs: Pairs | None = None
) -> State:
    """Train from where the folder stands, interrupted after ``stop`` steps."""
    place = Workplace(
        folder=folder,
        device=CPU,
        progress=Interrupted(stop) if stop else Silent(),
        checkpoint_every=2,
        execution=execution,
    )
    method = method or SelfTraining()
    stage = Stage(name="round", title="round", method=method, optimization=Optimization(total_steps=STEPS), seed=0)
    return train(stage, tiny(), pairs or streams(), place)


def interrupted(folder: Path, execution: Execution, stop: int, pairs: Pairs | None = None) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(folder, execution, stop=stop, pairs=pairs)


def makers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("batches")]


def same(one: object, other: object) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("count", [0, 1, 2, 8])
def test_every_step_is_made_once_and_in_order(count: int) -> None:
    made: list[int] = []
    with closing(ahead(lambda step: made.append(step) or step, range(3, 8), count)) as steps:
        assert list(steps) == [3, 4, 5, 6, 7]
    assert made == [3, 4, 5, 6, 7]
    assert makers() == []


@pytest.mark.parametrize("count", [0, 1, 3])
def test_no_more_than_so_many_are_made_ahead(count: int) -> None:
    made: list[int] = []
    with closing(ahead(lambda step: made.append(step) or step, range(100), count)) as steps:
        for taken in range(5):
            assert next(steps) == taken
    assert made == list(range(len(made)))
    assert 5 <= len(made) <= 5 + count


def test_a_batch_is_made_while_the_step_before_computes() -> None:
    second = threading.Event()
    with closing(ahead(lambda step: step == 1 and second.set(), range(3), 1)) as steps:
        next(steps)
        assert second.wait(10)


@pytest.mark.parametrize("count", [0, 1, 8])
def test_an_error_comes_at_its_own_step(count: int) -> None:
    with closing(ahead(lambda step: 1 // (3 - step), range(9), count)) as steps:
        assert [next(steps) for _ in range(3)] == [0, 0, 1]
        with pytest.raises(ZeroDivisionError):
            next(steps)
    assert makers() == []


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> State:
    """Trained without any option."""
    return run(tmp_path_factory.mktemp("plain"), Execution(prefetch=0))


@pytest.mark.parametrize("count", [2, 8])
def test_batches_made_ahead_change_no_bit(tmp_path: Path, plain: State, count: int) -> None:
    same(run(tmp_path, Execution(prefetch=count)).state_dict(), plain.state_dict())


@pytest.mark.parametrize(("first", "second"), [(0, 8), (8, 2), (2, 0)])
def test_killed_and_resumed_with_another_number_ahead_is_the_same_to_the_bit(
    tmp_path: Path, plain: State, first: int, second: int
) -> None:
    interrupted(tmp_path, Execution(prefetch=first), stop=5)
    same(run(tmp_path, Execution(prefetch=second)).state_dict(), plain.state_dict())
    lines = (tmp_path / "logs" / "round.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, STEPS + 1))


@pytest.mark.parametrize(("count", "thread"), [(0, "MainThread"), (2, "batches")])
def test_batches_come_from_the_step_where_the_stage_stands_and_from_one_thread(
    tmp_path: Path, count: int, thread: str
) -> None:
    interrupted(tmp_path, Execution(prefetch=count), stop=5)
    pairs = streams()
    run(tmp_path, Execution(prefetch=count), pairs=pairs)
    for stream in (pairs.source, pairs.target):
        assert stream.made == [(step, thread) for step in range(4, STEPS)]


def test_the_thread_ends_when_someone_interrupts(tmp_path: Path) -> None:
    interrupted(tmp_path, Execution(prefetch=8), stop=2)
    assert makers() == []


def test_a_batch_that_cannot_be_made_stops_its_own_step_and_ends_the_thread(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="step 4 has no batch"):
        run(tmp_path, Execution(prefetch=8), pairs=streams(bad=4))
    assert makers() == []
    lines = (tmp_path / "logs" / "round.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]  # steps are counted from 1, batches from 0


def channels_last(tensor: Tensor) -> bool:
    return tensor.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "method", [SelfTraining(), MetaCorrection(), MetaCorrection(virtual_scope="all", derivative="double-backward")]
)
def test_channels_last_is_the_layout_of_the_steps_and_not_of_the_results(tmp_path: Path, method: Method) -> None:
    seen: list[bool] = []

    class Watched(Interrupted):
        def advance(self, amount: int = 1, values: Mapping[str, float] | None = None) -> None:
            weight = network.heads.levels[0].branches[0].weight
            seen.append(channels_last(weight) and not weight.is_contiguous())

    network, results = tiny(), []
    network.backbone.get_submodule("layer1").register_forward_hook(
        lambda *given: seen.append(channels_last(given[-1]) and not given[-1].is_contiguous())
    )
    for layout in (True, False):
        place = Workplace(
            folder=tmp_path / str(layout),
            device=CPU,
            progress=Watched(0) if layout else Silent(),
            checkpoint_every=2,
            execution=Execution(channels_last=layout),
        )
        stage = Stage(name="round", title="", method=method, optimization=Optimization(total_steps=2), seed=0)
        results.append(train(stage, network if layout else tiny(), streams(), place).state_dict())
        if layout:
            assert all(seen)
            assert len(seen) >= 4
    assert all(value.is_contiguous() for value in network.state_dict().values())
    assert results[0]["network"].keys() == results[1]["network"].keys()
    torch.testing.assert_close(results[0]["network"], results[1]["network"], rtol=0.02, atol=0.002)


def test_bf16_in_channels_last_killed_and_resumed_is_the_same_to_the_bit(tmp_path: Path, plain: State) -> None:
    execution = Execution(precision="bf16", channels_last=True)
    whole = run(tmp_path / "whole", execution)
    interrupted(tmp_path / "parts", execution, stop=3)
    same(run(tmp_path / "parts", execution).state_dict(), whole.state_dict())
    pairs = zip(whole.network.parameters(), plain.network.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in pairs)  # the options are not ignored


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"precision": "float16"}, "choose float32, tf32 or bf16"),
        ({"precision": "double"}, "choose float32, tf32 or bf16"),
        ({"prefetch": -1}, "allowed is 0 or more batches"),
    ],
)
def test_settings_that_are_not_offered(change: dict[str, object], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as caught:
        AdaptSettings(**change)
    assert "\n" not in str(caught.value)


def test_only_the_number_of_batches_ahead_decides_nothing() -> None:
    assert FREE & {"precision", "channels_last", "prefetch"} == {"prefetch"}


@pytest.mark.slow
def test_a_run_with_every_option_is_recorded_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROSTATE_UDA_CACHE", str(tmp_path / "cache"))
    given = {"precision": "bf16", "channels_last": True, "prefetch": 1}
    record = adapt(AdaptSettings(**TINY, **given), tmp_path / "run")
    assert record["status"] == "done"
    assert given.items() <= json.loads((tmp_path / "run" / "run.json").read_text())["settings"].items()
    saved = torch.load(tmp_path / "run" / "bundle" / "models" / "model.pt", weights_only=True)
    floats = [value for value in saved.values() if value.is_floating_point()]
    assert all(value.dtype == torch.float32 and value.is_contiguous() for value in floats)
