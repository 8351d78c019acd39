"""On a GPU a step is what it is on the CPU, in float32 and about so in bfloat16, and a run goes through to its end.

``pytest -m gpu tests/contracts/test_cuda.py``, skipped where there is no GPU. The same with the CPU in its place, which
keeps this file from rotting, are slow tests: ``-m slow``.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor

from prostate_uda.data.batch import Batch
from prostate_uda.data.domains import PhantomSettings, get_domain
from prostate_uda.engines import checkpoints
from prostate_uda.engines.execution import Execution, autocast
from prostate_uda.engines.guards import Guard, GuardError
from prostate_uda.engines.observers import Silent
from prostate_uda.engines.stages import Pairs, Stage, Workplace, train
from prostate_uda.methods import TEACHERS, MetaCorrection, Method, Optimization, State, build_method
from prostate_uda.networks.teacher import Teacher
from prostate_uda.recipes import AdaptSettings, InferSettings, adapt, infer
from tests.builders import random_batch, tiny_deeplab
from tests.contracts.test_methods import VARIANTS, predictor
from tests.recipes.conftest import TINY

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: torch.cuda.is_available() is False")
on_each = pytest.mark.parametrize(
    "device",
    [
        pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU]),
        pytest.param("cpu", marks=pytest.mark.slow),
    ],
)
every_method = pytest.mark.parametrize("variant", VARIANTS)


@pytest.fixture(autouse=True)
def _full_float32() -> Iterator[None]:
    """Without TF32, whose products have ten bits."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROSTATE_UDA_CACHE", str(tmp_path_factory.getbasetemp() / "cuda-cache"))


def teacher_on(device: str, method: Method) -> Teacher | None:
    """A teacher as ``adapt`` makes it: the network on the device, thresholds and confusion counted on the CPU."""
    if not TEACHERS & method.needs:
        return None
    teacher = Teacher(
        tiny_deeplab(5).to(device),
        torch.tensor([0.9, 0.4, 0.6]),
        torch.tensor([[90, 5, 5], [20, 60, 20], [10, 5, 80]]),
    )
    if "survey" in method.needs:
        teacher.survey = method.survey([random_batch(300).to(device)], [random_batch(301).to(device)], teacher)
    return teacher


def begin(variant: str, device: str, algorithm: str = "sgd") -> tuple[Method, State]:
    """A variant's state on the device; SGD's first step is as exact as the gradient, Adam's is its sign."""
    name, settings = VARIANTS[variant]
    method = build_method(name, **settings)
    optimization = Optimization(algorithm=algorithm, learning_rate=1e-2, total_steps=10)  # type: ignore[arg-type]
    judge = predictor().to(device) if "domain_predictor" in method.needs else None
    return method, method.prepare(
        tiny_deeplab(0).to(device), optimization, domain_predictor=judge, teacher=teacher_on(device, method)
    )


def advance(method: Method, state: State, device: str, *, bf16: bool = False) -> dict[str, float]:
    """One step on the batches of its number; its losses, which are to lie where they were computed."""
    source, target = (random_batch(start + state.step).to(device) for start in (100, 200))
    with autocast(torch.device(device), {}) if bf16 else nullcontext():
        named = method.step(state, source, target)
    assert {value.device.type for value in named.values()} == {device}
    return {name: float(value) for name, value in named.items()}


def tensors(content: Any, path: str = "") -> dict[str, Tensor]:
    """Every tensor of nested dictionaries and lists, by where it is; Adam counts its steps on the CPU."""
    if isinstance(content, Tensor):
        return {} if path.endswith(".step") else {path: content}
    pairs = content.items() if isinstance(content, Mapping) else enumerate(content) if isinstance(content, list) else ()
    return {name: value for key, inner in pairs for name, value in tensors(inner, f"{path}.{key}").items()}


def counters(state: State) -> list[Tensor]:
    """Adam's counts of steps."""
    return [
        kept["step"] for optimizer in state.optimizers.values() for kept in optimizer.state.values() if "step" in kept
    ]


def moved(state: State, before: Mapping[str, Tensor]) -> Tensor:
    """How far the weights and statistics of the network went, as one vector on the CPU, in double precision."""
    after = state.network.state_dict()
    return torch.cat([(after[name].cpu().double() - old.double()).flatten() for name, old in before.items()])


