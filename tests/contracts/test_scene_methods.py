"""Every method of the registry on what driving scenes have: three channels, 19 classes, pictures twice as wide."""

import pytest
import torch

from prostate_uda.data.batch import Batch
from prostate_uda.maths.losses import IGNORE
from prostate_uda.methods import METHODS, TEACHERS, Method, Optimization, State, build_method
from prostate_uda.networks import Discriminator, DomainPredictor
from prostate_uda.networks.teacher import Teacher
from tests.builders import tiny_deeplab

CLASSES, SHAPE = 19, (32, 64)


def scene(seed: int) -> Batch:
    """Two pictures of noise with labels of noise, a fifth of them IGNORE."""
    rng = torch.Generator().manual_seed(seed)
    label = torch.randint(CLASSES, (2, *SHAPE), generator=rng)
    label[torch.rand(label.shape, generator=rng) < 0.2] = IGNORE
    return Batch(torch.randn(2, 3, *SHAPE, generator=rng), label, index=torch.arange(2))


def network(seed: int) -> torch.nn.Module:
    return tiny_deeplab(seed, in_channels=3, num_classes=CLASSES)


def teacher(method: Method) -> Teacher | None:
    if not TEACHERS & method.needs:
        return None
    made = Teacher(network(5), torch.linspace(0.3, 0.9, CLASSES), torch.eye(CLASSES, dtype=torch.long) * 90 + 1)
    if "survey" in method.needs:
        made.survey = method.survey([scene(300)], [scene(301)], made)
    return made


def begin(name: str) -> tuple[Method, State]:
    method = build_method(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        judge = Discriminator(CLASSES, base_channels=4, layers=2)
    predictor = DomainPredictor(network(5), judge) if "domain_predictor" in method.needs else None
    optimization = Optimization(total_steps=10)
    return method, method.prepare(network(0), optimization, seed=0, domain_predictor=predictor, teacher=teacher(method))


@pytest.mark.parametrize("name", METHODS)
def test_two_steps_are_finite_move_the_network_and_repeat(name: str) -> None:
    ends = []
    for _ in range(2):
        method, state = begin(name)
        start = {key: value.clone() for key, value in state.network.state_dict().items()}
        for step in range(2):
            losses = method.step(state, scene(100 + step), scene(200 + step))
            assert all(bool(value.isfinite().all()) for value in losses.values()), losses
        end = state.network.state_dict()
        assert any(not torch.equal(end[key], start[key]) for key in start)
        if "ntm" in state.tensors:
            ntm = state.tensors["ntm"]
            assert ntm.shape[-2:] == (CLASSES, CLASSES)
            torch.testing.assert_close(ntm.sum(dim=-1), torch.ones(ntm.shape[:-1]), atol=1e-5, rtol=0)
        ends.append(end)
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
