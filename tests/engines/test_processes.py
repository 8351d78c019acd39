"""Two gloo processes with half of a batch each do what one process does with the whole batch."""

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import pytest
import torch
from torch import Tensor, nn

from prostate_uda.data.batch import Batch
from prostate_uda.maths.losses import IGNORE
from prostate_uda.methods import METHODS, TEACHERS, MetaCorrection, Optimization, State, build_method
from prostate_uda.methods.base import unmoved
from prostate_uda.networks import DeepLab, Discriminator, DomainPredictor
from prostate_uda.networks.splits import run_shared
from prostate_uda.networks.synced import synced
from prostate_uda.networks.teacher import Teacher

ROOT = Path(__file__).parents[2]
STEPS = 2
DIFFERENCES = "all, finite difference, per step"
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in METHODS},
    "adaptsegnet": ("adaptsegnet", {"discriminator_channels": 4, "discriminator_stages": 3}),
    "ltir": ("ltir", {"discriminator_channels": 4, "discriminator_stages": 3}),
    "heads, learned, least meta set": (
        "metacorrection",
        {"ntm_mode": "learned", "meta_threshold": 1.0, "meta_minimum": 0.05},
    ),
    "metacorrection, moved after": (
        "metacorrection",
        {"ntm_mode": "learned", "ntm_moves": "after", "virtual_rate": 0.1},
    ),
    DIFFERENCES: ("metacorrection", {"virtual_scope": "all", "virtual_rate": 0.1}),
    "last stage, forward mode, learned": (
        "metacorrection",
        {"virtual_scope": "last-stage", "derivative": "forward-mode", "ntm_mode": "learned", "virtual_rate": 0.1},
    ),
}


def network(seed: int) -> DeepLab:
    generator = torch.Generator().manual_seed(seed)
    tiny = DeepLab(in_channels=1, num_classes=3, depth=18, widths=(4, 4, 4, 4), dilations=(1, 2), generator=generator)
    return synced(tiny)


def predictor() -> DomainPredictor:
    torch.manual_seed(5)
    return DomainPredictor(network(5), Discriminator(3, base_channels=4, layers=2))


def share(seed: int, rank: int, count: int, dtype: torch.dtype) -> Batch:
    """One process's part of a batch of four whose halves have unlike numbers of labelled pixels and unlike looks."""
    rng = torch.Generator().manual_seed(seed)
    label = torch.randint(3, (4, 32, 32), generator=rng)
    label[:2][torch.rand(2, 32, 32, generator=rng) < 0.8] = IGNORE
    image = torch.randn(4, 1, 32, 32, generator=rng) * torch.tensor([1.0, 1.0, 2.0, 3.0])[:, None, None, None]
    return Batch(image.chunk(count)[rank].to(dtype), label.chunk(count)[rank])


def slopes(method: MetaCorrection, state: State, source: Batch, target: Batch) -> Tensor:
    """The hypergradient over γ_v: what the NTM follows, before it is scaled."""
    passes = run_shared(state.network, method.virtual_scope, source.image, target.image, moved=False)
    found = method.hypergradient(state, passes, method.meta_label(state, source), target.label)
    return torch.stack(found.gradients) / method.virtual_rate


def trained(variant: str, rank: int, count: int) -> dict[str, Tensor]:
    """Everything that some steps have changed or reported; momentum, not Adam, who would forgive a wrong factor."""
    name, options = VARIANTS[variant]
    method = build_method(name, **options)
    # the round-off of a difference quotient is larger than what is asked here
    dtype = torch.float64 if variant == DIFFERENCES else torch.float32
    batch = partial(share, rank=rank, count=count, dtype=dtype)
    judge = predictor().to(dtype) if "domain_predictor" in method.needs else None
    optimization = Optimization(algorithm="sgd", learning_rate=1e-2)
    asked = TEACHERS & method.needs
    confusion = torch.tensor([[90, 5, 5], [20, 60, 20], [10, 5, 80]])
    teacher = Teacher(network(6), torch.tensor([0.9, 0.4, 0.6]), confusion) if asked else None
    if teacher is not None and "survey" in method.needs:
        teacher.survey = method.survey([batch(500)], [batch(501)], teacher)
    state = method.prepare(network(0).to(dtype), optimization, seed=1, domain_predictor=judge, teacher=teacher)
    if variant == DIFFERENCES:
        state.tensors["ntm"] = state.tensors["ntm"].to(dtype)
    found = {}
    for step in range(STEPS):
        named = method.step(state, batch(100 + step), batch(200 + step))
        found |= {f"{name}, step {step}": value for name, value in named.items()}
    if isinstance(method, MetaCorrection):
        found["slopes"] = slopes(method, state, batch(300), batch(400))
    for part in (state.network, *state.modules.values()):
        found |= {f"{type(part).__name__}.{name}": value for name, value in part.state_dict().items()}
    return found | {name: value.detach().clone() for name, value in state.tensors.items()}


def normalised(rank: int, count: int, **options: Any) -> dict[str, Tensor]:
    """A layer's statistics, output, first and second derivative by its input."""
    rng = torch.Generator().manual_seed(3)
    whole, along, tangent = torch.randn(3, 4, 2, 5, 5, generator=rng) * torch.arange(1.0, 5.0)[:, None, None, None]
    mine = whole.chunk(count)[rank].requires_grad_(True)
    layer = synced(nn.Sequential(nn.BatchNorm2d(2, **options)))
    for _ in range(2):
        out = layer(mine)
    (slope,) = torch.autograd.grad((out**3).sum(), mine, create_graph=True)
    (bend,) = torch.autograd.grad((slope * along.chunk(count)[rank]).sum(), mine)
    _, moved = torch.func.jvp(partial(unmoved, layer), (mine.detach(),), (tangent.chunk(count)[rank],))
    parts = {"out": out, "slope": slope, "bend": bend, "moved": moved}
    return {name: idist.all_gather(part.detach()) for name, part in parts.items()} | layer.state_dict()


def everything(rank: int, count: int) -> dict[str, dict[str, Tensor]]:
    layers = {
        "a layer": normalised(rank, count),
        "a layer, no momentum, not affine": normalised(rank, count, momentum=None, affine=False),
    }
    return layers | {variant: trained(variant, rank, count) for variant in VARIANTS}


def distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> tuple[float, str]:
    """The largest difference, and where it is."""
    assert one.keys() == other.keys()
    return max((float((one[name].double() - other[name].double()).abs().max()), name) for name in one)


@pytest.mark.slow
def test_two_processes_with_half_the_batch_each_give_what_one_gives(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.engines.test_processes", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "WORLD_SIZE": "2"}
    running = [
        subprocess.Popen(command, cwd=ROOT, env={**environment, "RANK": rank, "LOCAL_RANK": rank}) for rank in "01"
    ]
    try:
        alone = everything(0, 1)
        assert [process.wait(300) for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
            process.wait()
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in "01")
    far = {run: distance(alone[run], first[run]) for run in alone}
    assert {run: found for run, found in far.items() if found[0] > 1e-5} == {}
    assert all(0.01 < found["slopes"].abs().max() < 10 for found in alone.values() if "slopes" in found)
    assert {run: distance(first[run], second[run])[0] for run in alone} == dict.fromkeys(alone, 0.0)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    idist.initialize("gloo", init_method=f"file://{folder / 'store'}")
    torch.save(everything(idist.get_rank(), idist.get_world_size()), folder / f"{idist.get_rank()}.pt")
    idist.finalize()
