"""What every method in the registry promises to the engines above it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from prostate_uda.data.batch import Batch
from prostate_uda.engines import checkpoints
from prostate_uda.errors import CheckpointError, SettingsError, UnknownNameError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.methods import METHODS, Method, Optimization, State, build_method
from prostate_uda.methods.citations import BIBTEX, CITATIONS
from prostate_uda.networks import Discriminator, DomainPredictor
from tests.builders import asked_teacher, random_batch
from tests.builders import tiny_deeplab as tiny

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in METHODS},
    "adaptsegnet": ("adaptsegnet", {"discriminator_channels": 4, "discriminator_stages": 3}),
    "adaptsegnet, two levels": ("adaptsegnet", {"discriminator_channels": 4, "shallow_weight": 2e-4}),
    "metacorrection, learned": ("metacorrection", {"ntm_mode": "learned"}),
    "metacorrection, all": ("metacorrection", {"ntm_mode": "learned", "virtual_scope": "all"}),
    "metacorrection, last stage": ("metacorrection", {"virtual_scope": "last-stage", "derivative": "forward-mode"}),
    "metacorrection, moved after": ("metacorrection", {"ntm_mode": "learned", "ntm_moves": "after"}),
    "metacorrection, reference": ("metacorrection", {"virtual_scope": "all", "derivative": "double-backward"}),
}
every_method = pytest.mark.parametrize("variant", VARIANTS)


def predictor() -> DomainPredictor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        judge = Discriminator(3, base_channels=4, layers=2)
    return DomainPredictor(tiny(5), judge)


def begin(variant: str, seed: int = 0, algorithm: str = "adam") -> tuple[Method, State]:
    name, settings = VARIANTS[variant]
    method = build_method(name, **settings)
    optimization = Optimization(algorithm=algorithm, total_steps=10)  # type: ignore[arg-type]
    return method, method.prepare(
        tiny(seed),
        optimization,
        seed=seed,
        domain_predictor=predictor() if "domain_predictor" in method.needs else None,
        teacher=asked_teacher(method, 5),
    )


def advance(method: Method, state: State, steps: int) -> list[dict[str, Tensor]]:
    """Steps on the batches of the step's own number, as the engine's streams give them."""
    return [method.step(state, random_batch(100 + state.step), random_batch(200 + state.step)) for _ in range(steps)]


def everything(state: State) -> dict[str, Any]:
    """The state with nothing shared."""
    frozen = {name: module.state_dict() for name, module in state.frozen.items()}
    rates = {name: [group["lr"] for group in value.param_groups] for name, value in state.optimizers.items()}
    copied: dict[str, Any] = _copy({**state.state_dict(), "frozen": frozen, "rates": rates})
    return copied


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_copy(inner) for inner in value]
    return value.detach().clone() if isinstance(value, Tensor) else value


def assert_same_bits(one: State, other: State) -> None:
    assert_equal(everything(one), everything(other))


def assert_equal(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for inner, twin in zip(one, other, strict=True):
            assert_equal(inner, twin)
    elif isinstance(one, Tensor):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    else:
        assert one == other


@every_method
def test_losses_are_named_finite_detached_scalars(variant: str) -> None:
    method, state = begin(variant)
    for named in advance(method, state, 2):
        assert "source" in named
        for name, value in named.items():
            assert isinstance(name, str)
            assert value.shape == ()
            assert bool(value.isfinite()), name
            assert not value.requires_grad, name


@every_method
@pytest.mark.parametrize("algorithm", ["adam", "sgd"])
def test_a_step_moves_every_parameter_and_the_statistics(variant: str, algorithm: str) -> None:
    method, state = begin(variant, algorithm=algorithm)
    before = everything(state)["network"]
    advance(method, state, 1)
    still = [name for name, value in state.network.state_dict().items() if torch.equal(value, before[name])]
    # a level of weight zero does not move its head
    heads = [f"heads.levels.0.branches.{index}.{kind}" for index in (0, 1) for kind in ("weight", "bias")]
    assert still == (heads if variant == "dmlc" else [])
    assert state.step == 1


@every_method
def test_the_frozen_stay_frozen(variant: str) -> None:
    method, state = begin(variant)
    before = everything(state)["frozen"]
    advance(method, state, 2)
    assert_equal(everything(state)["frozen"], before)
    assert set(before) == {"domain_predictor", "teacher"} & method.needs


@every_method
def test_the_same_seed_gives_the_same_bits(variant: str) -> None:
    (method, one), (_, other), (_, third) = begin(variant, 3), begin(variant, 3), begin(variant, 4)
    global_state = torch.get_rng_state()
    for state in (one, other, third):
        advance(method, state, 3)
    assert_same_bits(one, other)
    assert not torch.equal(
        one.network.state_dict()["backbone.conv1.weight"], third.network.state_dict()["backbone.conv1.weight"]
    )
    assert torch.equal(torch.get_rng_state(), global_state)


@every_method
def test_a_target_without_any_label_is_survived(variant: str) -> None:
    method, state = begin(variant)
    nothing = torch.full((2, 32, 32), IGNORE)
    for step in range(2):
        named = method.step(state, random_batch(step), Batch(image=random_batch(10 + step).image, label=nothing))
        assert all(bool(value.isfinite()) for value in named.values()), named
    assert all(bool(value.isfinite().all()) for value in state.network.state_dict().values())


@every_method
def test_a_run_taken_up_again_ends_with_the_bits_of_one_that_was_not_interrupted(variant: str, tmp_path: Path) -> None:
    method, uninterrupted = begin(variant)
    advance(method, uninterrupted, 4)

    _, first_half = begin(variant)
    advance(method, first_half, 2)
    checkpoints.save(tmp_path / "half.pt", {"state": first_half.state_dict()})
    advance(method, first_half, 1)  # what the process did before it died is forgotten

    _, second_half = begin(variant, seed=9)
    if first_half.frozen:  # made anew by the stages before, not part of the state
        second_half.frozen = first_half.frozen
    second_half.load_state_dict(checkpoints.load(tmp_path / "half.pt")["state"])
    assert second_half.step == 2
    advance(method, second_half, 2)
    assert_same_bits(second_half, uninterrupted)


def test_both_optimizers_of_adaptsegnet_are_taken_up_again(tmp_path: Path) -> None:
    method, state = begin("adaptsegnet")
    advance(method, state, 2)
    checkpoints.save(tmp_path / "state.pt", {"state": state.state_dict()})
    _, other = begin("adaptsegnet", seed=9)
    other.load_state_dict(checkpoints.load(tmp_path / "state.pt")["state"])
    for name in ("network", "discriminator"):
        mine, theirs = other.optimizers[name], state.optimizers[name]
        parameters = [p for group in mine.param_groups for p in group["params"]]
        assert len(mine.state) == len(parameters) == len(theirs.state) > 0
        assert {int(mine.state[p]["step"]) for p in parameters} == {2}


PAIRS = [
    ("source-only", "adaptsegnet"),
    ("adaptsegnet", "self-training"),
    ("self-training", "metacorrection"),
    ("metacorrection", "source-only"),
    ("metacorrection", "metacorrection, learned"),
    ("metacorrection, learned", "dmlc"),
]


@pytest.mark.parametrize(("written", "read"), PAIRS)
def test_a_checkpoint_of_another_method_is_our_error(written: str, read: str, tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "state.pt", {"state": begin(written)[1].state_dict()})
    with pytest.raises(CheckpointError, match="resume with the method and settings that wrote it"):
        begin(read)[1].load_state_dict(checkpoints.load(tmp_path / "state.pt")["state"])


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown method 'cbts'; choose one of: adaptsegnet, advent, cag, .*"):
        build_method("cbts")


@pytest.mark.parametrize("name", METHODS)
def test_settings_replace_the_published_ones_and_nothing_can_be_changed_later(name: str) -> None:
    method = build_method(name, level_weights=(0.5, 2.0))
    assert method.level_weights == (0.5, 2.0)  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        method.level_weights = (1.0, 1.0)  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match="no_such_setting"):
        build_method(name, no_such_setting=1)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_whom_to_cite(name: str) -> None:
    assert CITATIONS[name]
    assert set(CITATIONS[name]) <= set(BIBTEX)


def test_dmlc_is_metacorrection_on_the_deepest_level_alone() -> None:
    dmlc, full = build_method("dmlc"), build_method("metacorrection")
    assert dmlc == build_method("metacorrection", level_weights=(0.0, 1.0))
    assert full.level_weights == (0.1, 1.0)  # type: ignore[attr-defined]
