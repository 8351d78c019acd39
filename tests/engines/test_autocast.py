"""MONAI's ``amp`` on the one loop: bfloat16 in the networks, float32 in everything that is kept or reported."""

from collections.abc import Mapping
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from prostate_uda.data.batch import Batch
from prostate_uda.engines.execution import autocast
from prostate_uda.engines.trainer import AdaptationTrainer, Pair
from prostate_uda.errors import SettingsError
from prostate_uda.methods import METHODS, MetaCorrection, Method, Optimization, SelfTraining
from prostate_uda.networks import Discriminator, DomainPredictor
from prostate_uda.networks.splits import run_shared, split
from tests.builders import asked_teacher, tiny_teacher
from tests.builders import tiny_deeplab as tiny

SMALL = {"adaptsegnet": {"discriminator_channels": 4, "discriminator_stages": 2}}


def batch(seed: int) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    return Batch(image=torch.randn(2, 1, 32, 32, generator=rng), label=torch.randint(3, (2, 32, 32), generator=rng))


def trainer(method: Method, **options: object) -> AdaptationTrainer:
    return AdaptationTrainer(
        device="cpu",
        max_epochs=1,
        data_loader=[Pair(batch(0), batch(1)), Pair(batch(2), batch(3))],
        method=method,
        adaptation=method.prepare(tiny(), Optimization(), teacher=asked_teacher(method, 5)),
        decollate=False,
        **options,
    )


def floating(content: object) -> list[Tensor]:
    """Every floating-point tensor of a state dictionary."""
    if isinstance(content, Tensor):
        return [content] if content.is_floating_point() else []
    values = content.values() if isinstance(content, Mapping) else content if isinstance(content, list | tuple) else ()
    return [tensor for value in values for tensor in floating(value)]


@pytest.mark.parametrize("name", METHODS)
def test_monais_amp_computes_in_bfloat16_and_keeps_everything_in_float32(name: str) -> None:
    method = METHODS[name](**SMALL.get(name, {}))
    engine, exact = trainer(method, amp=True, amp_kwargs={"dtype": torch.bfloat16}), trainer(method)
    seen: set[torch.dtype] = set()
    stage = engine.network.backbone.get_submodule("layer1.0.conv1")
    stage.register_forward_hook(lambda *given: seen.add(given[-1].dtype))
    engine.run()
    exact.run()
    assert torch.bfloat16 in seen
    saved = floating(engine.adaptation.state_dict())
    assert saved
    assert all(value.dtype == torch.float32 for value in saved)
    for loss in ("source", "target"):
        if loss in exact.state.output:
            assert engine.state.output[loss].dtype == torch.float32
            assert float(engine.state.output[loss]) == pytest.approx(float(exact.state.output[loss]), rel=0.05)


def test_amp_alone_is_bfloat16_and_without_it_nothing_is_cast() -> None:
    for options, expected in (({"amp": True}, torch.bfloat16), ({}, torch.float32)):
        engine, seen = trainer(SelfTraining(), **options), set()
        engine.network.heads.levels[0].branches[0].register_forward_hook(
            lambda *given, to=seen: to.add(given[-1].dtype)
        )
        engine.run()
        assert seen == {expected}


def test_float16_is_refused_in_one_line() -> None:
    with pytest.raises(SettingsError, match=r"autocast to torch\.float16; choose torch\.bfloat16") as caught:
        trainer(SelfTraining(), amp=True, amp_kwargs={"dtype": torch.float16})
    assert "\n" not in str(caught.value)


def test_compile_is_refused_in_one_line() -> None:
    with pytest.raises(SettingsError, match="leave it out"):
        trainer(SelfTraining(), compile=True)


def test_a_weight_that_a_step_moves_is_the_one_its_next_pass_uses() -> None:
    layer, image = nn.Conv2d(1, 1, 1, bias=False), torch.ones(1, 1, 1, 1)
    with autocast(torch.device("cpu"), {}):
        before = layer(image).item()
        with torch.no_grad():
            layer.weight.mul_(2)
        assert layer(image).item() == 2 * before


def test_the_meta_pixels_are_those_of_single_precision() -> None:
    """A probability in bfloat16 has two digits: many pixels would stand exactly on the threshold, on either side."""
    torch.manual_seed(5)
    predictor = DomainPredictor(tiny(), Discriminator(3, base_channels=4, layers=2))
    method = MetaCorrection(meta_threshold=1.0, meta_minimum=0.3)
    state = method.prepare(tiny(), Optimization(), domain_predictor=predictor)
    exact = method.meta_label(state, batch(0))
    with autocast(torch.device("cpu"), {}):
        assert torch.equal(method.meta_label(state, batch(0)), exact)


def test_a_teachers_soft_labels_are_those_of_single_precision() -> None:
    teacher = tiny_teacher(5)
    exact = teacher(batch(1).image)
    with autocast(torch.device("cpu"), {}):
        assert torch.equal(teacher(batch(1).image), exact)


@pytest.mark.parametrize("derivative", ["finite-difference", "forward-mode"])
@pytest.mark.parametrize("scope", ["last-stage", "all"])
def test_beyond_the_heads_the_derivative_is_taken_in_single_precision(scope: str, derivative: str) -> None:
    method = MetaCorrection(virtual_scope=scope, derivative=derivative, ntm_mode="learned")  # type: ignore[arg-type]
    net = tiny()
    state = method.prepare(net, Optimization())
    direction = {
        name: torch.full_like(value, 0.01) for name, value in split(net, method.virtual_scope).above.named_parameters()
    }
    seen = []
    for precision in (nullcontext(), autocast(torch.device("cpu"), {})):
        with precision:
            passes = run_shared(net, method.virtual_scope, batch(0).image, batch(1).image, moved=False)
            found = method.directional(passes, tuple(one.detach() for one in passes.target), direction)
            assert all(one.dtype == torch.float32 for one in found)
            assert all(bool(value.isfinite()) for value in method.step(state, batch(0), batch(1)).values())
        net = tiny()
        state = method.prepare(net, Optimization())
        seen.append(found[-1])
    # below the last stage activations are rounded to bfloat16; nothing is, with the whole network above
    assert float((seen[0] - seen[1]).norm()) <= (0.05 if scope == "all" else 0.2) * float(seen[0].norm())
