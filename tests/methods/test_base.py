"""What methods share: optimizers, the learning-rate schedule, the state and its errors, forward passes."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from prostate_uda.data.batch import Batch
from prostate_uda.errors import CheckpointError, SettingsError, ShapeError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.methods import (
    AdaptSegNet,
    ClassBalanced,
    EntropyMinimization,
    LabelRegularized,
    MaxSquare,
    MetaCorrection,
    Method,
    Optimization,
    SelfTraining,
    SourceOnly,
    State,
    Uncertainty,
)
from prostate_uda.methods.base import forward, forward_unmoved, segmentation_loss, unmoved
from prostate_uda.networks import Levels
from tests.builders import tiny_deeplab as tiny


def images(seed: int = 1) -> Tensor:
    return torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("algorithm", ["adam", "sgd"])
@pytest.mark.parametrize("frozen_bn", [False, True])
def test_the_optimizer_receives_every_trainable_parameter_once(algorithm: str, frozen_bn: bool) -> None:
    net = tiny(frozen_bn=frozen_bn)
    settings = Optimization(algorithm=algorithm, learning_rate=0.5, head_factor=10.0, weight_decay=0.25)  # type: ignore[arg-type]
    optimizer = settings.for_network(net)
    backbone, heads = optimizer.param_groups
    trainable = [p for p in net.parameters() if p.requires_grad]
    assert sorted(map(id, backbone["params"] + heads["params"])) == sorted(map(id, trainable))
    assert {id(p) for p in heads["params"]} == {id(p) for p in net.head_parameters()}
    assert (backbone["lr"], heads["lr"]) == (0.5, 5.0)
    assert (backbone["weight_decay"], heads["weight_decay"]) == (0.25, 0.25)
    assert isinstance(optimizer, torch.optim.Adam if algorithm == "adam" else torch.optim.SGD)


def test_a_foreign_network_has_one_group_of_its_trainable_parameters() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 3, 1).requires_grad_(False))
    (group,) = Optimization().for_network(net).param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in net[0].parameters()]


@pytest.mark.parametrize(
    "wrong", [{"learning_rate": 0.0}, {"head_factor": -1.0}, {"total_steps": 0}, {"weight_decay": -0.1}]
)
def test_impossible_settings_are_our_error(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="allowed are positive rate, factor and steps, decay ≥ 0"):
        Optimization(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"algorithm": "adamw"}, {"power": -1.0}, {"power": float("nan")}])
def test_an_unknown_algorithm_or_power_is_our_error(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="allowed"):
        Optimization(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_a_rate_that_is_no_rate_is_our_error(value: float) -> None:
    with pytest.raises(SettingsError, match="positive rate"):
        Optimization(learning_rate=value)


@pytest.mark.parametrize("weights", [(float("nan"), 1.0), (0.1, float("nan")), (-0.1, 1.0), (0.0, 0.0)])
def test_level_weights_that_are_none_are_our_error(weights: tuple[float, ...]) -> None:
    with pytest.raises(SettingsError, match=r"^level_weights .*; allowed are weights ≥ 0, at least one of them > 0$"):
        SelfTraining(level_weights=weights)


@pytest.mark.parametrize("value", [float("nan"), -0.1])
@pytest.mark.parametrize(
    ("method", "name"),
    [
        *(
            (one, "target_weight")
            for one in (SelfTraining, LabelRegularized, MaxSquare, EntropyMinimization, Uncertainty)
        ),
        *((ClassBalanced, name) for name in ("target_weight", "kld_weight", "entropy_weight")),
        (MaxSquare, "guidance_weight"),
    ],
)
def test_a_weight_that_is_none_is_our_error(method: type[Method], name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} {value}; allowed is 0 or more$"):
        method(**{name: value})


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 1.0, 1.0)])
def test_every_method_refuses_weights_that_leave_a_head_out(weights: tuple[float, ...]) -> None:
    batch = Batch(image=images(), label=torch.zeros(2, 32, 32, dtype=torch.long))
    for method in (SourceOnly, SelfTraining, MetaCorrection, AdaptSegNet):
        chosen = method(level_weights=weights)
        state = chosen.prepare(tiny(), Optimization())
        with pytest.raises(ShapeError, match="give one weight per head"):
            chosen.step(state, batch, batch)


def test_rates_follow_the_poly_decay_of_every_optimizer() -> None:
    # power ½ over 100 steps: at step 75 the factor is (1/4)^½ = ½
    settings = Optimization(learning_rate=0.4, head_factor=10.0, total_steps=100, power=0.5)
    method = MetaCorrection(ntm_mode="learned", learned_rate=0.02)
    state = method.prepare(tiny(), settings)
    for step, factor in ((0, 1.0), (75, 0.5), (0, 1.0), (100, 0.0)):
        state.step = step
        state.schedule()
        rates = {name: [g["lr"] for g in o.param_groups] for name, o in state.optimizers.items()}
        assert rates == {"network": [0.4 * factor, 4.0 * factor], "ntm": [0.02 * factor]}


def test_without_a_schedule_the_rates_are_someone_elses() -> None:
    state = SourceOnly().prepare(tiny(), Optimization(learning_rate=0.4))
    state.optimization, state.step = None, 500
    state.optimizers["network"].param_groups[0]["lr"] = 0.123
    state.schedule()
    assert state.optimizers["network"].param_groups[0]["lr"] == 0.123


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frozen_bn", [True, False])
def test_forward_unmoved_computes_the_same_and_moves_nothing(training: bool, frozen_bn: bool) -> None:
    net = tiny(frozen_bn=frozen_bn).train(training)
    before = deepcopy(net.state_dict())
    still = forward_unmoved(net, images())
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)
    ordinary = forward(net, images())
    torch.testing.assert_close(still.final, ordinary.final, rtol=0, atol=0)
    moved = not torch.equal(net.state_dict()["backbone.bn1.running_mean"], before["backbone.bn1.running_mean"])
    assert moved == (training and not frozen_bn)


def test_unmoved_takes_other_parameters() -> None:
    net, other = tiny(0), tiny(1)
    with torch.no_grad():
        levels = unmoved(net, images(), parameters=dict(other.named_parameters()))
        torch.testing.assert_close(levels.final, other(images()).final, rtol=0, atol=0)


def test_a_level_of_weight_zero_is_not_computed_with() -> None:
    broken = torch.full((1, 2, 1, 1), torch.nan)
    levels = Levels(logits=(broken, torch.zeros(1, 2, 1, 1)), features=())
    loss = segmentation_loss(levels, torch.tensor([[[1]]]), (0.0, 2.0))
    assert loss.item() == pytest.approx(2 * 0.6931472)


def test_segmentation_loss_sums_the_weighted_levels() -> None:
    # level 0: p = (1/2, 1/2), level 1: p = (1/4, 3/4), label 0: 0.1 log 2 + log 4
    deep = torch.tensor([1.0, 3.0]).log().view(1, 2, 1, 1)
    levels = Levels(logits=(torch.zeros(1, 2, 1, 1), deep), features=())
    assert segmentation_loss(levels, torch.tensor([[[0]]]), (0.1, 1.0)).item() == pytest.approx(0.0693147 + 1.3862944)
    assert segmentation_loss(levels, torch.tensor([[[IGNORE]]]), (0.1, 1.0)).item() == 0.0


def test_a_state_of_another_method_is_our_error() -> None:
    plain = SelfTraining().prepare(tiny(), Optimization())
    corrected = MetaCorrection().prepare(tiny(), Optimization())
    for mine, other in ((plain, corrected), (corrected, plain)):
        with pytest.raises(CheckpointError, match="resume with the method and settings that wrote it"):
            mine.load_state_dict(other.state_dict())


def test_a_state_of_another_network_is_our_error() -> None:
    method = SourceOnly()
    state = method.prepare(tiny(), Optimization())
    with pytest.raises(CheckpointError, match="resume with the network that wrote it"):
        state.load_state_dict(method.prepare(tiny(num_classes=4), Optimization()).state_dict())


@pytest.mark.parametrize("levels", [1, 3])
def test_another_number_of_transition_matrices_is_our_error(levels: int) -> None:
    def state(count_of_levels: int) -> State:
        return MetaCorrection(level_weights=(1.0,) * count_of_levels).prepare(tiny(), Optimization())

    with pytest.raises(CheckpointError, match="tensors of shapes"):
        state(2).load_state_dict(state(levels).state_dict())


def test_a_refused_state_changes_nothing() -> None:
    state = SourceOnly().prepare(tiny(0), Optimization())
    before = deepcopy(state.state_dict())
    with pytest.raises(CheckpointError):
        state.load_state_dict(MetaCorrection().prepare(tiny(1), Optimization()).state_dict())
    torch.testing.assert_close(state.state_dict(), before, rtol=0, atol=0)


def test_a_state_dict_is_tensors_numbers_and_strings() -> None:
    def leaves(value: object) -> list[object]:
        inner = list(value.values()) if isinstance(value, dict) else value
        return [leaf for item in inner for leaf in leaves(item)] if isinstance(inner, list | tuple) else [value]

    state = MetaCorrection(ntm_mode="learned").prepare(tiny(), Optimization())
    found = leaves(state.state_dict())
    assert any(isinstance(leaf, Tensor) for leaf in found)
    assert all(isinstance(leaf, Tensor | int | float | str | bool | None) for leaf in found)