@on_each
@every_method
def test_a_step_is_that_of_the_cpu_and_everything_stays_on_the_device(variant: str, device: str) -> None:
    (method, here), (_, there) = begin(variant, "cpu"), begin(variant, device)
    there.load_state_dict(here.state_dict())
    before = {name: value.clone() for name, value in here.network.state_dict().items()}
    losses, theirs = advance(method, here, "cpu"), advance(method, there, device)
    assert losses == pytest.approx(theirs, rel=1e-3, abs=1e-5)
    step, other = moved(here, before), moved(there, before)
    assert float(step.norm()) > 0
    assert float((step - other).norm()) <= 1e-2 * float(step.norm())
    for name, value in tensors({"tensors": here.state_dict()["tensors"]}).items():
        torch.testing.assert_close(tensors(there.state_dict())[name].cpu(), value, rtol=1e-2, atol=1e-3, msg=name)
    kept = {**tensors(there.state_dict()), **tensors({name: one.state_dict() for name, one in there.frozen.items()})}
    elsewhere = {name: value.device for name, value in kept.items() if value.device.type != device}
    assert not {name for name in elsewhere if not name.endswith((".confusion", ".seed"))}, elsewhere


@on_each
@every_method
def test_in_bfloat16_losses_are_finite_and_about_those_of_float32(variant: str, device: str) -> None:
    (method, exact), (_, rounded) = begin(variant, device), begin(variant, device)
    for _ in range(2):
        single, half = advance(method, exact, device), advance(method, rounded, device, bf16=True)
        assert all(map(np.isfinite, half.values())), half
        for name in {"source", "target"} & single.keys():
            assert half[name] == pytest.approx(single[name], rel=0.05, abs=0.01), name
    held = tensors(rounded.state_dict())
    assert all(bool(value.isfinite().all()) for value in held.values() if value.is_floating_point())
    assert torch.bfloat16 not in {value.dtype for value in held.values()}


@on_each
@every_method
def test_a_checkpoint_of_the_device_is_read_on_the_cpu_and_gone_on_with(
    variant: str, device: str, tmp_path: Path
) -> None:
    method, there = begin(variant, device, "adam")
    advance(method, there, device)
    checkpoints.save(tmp_path / "state.pt", {"state": there.state_dict()})
    saved = checkpoints.load(tmp_path / "state.pt")["state"]
    assert {value.device.type for value in tensors(saved).values()} == {"cpu"}
    (_, here), (_, back) = begin(variant, "cpu", "adam"), begin(variant, device, "adam")
    for state in (here, back):
        state.load_state_dict(saved)
        assert state.step == 1
    for name, value in tensors(there.state_dict()).items():
        assert torch.equal(tensors(back.state_dict())[name], value), name
        assert torch.equal(tensors(here.state_dict())[name], value.cpu()), name
    losses = advance(method, here, "cpu")
    assert losses == pytest.approx(advance(method, back, device), rel=2e-3, abs=1e-4)
    assert {count.device.type for state in (here, back) for count in counters(state)} == {"cpu"}


@on_each
def test_what_is_not_finite_is_found_wherever_it_is(device: str) -> None:
    method, state = begin("metacorrection, learned", device, "adam")
    advance(method, state, device)
    guard = Guard(state)
    guard.check_state()
    found = guard.read({"source": torch.tensor(2.0, device=device)})
    assert found.losses == {"source": 2.0}
    assert torch.equal(found.ntm, state.tensors["ntm"].cpu())
    state.optimizers["ntm"].state[state.tensors["ntm_logits"]]["exp_avg"][0, 1, 2] = torch.nan
    with pytest.raises(GuardError, match=r"not finite after step 1: optimizers\.ntm\.state\.0\.exp_avg;"):
        guard.check_state()
    with pytest.raises(GuardError, match=r"loss is not finite at step 1 \(source inf\)"):
        guard.read({"source": torch.tensor(torch.inf, device=device)})


class InterruptsAt(Silent):
    """A progress that presses Ctrl-C at the n-th step of a piece of work."""

    def __init__(self, title: str, step: int) -> None:
        self.title, self.left, self.current = title, step, ""

    @contextmanager
    def task(self, title: str, total: int, done: int = 0, *, unit: str = "") -> Iterator["InterruptsAt"]:
        self.current = title
        yield self

    def advance(self, amount: int = 1, values: Mapping[str, float] | None = None) -> None:
        self.left -= self.current.startswith(self.title)
        if self.left == 0:
            raise KeyboardInterrupt


class Drawn:
    """Batches of noise that depend on the step alone, in place of a stream of slices."""

    def __init__(self, first: int) -> None:
        self.first = first

    def at(self, step: int) -> Batch:
        return random_batch(self.first + step)


