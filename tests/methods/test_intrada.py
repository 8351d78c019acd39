"""IntraDA: the ranking by hand, its steps written out, batches without one of the splits, and a toy."""

import os
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import ignite.distributed as idist
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.data.batch import Batch
from prostate_uda.errors import SettingsError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.methods import IntraDA, Optimization, State
from prostate_uda.networks import DeepLab
from prostate_uda.networks.synced import synced
from prostate_uda.networks.teacher import Teacher
from prostate_uda.recipes.settings import AdaptSettings
from tests.builders import random_batch, tiny_deeplab, tiny_teacher
from tests.methods.test_advent import JUDGES, doubt, scanner
from tests.methods.test_baselines import SGD, batch, expected_after_one_step, tiny

EASY_HARD = torch.tensor([False, True, False])
"""Of three slices the second is easy."""


def intrada() -> IntraDA:
    return IntraDA(adversarial_weights=(0.3, 0.5), discriminator_channels=4, discriminator_stages=2)


def surveyed(easy: Tensor = EASY_HARD) -> Teacher:
    teacher = tiny_teacher()
    teacher.survey = {"easy": easy}
    return teacher


def prepared(net: DeepLab, method: IntraDA, easy: Tensor = EASY_HARD) -> State:
    state = method.prepare(net, SGD, seed=3, teacher=surveyed(easy))
    for name in JUDGES:
        state.modules[name].double()
    return state


def pair(*index: int) -> Batch:
    return replace(batch(2), index=torch.tensor(index))


def test_the_survey_ranks_the_slices_by_the_mean_entropy_of_the_teacher() -> None:
    teacher, batches = tiny_teacher(4), [random_batch(seed) for seed in (1, 2, 3)]
    places = torch.tensor([4, 0, 5, 1, 2, 3])  # the order in which they come is not that of their index
    target = [replace(seen, index=index) for seen, index in zip(batches, places.split(2), strict=True)]
    found = IntraDA(easy_share=0.5).survey(iter([]), iter(target), teacher)
    probs = teacher(torch.cat([seen.image for seen in batches]))
    doubts = -(probs * probs.log()).sum(dim=1).mean(dim=(1, 2))
    wanted = {int(places[rank]) for rank in doubts.argsort()[:3]}
    assert set(found) == {"easy"}
    assert found["easy"].shape == (6,)
    assert set(torch.nonzero(found["easy"]).flatten().tolist()) == wanted


def test_the_network_learns_easy_labels_and_passes_hard_slices_off_as_easy() -> None:
    net, target = tiny(), pair(2, 1)  # hard, easy
    state = prepared(net, intrada())
    shallow, deep = (state.modules[name] for name in JUDGES)

    def loss(copy: DeepLab) -> Tensor:
        logits = copy(target.image).logits
        first, second = (functional.cross_entropy(z[1:], target.label[1:], ignore_index=IGNORE) for z in logits)
        hard = [doubt(z)[:1] for z in logits]
        fooling = 0.3 * functional.softplus(shallow(hard[0])).mean() + 0.5 * functional.softplus(deep(hard[1])).mean()
        return 0.1 * first + second + fooling

    expected = expected_after_one_step(net, loss)
    intrada().step(state, Batch(torch.full((2, 1, 32, 32), torch.nan), batch(1).label), target)  # source: not read
    torch.testing.assert_close({name: value.detach() for name, value in net.named_parameters()}, expected)


def test_each_discriminator_tells_easy_from_hard() -> None:
    net, target = tiny(), pair(1, 0)
    state = prepared(net, intrada())
    for name in JUDGES:
        state.optimizers[name] = torch.optim.SGD(state.modules[name].parameters(), lr=1.0)
    judges = [deepcopy(state.modules[name]) for name in JUDGES]
    with torch.no_grad():
        maps = [doubt(logits) for logits in deepcopy(net)(target.image).logits]
    found = intrada().step(state, batch(1), target)
    told = []
    for name, judge, seen in zip(JUDGES, judges, maps, strict=True):
        easy, hard = judge(seen[:1]), judge(seen[1:])
        told.append((functional.softplus(easy).mean() + functional.softplus(-hard).mean()) / 2)
        slopes = torch.autograd.grad(told[-1], list(judge.parameters()))
        expected = [value.detach() - slope for value, slope in zip(judge.parameters(), slopes, strict=True)]
        torch.testing.assert_close([value.detach() for value in state.modules[name].parameters()], expected)
    torch.testing.assert_close(found["discriminator"], (told[0] + told[1]).detach() / 2)


def test_a_batch_without_hard_slices_is_segmentation_alone() -> None:
    net, target = tiny(), pair(1, 1)
    state = prepared(net, intrada())

    def loss(copy: DeepLab) -> Tensor:
        first, second = (functional.cross_entropy(z, target.label, ignore_index=IGNORE) for z in copy(target.image)[0])
        return 0.1 * first + second

    expected = expected_after_one_step(net, loss)
    found = intrada().step(state, batch(1), target)
    torch.testing.assert_close({name: value.detach() for name, value in net.named_parameters()}, expected)
    assert float(found["fooling"]) == 0
    assert 0 < float(found["discriminator"]) < 1  # it still learns what is easy


@pytest.mark.parametrize("index", [torch.tensor([0, 2]), None])  # of which nobody says which they are: hard
def test_a_batch_without_easy_slices_is_alignment_alone(index: Tensor | None) -> None:
    ends = []
    for label_seed in (7, 8):  # their labels do not matter
        net = tiny()
        found = intrada().step(
            prepared(net, intrada()), batch(1), Batch(batch(2).image, batch(label_seed).label, index=index)
        )
        assert float(found["source"]) == 0
        assert float(found["fooling"]) > 0
        ends.append(net.state_dict())
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=0)


