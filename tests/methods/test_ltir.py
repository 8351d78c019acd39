"""LTIR's step beside the same step written out, its two streams, and what a few steps do."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.data.batch import Batch
from prostate_uda.errors import SettingsError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.maths.selection import Selection
from prostate_uda.maths.texture import styled_as
from prostate_uda.methods import LTIR, State, build_method
from prostate_uda.networks import DeepLab
from tests.builders import random_batch, tiny_deeplab
from tests.methods.test_baselines import (
    SGD,
    assert_batch_norm_follows_the_target,
    batch,
    expected_after_one_step,
    plain_loss,
    tiny,
)
from tests.methods.toy_domains import ADAM, mistaken, small, taught, toy_source, toy_target


@pytest.mark.parametrize("at", [0, 1])
def test_the_weights_move_by_the_expected_amounts(at: int) -> None:
    method = LTIR(adversarial_weight=0.5, target_weight=0.25, discriminator_channels=4, discriminator_stages=2)
    net, source, target = tiny(), batch(1), batch(2)
    state = method.prepare(net, SGD, seed=3)
    state.step = at
    discriminator = state.modules["discriminator"].double()
    shown = Batch(method.retextured(state, source.image, target.image), source.label)
    assert not torch.allclose(shown.image, source.image, atol=0.1)

    def loss(copy: DeepLab) -> Tensor:
        fooling = functional.softplus(discriminator(copy(target.image).final.softmax(dim=1))).mean()  # BCE with 0
        return plain_loss(copy, shown) + 0.25 * plain_loss(copy, target) + 0.5 * fooling

    expected = expected_after_one_step(net, loss)
    judge = deepcopy(discriminator)
    with torch.no_grad():
        maps = [deepcopy(net)(image).final.softmax(dim=1) for image in (shown.image, target.image)]
    telling = (functional.softplus(judge(maps[0])).mean() + functional.softplus(-judge(maps[1])).mean()) / 2
    adam = torch.optim.Adam(judge.parameters(), lr=1e-4, betas=(0.9, 0.99))
    telling.backward()
    adam.step()
    named = method.step(state, source, target)
    torch.testing.assert_close({name: value.detach() for name, value in net.named_parameters()}, expected)
    torch.testing.assert_close(discriminator.state_dict(), judge.state_dict())
    assert float(named["discriminator"]) == pytest.approx(float(telling.detach()))
    assert state.step == at + 1


def test_batch_norm_follows_the_target() -> None:
    assert_batch_norm_follows_the_target(LTIR(adversarial_weight=0.0))


def test_streams_take_turns() -> None:
    source, target = random_batch(1).image, random_batch(2).image
    state = LTIR().prepare(tiny_deeplab(), SGD, seed=7)
    made = []
    for step in range(4):
        state.step = step
        made.append(LTIR().retextured(state, source, target))
        again = {name: LTIR(textures=name).retextured(state, source, target) for name in ("translated", "diverse")}
        assert torch.equal(made[-1], again["translated" if step % 2 == 0 else "diverse"])
    assert torch.equal(made[0], styled_as(source, target, 0.05))
    assert torch.equal(made[0], made[2])
    assert not torch.allclose(made[1], made[3])
    other = LTIR().prepare(tiny_deeplab(), SGD, seed=8)
    other.step = 1
    assert not torch.allclose(LTIR().retextured(other, source, target), made[1])


def test_an_image_s_texture_hangs_on_its_place_and_not_on_the_images_beside_it() -> None:
    image = random_batch(1).image
    state = LTIR(textures="diverse").prepare(tiny_deeplab(), SGD, seed=7)
    both, alone = (LTIR(textures="diverse").retextured(state, shown, image) for shown in (image, image[:1]))
    assert torch.equal(both[:1], alone)


def test_the_paper_s_second_stage_has_no_discriminator_and_its_first_needs_no_labels() -> None:
    second, first = LTIR(adversarial_weight=0.0, textures="translated"), LTIR(target_weight=0.0)
    state = second.prepare(tiny_deeplab(), SGD)
    assert set(state.modules) == set()
    assert set(state.optimizers) == {"network"}
    assert set(second.step(state, random_batch(1), random_batch(2))) == {"source", "target"}
    assert (first.needs, second.needs) == (frozenset(), {"pseudo_labels"})


def test_pseudo_labels_are_the_surer_half_of_each_class_and_all_above_the_confidence() -> None:
    assert LTIR().selection(1) == LTIR().selection(4) == Selection(threshold=0.9, portion=0.5)


def test_nineteen_classes_and_three_channels_in_half_precision() -> None:
    method, net = LTIR(discriminator_channels=4), tiny_deeplab(in_channels=3, num_classes=19)
    rng = torch.Generator().manual_seed(0)
    street = Batch(torch.randn(2, 3, 32, 40, generator=rng), torch.randint(19, (2, 32, 40), generator=rng))
    state = method.prepare(net, SGD)
    with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
        for _ in range(2):
            named = method.step(state, street, street)
            assert all(bool(value.isfinite()) for value in named.values())
        state.step = 1
        assert method.retextured(state, street.image, street.image).dtype == torch.float32


def unlabelled(shown: Batch) -> Batch:
    return Batch(shown.image, torch.full_like(shown.label, IGNORE))


def after(method: LTIR, steps: int, *, labelled: bool) -> State:
    state = method.prepare(taught(), ADAM, seed=1)
    for step in range(steps):
        target = toy_target(step)
        method.step(state, toy_source(step), target if labelled else unlabelled(target))
    return state


def retextured_source(number: int) -> list[Batch]:
    """Source batches with textures that no training has drawn."""
    method = LTIR(textures="diverse")
    state, made = method.prepare(small(), ADAM, seed=99), []
    for state.step in range(number):
        shown = toy_source(500 + state.step)
        made.append(Batch(method.retextured(state, shown.image, shown.image), shown.label))
    return made


def test_some_steps_make_it_less_dependent_on_texture() -> None:
    as_it_is = LTIR(adversarial_weight=0.0, target_weight=0.0, textures="translated", translation_beta=0.0)
    diverse = LTIR(adversarial_weight=0.0, target_weight=0.0, textures="diverse")
    plain, taught_diversely = (after(method, 40, labelled=False) for method in (as_it_is, diverse))
    unseen = retextured_source(6)
    assert mistaken(taught_diversely, unseen) < 0.95 * mistaken(plain, unseen)


def test_a_few_steps_learn_the_pseudo_labels() -> None:
    method, unseen = LTIR(discriminator_channels=4, discriminator_stages=2), [toy_target(100 + k) for k in range(4)]
    with_labels, without = (after(method, 20, labelled=labelled) for labelled in (True, False))
    assert mistaken(with_labels, unseen) < mistaken(without, unseen)


def test_discriminator_and_network_pull_against_each_other() -> None:
    """With a great weight the network's target maps fool the discriminator more than with hardly any."""
    fooling = []
    for weight in (1e-9, 1.0):
        method = LTIR(
            adversarial_weight=weight, discriminator_rate=1e-3, discriminator_channels=4, discriminator_stages=2
        )
        state = method.prepare(taught(), ADAM, seed=1)
        named = [method.step(state, toy_source(step), unlabelled(toy_target(step))) for step in range(20)]
        fooling.append(sum(float(losses["fooling"]) for losses in named[-5:]))
    assert fooling[1] < fooling[0]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"confidence": 0.0}, "confidence"),
        ({"adversarial_weight": -1.0}, "adversarial_weight"),
        ({"target_weight": float("nan")}, "target_weight"),
        ({"textures": "painted"}, "textures"),
        ({"translation_beta": 0.5}, "beta"),
        ({"texture_sizes": (2,)}, "texture_sizes"),
        ({"discriminator_rate": 0.0}, "discriminator_rate"),
        ({"discriminator_stages": 0}, "discriminator_stages"),
    ],
)
def test_settings_out_of_range(given: dict[str, object], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        build_method("ltir", **given)