def stage_on(device: str, folder: Path, execution: Execution, progress: Silent) -> State:
    """Four steps of a learned NTM, from where the folder stands, with a checkpoint every second."""
    method = MetaCorrection(ntm_mode="learned")
    place = Workplace(
        folder=folder, device=torch.device(device), progress=progress, checkpoint_every=2, execution=execution
    )
    stage = Stage(name="round", title="round", method=method, optimization=Optimization(total_steps=4), seed=0)
    pairs = Pairs(Drawn(100), Drawn(200))  # type: ignore[arg-type]  # what a stage asks of a stream
    return train(stage, tiny_deeplab(0).to(device), pairs, place, domain_predictor=predictor().to(device))


@on_each
@pytest.mark.parametrize("execution", [Execution(), Execution(precision="bf16", channels_last=True, prefetch=0)])
def test_a_stage_taken_up_again_ends_about_where_it_would_have(
    execution: Execution, device: str, tmp_path: Path
) -> None:
    whole = stage_on(device, tmp_path / "whole", execution, Silent())
    with pytest.raises(KeyboardInterrupt):
        stage_on(device, tmp_path / "again", execution, InterruptsAt("round", 3))
    again = stage_on(device, tmp_path / "again", execution, Silent())
    start = tiny_deeplab(0).state_dict()
    far, apart = moved(whole, start), moved(whole, start) - moved(again, start)
    assert again.step == whole.step == 4
    assert float(apart.norm()) <= (0 if device == "cpu" else 0.5) * float(far.norm())  # sums on a GPU have no order
    assert {count.device.type for count in counters(again)} == {"cpu"}  # else each is waited for in each step
    lines = (tmp_path / "again" / "logs" / "round.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]


def network_of(out: Path, stage: str = "round_1") -> dict[str, Tensor]:
    weights: dict[str, Tensor] = checkpoints.load(out / "checkpoints" / f"{stage}.pt")["state"]["network"]
    return weights


RUNS: dict[str, dict[str, Any]] = {
    "metacorrection": {"method": "metacorrection", "options": {"ntm_mode": "learned"}},
    "recommended": {"method": "recommended"},
    "bf16": {"method": "metacorrection", "precision": "bf16", "channels_last": True},
}


@on_each
@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_through_to_a_bundle_that_the_cpu_reads(name: str, device: str, tmp_path: Path) -> None:
    settings = AdaptSettings(**{**TINY, **RUNS[name], "device": device})
    record = adapt(settings, tmp_path / "run")
    assert record["status"] == "done"
    weights = network_of(tmp_path / "run")
    assert all(value.device.type == "cpu" and bool(value.isfinite().all()) for value in weights.values())
    start = network_of(tmp_path / "run", "source")
    assert any(not torch.equal(weights[key], start[key]) for key in weights)
    phantom = get_domain("phantom-1.5t").configured(PhantomSettings(train=3, test=2))
    case = phantom.cases(None, role="target", seed=0).test[0]
    written = [
        infer([case.image], tmp_path / "run", tmp_path / where, InferSettings(device=where)).labels[0]
        for where in (device, "cpu")
    ]
    first, *others = (
        np.asarray(nibabel.load(path).dataobj)
        for path in (tmp_path / "run" / "predictions" / "adapted" / f"{case.id}.nii.gz", *written)
    )
    assert all(np.mean(one != first) < 1e-3 for one in others)


@on_each
@pytest.mark.parametrize(("title", "step"), [("source training", 3), ("domain predictor", 3), ("round 1: metacorr", 3)])
def test_an_interrupted_run_is_taken_up_on_the_device(title: str, step: int, device: str, tmp_path: Path) -> None:
    settings, out = AdaptSettings(**{**TINY, "device": device}), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        adapt(settings, out, progress=InterruptsAt(title, step))
    done = {path.name: path.read_bytes() for path in (out / "checkpoints").glob("*.pt")}
    record = adapt(settings, out, resume=True)
    assert record["status"] == "done"
    for path, content in done.items():  # stages that were over stay as they were
        if not title.startswith({"source.pt": "source", "predictor.pt": "domain"}.get(path, "round")):
            assert (out / "checkpoints" / path).read_bytes() == content
    for stage, total in (("source", TINY["source_steps"]), ("round_1", TINY["steps"])):
        lines = (out / "logs" / f"{stage}.jsonl").read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["step"] for line in lines] == list(range(1, int(str(total)) + 1))
    assert all(bool(value.isfinite().all()) for value in network_of(out).values())
