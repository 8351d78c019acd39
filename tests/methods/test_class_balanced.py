"""Self-training with a selection: the steps beside the same steps written out, and the rules that methods declare."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.data.batch import Batch
from prostate_uda.errors import SettingsError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.maths.selection import BalancedSelection, RegularizedSelection, Selection
from prostate_uda.methods import METHODS, LabelRegularized, Optimization, build_method
from prostate_uda.networks import DeepLab
from prostate_uda.networks.teacher import Teacher
from tests.builders import tiny_deeplab, tiny_teacher
from tests.methods.test_baselines import batch

RATE = 0.05
SGD = Optimization(algorithm="sgd", learning_rate=RATE, power=0.0)
A = 0.25


def crossed(z: Tensor, label: Tensor) -> Tensor:
    return functional.cross_entropy(z, label, ignore_index=IGNORE)


def known(label: Tensor) -> Tensor:
    return label != IGNORE


def divergence(z: Tensor, label: Tensor) -> Tensor:
    return -z.log_softmax(dim=1).mean(dim=1)[known(label)].mean()


def negative_entropy(z: Tensor, label: Tensor) -> Tensor:
    return -torch.distributions.Categorical(logits=z.movedim(1, -1)).entropy()[known(label)].mean()


def softened(z: Tensor, target: Batch, teacher: Teacher) -> Tensor:
    """y ∝ (p / k)^(1/a), by powers instead of logarithms."""
    powers = (teacher(target.image) / teacher.thresholds[:, None, None]) ** (1 / A)
    soft = powers / powers.sum(dim=1, keepdim=True)
    return functional.cross_entropy(z, soft, reduction="none")[known(target.label)].mean()


def on_target(name: str, z: Tensor, target: Batch, teacher: Teacher) -> Tensor:
    if name == "lrent":
        return softened(z, target, teacher)
    plain = crossed(z, target.label)
    extra = {"mrkld": divergence, "mrent": negative_entropy}.get(name)
    return plain if extra is None else plain + 0.1 * extra(z, target.label)


def expected_after_one_step(name: str, net: DeepLab, source: Batch, target: Batch, teacher: Teacher) -> list[Tensor]:
    copy = deepcopy(net)
    heads = zip((0.1, 1.0), copy(source.image).logits, copy(target.image).logits, strict=True)
    parts = [w * (crossed(s, source.label) + on_target(name, t, target, teacher)) for w, s, t in heads]
    parameters = list(copy.parameters())
    slopes = torch.autograd.grad(parts[0] + parts[1], parameters)
    return [value.detach() - RATE * slope for value, slope in zip(parameters, slopes, strict=True)]


@pytest.mark.parametrize("name", ["threshold", "cbst", "mrkld", "mrent", "lrent"])
def test_the_weights_move_by_the_expected_amounts(name: str) -> None:
    net, teacher, source, target = (
        tiny_deeplab().double(),
        tiny_teacher(7).double(),
        batch(1, ignored=0.5),
        batch(2, ignored=0.5),
    )
    expected = expected_after_one_step(name, net, source, target, teacher)
    method = build_method(name)
    method.step(method.prepare(net, SGD, teacher=teacher), source, target)
    torch.testing.assert_close([value.detach() for value in net.parameters()], expected)


def test_the_five_are_five() -> None:
    ends = []
    for name in ("cbst", "mrkld", "mrent", "lrent"):
        net, method = tiny_deeplab(), build_method(name)
        state = method.prepare(net, SGD, teacher=tiny_teacher(7))
        method.step(state, *(Batch(b.image.float(), b.label) for b in (batch(1, ignored=0.5), batch(2, ignored=0.5))))
        ends.append(torch.cat([value.detach().flatten() for value in net.parameters()]))
    assert all(not torch.equal(one, other) for place, one in enumerate(ends) for other in ends[:place])


def test_the_portion_grows_by_rounds_up_to_its_largest() -> None:
    method = build_method("cbst")
    portions = [method.selection(number).portion for number in range(1, 10)]
    assert portions == pytest.approx([0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.5, 0.5])
    assert type(method.selection(1)) is BalancedSelection
    soft = build_method("lrent", portion=0.1, portion_step=0.2, portion_max=0.4, smoothness=0.5)
    assert soft.selection(2) == RegularizedSelection(portion=pytest.approx(0.3), smoothness=0.5)
    assert soft.selection(9).portion == 0.4


def test_threshold_and_its_classwise_form() -> None:
    assert build_method("threshold").selection(3) == Selection(threshold=0.9)
    assert build_method("threshold", per_class=True).selection(1) == Selection(threshold=0.9, portion=0.5)
    assert build_method("self-training", confidence=0.9) == build_method("threshold")


def test_all_others_keep_every_pixel() -> None:
    choosing = {name for name in METHODS if build_method(name).selection(1) != Selection()}
    usual = {"threshold", "cbst", "mrkld", "mrent", "lrent", "metacorrection-balanced", "recommended"}
    assert choosing == usual | {"mlsl", "ltir"}


def test_the_teacher_is_a_frozen_copy() -> None:
    net = tiny_deeplab(3)
    teacher = Teacher(net, torch.tensor([0.5, 0.6, 0.7]))
    image = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    with torch.no_grad():
        expected = deepcopy(net).eval()(image).final.softmax(dim=1)
    found = teacher.train()(image.requires_grad_(True))
    assert torch.equal(found, expected)
    assert not found.requires_grad
    net(image)  # moves the caller's statistics, not the teacher's
    torch.testing.assert_close(teacher.state_dict(), before, rtol=0, atol=0)
    assert all(value.requires_grad for value in net.parameters())
    assert net.training


def test_lrent_without_a_teacher_is_refused() -> None:
    with pytest.raises(SettingsError, match="lrent has soft labels from the round's teacher"):
        LabelRegularized().prepare(tiny_deeplab(), SGD)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("cbst", {"portion": 0.0}),
        ("cbst", {"portion": 0.6}),
        ("cbst", {"portion_max": 1.1}),
        ("cbst", {"portion_step": -0.1}),
        ("cbst", {"kld_weight": -1.0}),
        ("mrent", {"entropy_weight": -0.1}),
        ("lrent", {"smoothness": 0.0}),
        ("lrent", {"target_weight": -1.0}),
        ("threshold", {"confidence": 1.0}),
        ("self-training", {"per_class": True}),
    ],
)
def test_settings_out_of_range(name: str, wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        build_method(name, **wrong)