def test_batch_norm_follows_the_target() -> None:
    net, target = tiny(), pair(0, 1)
    alone = deepcopy(net)
    alone(target.image)
    intrada().step(prepared(net, intrada()), batch(1), target)
    torch.testing.assert_close(dict(net.named_buffers()), dict(alone.named_buffers()), rtol=0, atol=0)


def test_the_split_is_no_part_of_a_checkpoint() -> None:
    """Of several processes each has slices of its own, and the first one writes for all."""
    one, other = prepared(tiny(), intrada()), prepared(tiny(), intrada(), torch.tensor([True, False]))
    other.load_state_dict(one.state_dict())
    assert other.modules["easy"].easy.tolist() == [True, False]
    assert set(one.optimizers) == {"network", *JUDGES}


def test_it_wants_a_survey() -> None:
    for teacher in (None, tiny_teacher()):
        with pytest.raises(SettingsError, match="intrada ranks all target slices first"):
            intrada().prepare(tiny(), SGD, teacher=teacher)
    with pytest.raises(SettingsError, match="there are none; give a target with images"):
        intrada().survey([], [], tiny_teacher())


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan")])
def test_impossible_settings_are_one_line(share: float) -> None:
    with pytest.raises(SettingsError, match=r"^easy_share .*; allowed is between 0 and 1$"):
        IntraDA(easy_share=share)


def test_it_starts_from_the_adversarially_warmed_up_network_unless_told_otherwise() -> None:
    assert AdaptSettings(method="intrada").warm_up == "adversarial"
    assert AdaptSettings(method="intrada", warm_up="none").warm_up == "none"
    assert AdaptSettings(method="advent").warm_up == "none"


def test_hard_slices_come_nearer_to_easy_ones_where_they_are_aligned() -> None:
    """A toy target of sharp slices (easy, labelled) and pale ones (hard); beside it the same without alignment."""

    def mixed(seed: int) -> Batch:
        sharp, pale = scanner(True, seed), scanner(False, 1000 + seed)
        return Batch(torch.cat([sharp.image, pale.image]), torch.cat([sharp.label, pale.label]), index=torch.arange(8))

    easy = torch.arange(8) < 4
    gaps = []
    for weights in ((0.0, 1e-12), (0.01, 0.05)):
        net = tiny_deeplab(1)
        method = IntraDA(
            adversarial_weights=weights, discriminator_channels=8, discriminator_stages=3, discriminator_rate=2e-3
        )
        state = method.prepare(net, Optimization(learning_rate=5e-3, power=0.0), teacher=surveyed(easy))
        first, *_, last = [float(method.step(state, random_batch(0), mixed(step))["source"]) for step in range(60)]
        assert last < 0.5 * first
        with torch.no_grad():
            doubts = doubt(net(torch.cat([mixed(seed).image for seed in (900, 901)])).final.double()).sum(dim=1)
        by_slice = doubts.mean(dim=(1, 2)).view(2, 2, 4).mean(dim=(0, 2))
        gaps.append(float(by_slice[1] - by_slice[0]))
    assert gaps[0] > 0.1
    assert abs(gaps[1]) < 0.5 * gaps[0]


def in_processes(rank: int, count: int) -> dict[str, Tensor]:
    """Four slices shared out among the processes: which of its own each finds easy, and what two steps come to."""
    rng = torch.Generator().manual_seed(0)
    image, label = torch.randn(4, 1, 32, 32, generator=rng), torch.randint(3, (4, 32, 32), generator=rng)
    image[0] *= 5  # so that the two easiest are the first two, both of one process
    mine = Batch(image.chunk(count)[rank], label.chunk(count)[rank], index=torch.arange(4 // count))
    method, teacher = replace(intrada(), easy_share=0.5), tiny_teacher(4)
    teacher.survey = method.survey([], [mine], teacher)
    net = synced(tiny_deeplab())
    state = method.prepare(net, Optimization(algorithm="sgd", learning_rate=1e-2), teacher=teacher)
    named = [method.step(state, mine, mine) for _ in range(2)][-1]
    judges = {f"{name}.{key}": each for name in JUDGES for key, each in state.modules[name].state_dict().items()}
    return {"easy": teacher.survey["easy"], **named, **net.state_dict(), **judges}


@pytest.mark.slow
def test_two_processes_rank_among_the_slices_of_both_and_learn_what_one_would(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.methods.test_intrada", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "WORLD_SIZE": "2"}
    running = [
        subprocess.Popen(command, cwd=Path(__file__).parents[2], env={**environment, "RANK": rank, "LOCAL_RANK": rank})
        for rank in "01"
    ]
    try:
        alone = in_processes(0, 1)
        assert [process.wait(300) for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
            process.wait()
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in "01")
    easy = [found.pop("easy").tolist() for found in (alone, first, second)]
    assert easy[0] == easy[1] + easy[2]
    assert easy[1:] == [[True, True], [False, False]]  # each by itself would have found one of its two
    torch.testing.assert_close(first, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


if __name__ == "__main__":
    idist.initialize("gloo", init_method=f"file://{Path(sys.argv[1]) / 'store'}")
    torch.save(in_processes(idist.get_rank(), idist.get_world_size()), Path(sys.argv[1]) / f"{idist.get_rank()}.pt")
    idist.finalize()
