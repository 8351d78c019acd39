"""PyCDA's step beside the same step written out, and what a few of them do."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.data.batch import Batch
from prostate_uda.errors import SettingsError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.maths.pyramid import distribution_gap
from prostate_uda.methods import PyCDA, State, build_method
from prostate_uda.networks import DeepLab
from prostate_uda.networks.teacher import Teacher
from tests.builders import random_batch, tiny_deeplab, tiny_teacher
from tests.methods.test_baselines import (
    SGD,
    assert_batch_norm_follows_the_target,
    batch,
    expected_after_one_step,
    plain_loss,
    tiny,
)
from tests.methods.toy_domains import run, seen, taught, toy_source, toy_target

SURE = 0.4


def surveyed(method: PyCDA, *sources: Batch) -> Teacher:
    teacher = tiny_teacher()
    teacher.survey = method.survey(sources, [], teacher)
    return teacher


def own(z: Tensor) -> Tensor:
    """Losses of the sure places, in a row."""
    sureness, label = z.softmax(dim=1).max(dim=1)
    taken = sureness > SURE
    assert 0 < int(taken.sum()) < taken.numel()
    return functional.cross_entropy(z, label, reduction="none")[taken]


def test_the_weights_move_by_the_expected_amounts() -> None:
    method = PyCDA(target_weight=0.5, distribution_weight=2.0, confidence=SURE)
    net, source, target = tiny(), batch(1), batch(2)
    with torch.no_grad():
        for branch in net.heads.levels[1].branches:
            branch.weight *= 10  # so that some places are sure
    known = source.label[source.label != IGNORE]
    usual = torch.stack([(known == c).double().mean() for c in range(3)]).float().double()

    def loss(copy: DeepLab) -> Tensor:
        z = copy(target.image).final
        fours, eights = (z.view(2, 3, 32 // n, n, 32 // n, n).mean(dim=(3, 5)) for n in (4, 8))
        size = z.softmax(dim=1).mean(dim=(2, 3))
        gap = -(usual * (size + 1e-6).log() + (1 - usual) * (1 - size + 1e-6).log()).mean()
        questions = own(z).mean() + torch.cat([own(fours), own(eights)]).mean()
        return plain_loss(copy, source) + 0.5 * questions + 2 * gap

    expected = expected_after_one_step(net, loss)
    method.step(method.prepare(net, SGD, teacher=surveyed(method, source)), source, target)
    torch.testing.assert_close({name: value.detach() for name, value in net.named_parameters()}, expected)


def test_batch_norm_follows_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    method = PyCDA()
    prepare, teacher = PyCDA.prepare, surveyed(PyCDA(), random_batch(0))
    monkeypatch.setattr(PyCDA, "prepare", lambda self, *given: prepare(self, *given, teacher=teacher))
    assert_batch_norm_follows_the_target(method)


def test_the_frequencies_are_those_of_all_labelled_pixels() -> None:
    label = torch.tensor([[[0, 0, 1, IGNORE]]])
    one, other = Batch(torch.zeros(1, 1, 1, 4), label), Batch(torch.zeros(1, 1, 1, 4), torch.full((1, 1, 4), 2))
    frequencies = surveyed(PyCDA(), one, other).survey["frequencies"]
    torch.testing.assert_close(frequencies, torch.tensor([2, 1, 4]) / 7)
    nothing = Batch(torch.zeros(1, 1, 1, 4), torch.full((1, 1, 4), IGNORE))
    assert surveyed(PyCDA(), nothing).survey["frequencies"].tolist() == [0, 0, 0]


def test_the_target_s_label_is_not_read() -> None:
    ends = []
    for label in (torch.zeros(2, 32, 32, dtype=torch.int64), torch.full((2, 32, 32), IGNORE)):
        state = PyCDA().prepare(tiny_deeplab(), SGD, teacher=surveyed(PyCDA(), random_batch(0)))
        PyCDA().step(state, random_batch(1), Batch(random_batch(2).image, label))
        ends.append(state.network.state_dict())
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=0)


def test_nothing_sure_is_survived() -> None:
    method = PyCDA(confidence=0.999)
    state = method.prepare(tiny_deeplab(), SGD, teacher=surveyed(method, random_batch(0)))
    named = method.step(state, random_batch(1), random_batch(2))
    assert float(named["pixels"]) == float(named["squares"]) == 0
    assert all(bool(value.isfinite().all()) for value in state.network.state_dict().values())


def test_nineteen_classes_and_three_channels_in_half_precision() -> None:
    method, net = PyCDA(), tiny_deeplab(in_channels=3, num_classes=19)
    rng = torch.Generator().manual_seed(0)
    street = Batch(torch.randn(2, 3, 32, 40, generator=rng), torch.randint(19, (2, 32, 40), generator=rng))
    teacher = Teacher(net, torch.ones(19))
    teacher.survey = method.survey([street], [street], teacher)
    state = method.prepare(net, SGD, teacher=teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
        named = method.step(state, street, street)
    assert teacher.survey["frequencies"].shape == (19,)
    assert all(bool(value.isfinite()) for value in named.values())


def test_a_few_steps_bring_the_classes_to_their_size_and_make_the_network_sure() -> None:
    nothing = PyCDA(target_weight=0.0, distribution_weight=0.0)
    sizes, questions = PyCDA(target_weight=0.0, distribution_weight=5.0), PyCDA(distribution_weight=0.0)
    teacher = surveyed(nothing, *(toy_source(step) for step in range(20)))
    usual, unseen = teacher.survey["frequencies"], [toy_target(100 + k) for k in range(4)]
    plain, sized, asked = (run(method, 20, taught(), teacher=teacher) for method in (nothing, sizes, questions))

    def gap(state: State) -> float:
        return sum(float(distribution_gap(seen(state, one), usual)) for one in unseen)

    def sureness(state: State) -> float:
        return sum(float(seen(state, one).softmax(dim=1).amax(dim=1).mean()) for one in unseen)

    assert gap(sized) < gap(plain)
    assert sureness(asked) > sureness(plain)


def test_without_a_survey_there_is_nothing_to_compare_with() -> None:
    for teacher in (None, tiny_teacher()):
        with pytest.raises(SettingsError, match="pycda compares with the source's class sizes"):
            PyCDA().prepare(tiny_deeplab(), SGD, teacher=teacher)


@pytest.mark.parametrize(
    "wrong",
    [
        {"confidence": 1.0},
        {"confidence": -0.1},
        {"square_sides": ()},
        {"square_sides": (1,)},
        {"square_sides": (4.5,)},
        {"target_weight": -1.0},
        {"distribution_weight": float("nan")},
    ],
)
def test_settings_out_of_range(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        build_method("pycda", **wrong)
