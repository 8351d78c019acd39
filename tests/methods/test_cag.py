"""Category anchors: survey and step beside the same written out, and what some steps do to the features."""

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.data.batch import Batch
from prostate_uda.errors import DataError, SettingsError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.methods import CategoryAnchors, Optimization, State
from prostate_uda.networks import DeepLab
from prostate_uda.networks.teacher import Teacher
from tests.builders import random_batch, tiny_deeplab
from tests.methods.test_baselines import SGD, batch, expected_after_one_step, plain_loss, tiny


def frozen(seed: int = 6, **changes: object) -> Teacher:
    return Teacher(tiny_deeplab(seed, **changes).double(), torch.ones(3))


def begin(method: CategoryAnchors, net: DeepLab, teacher: Teacher, optimization: Optimization = SGD) -> State:
    teacher.survey = method.survey([batch(11), batch(12)], [], teacher)
    return method.prepare(net, optimization, teacher=teacher)


def pooled(label: Tensor) -> Tensor:
    """To the eighth, as the network does: the upper left pixel of each block."""
    return label[:, ::8, ::8]


def test_the_anchors_are_the_teachers_means_over_all_source_pixels() -> None:
    teacher, batches = frozen(), [batch(11), batch(12), batch(13)]
    found = CategoryAnchors().survey(iter(batches), [], teacher)
    features = torch.cat([teacher.network.network(seen.image).features[-1] for seen in batches])
    label = torch.cat([pooled(seen.label) for seen in batches])
    for number in range(3):
        mine = features.movedim(1, -1)[label == number]
        torch.testing.assert_close(found["anchors"][number], mine.mean(dim=0).float())
        assert found["pixels"][number] == len(mine)


def test_a_class_that_no_source_slice_has_has_no_anchor_and_does_no_harm() -> None:
    teacher, net = frozen(), tiny()
    seen = batch(11)
    teacher.survey = CategoryAnchors().survey([Batch(seen.image, torch.zeros_like(seen.label))], [], teacher)
    assert teacher.survey["pixels"].tolist() == [32, 0, 0]
    state = CategoryAnchors(margin=0.0).prepare(net, SGD, teacher=teacher)
    _, active = CategoryAnchors(margin=0.0).labels(state, seen.image)
    assert bool((active == IGNORE).all())
    named = CategoryAnchors().step(state, batch(1), batch(2))
    assert all(bool(value.isfinite()) for value in named.values())


def expected_loss(method: CategoryAnchors, net: DeepLab, state: State, source: Batch, target: Batch) -> Tensor:
    teacher, anchors = state.frozen["teacher"].network.network, state.tensors["anchors"].double()
    seen = teacher(target.image)
    probs, label = seen.final.softmax(dim=1).max(dim=1)
    sure = label.masked_fill(probs <= method.confidence, IGNORE)
    far = (seen.features[-1].unsqueeze(1) - anchors[None, :, :, None, None]).square().sum(dim=2).sqrt()
    ranked, order = far.sort(dim=1)
    active = order[:, 0].masked_fill(ranked[:, 1] - ranked[:, 0] <= method.margin, IGNORE)
    large = active.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)
    assert all(0 < int((part != IGNORE).sum()) < part.numel() for part in (sure, active))

    on_target = net(target.image)
    loss = plain_loss(net, source) + method.target_weight * 0.5 * sum(
        weight * functional.cross_entropy(logits, mark, ignore_index=IGNORE)
        for weight, logits in zip((0.1, 1.0), on_target.logits, strict=True)
        for mark in (sure, large)
    )
    for levels, marks in ((net(source.image), pooled(source.label)), (on_target, active)):
        terms = [
            functional.smooth_l1_loss(image[:, mark == number].mean(dim=1), anchors[number])
            for image, mark in zip(levels.features[-1], marks, strict=True)
            for number in range(3)
            if bool((mark == number).any())
        ]
        loss = loss + method.distance_weight * torch.stack(terms).mean()
    return loss


def test_the_weights_move_by_the_expected_amounts() -> None:
    method = CategoryAnchors(target_weight=0.25, margin=0.1, confidence=0.5, distance_weight=3.0)
    net, source, target, teacher = tiny(), batch(1), batch(2), frozen()
    with torch.no_grad():  # a teacher that is sure of some pixels and near some anchors
        for head in teacher.network.network.heads.parameters():
            head.mul_(20)
    state = begin(method, net, teacher)
    state.tensors["anchors"].mul_(torch.tensor([1.0, 1.3, 0.7])[:, None])
    before = {name: value.clone() for name, value in state.tensors.items()}
    expected = expected_after_one_step(net, lambda copied: expected_loss(method, copied, state, source, target))
    method.step(state, source, target)
    torch.testing.assert_close({name: value.detach() for name, value in net.named_parameters()}, expected)
    torch.testing.assert_close(dict(state.tensors), before, rtol=0, atol=0)


def test_batch_norm_follows_the_target() -> None:
    net, target = tiny(), batch(2)
    alone = copy.deepcopy(net)
    alone(target.image)
    method = CategoryAnchors()
    method.step(begin(method, net, frozen()), batch(1), target)
    torch.testing.assert_close(dict(net.named_buffers()), dict(alone.named_buffers()), rtol=0, atol=0)


def stripes(seed: int, shift: float) -> Batch:
    """Three grey levels in three bands that a network can learn, under a shift of contrast."""
    rng = torch.Generator().manual_seed(seed)
    bands = torch.arange(3).repeat_interleave(16).expand(48, 48)
    label = torch.stack([bands, bands.t()])
    image = (label.float() - 1).unsqueeze(1) * (1 - shift) + shift + 0.3 * torch.randn(2, 1, 48, 48, generator=rng)
    return Batch(image, label)


def gap(state: State, seen: Batch) -> float:
    """Mean distance of the target's true class means from their anchors."""
    state.network.train()
    with torch.no_grad():
        features = copy.deepcopy(state.network)(seen.image).features[-1].movedim(1, -1)
    label = seen.label[:, ::8, ::8]
    anchors = state.tensors["anchors"]
    return sum(float((features[label == c].mean(dim=0) - anchors[c]).norm()) for c in range(3)) / 3


def source_trained() -> DeepLab:
    net = tiny_deeplab(1)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for step in range(40):
        optimizer.zero_grad()
        seen = stripes(step, 0.0)
        functional.cross_entropy(net(seen.image).final, seen.label).backward()
        optimizer.step()
    return net


def test_some_steps_draw_the_features_to_the_anchors() -> None:
    net, ends = source_trained(), []
    for weight in (0.0, 7.0):
        method = CategoryAnchors(distance_weight=weight, margin=0.25)
        teacher = Teacher(net, torch.ones(3))
        teacher.survey = method.survey([stripes(step, 0.0) for step in range(100, 110)], [], teacher)
        state = method.prepare(copy.deepcopy(net), Optimization(learning_rate=2e-3, power=0.0), teacher=teacher)
        _, active = method.labels(state, stripes(500, 0.4).image)
        right = (active == stripes(500, 0.4).label[:, ::8, ::8])[active != IGNORE]
        assert float(right.float().mean()) > 0.7  # the anchors know classes of the shifted images
        named = [method.step(state, stripes(400 + step, 0.0), stripes(500 + step, 0.4)) for step in range(25)]
        assert named[-1]["target"] < 0.7 * named[0]["target"]
        ends.append((gap(state, stripes(300, 0.4)), float(named[-1]["distance"] / named[0]["distance"])))
    (free, free_ratio), (drawn, drawn_ratio) = ends
    assert drawn < 0.8 * free
    assert drawn_ratio < 0.6 < 0.8 < free_ratio  # labels alone do not do it


def test_any_number_of_classes_and_channels_under_autocast() -> None:
    teacher = Teacher(tiny_deeplab(6, num_classes=19, in_channels=3), torch.ones(19))
    rng = torch.Generator().manual_seed(0)
    seen = Batch(torch.randn(2, 3, 40, 64, generator=rng), torch.randint(19, (2, 40, 64), generator=rng))
    method = CategoryAnchors(margin=0.0)
    teacher.survey = method.survey([seen], [], teacher)
    state = method.prepare(tiny_deeplab(0, num_classes=19, in_channels=3), SGD, teacher=teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        named = method.step(state, seen, seen)
    assert all(bool(value.isfinite()) and value.dtype == torch.float32 for value in named.values())


def test_a_batch_without_any_label_or_class_is_survived() -> None:
    method = CategoryAnchors(confidence=0.999, margin=1e9)
    state = begin(method, tiny_deeplab(0), Teacher(tiny_deeplab(6).double(), torch.ones(3)))
    state.frozen["teacher"].float()
    seen = random_batch(1)
    named = method.step(state, Batch(seen.image, torch.full_like(seen.label, IGNORE)), seen)
    assert {name: value.item() for name, value in named.items()} == {"source": 0.0, "target": 0.0, "distance": 0.0}
    assert all(bool(value.isfinite().all()) for value in state.network.state_dict().values())


def test_without_a_survey_there_is_a_clear_word() -> None:
    for teacher in (None, frozen()):
        with pytest.raises(SettingsError, match="cag has anchors from the round's teacher"):
            CategoryAnchors().prepare(tiny(), SGD, teacher=teacher)
    with pytest.raises(DataError, match="no source slice to take category anchors from"):
        CategoryAnchors().survey([], [], frozen())


@pytest.mark.parametrize(
    "settings", [{"margin": -1.0}, {"distance_weight": float("nan")}, {"confidence": 0.4}, {"confidence": 1.0}]
)
def test_impossible_settings_are_one_line(settings: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=r"; allowed is "):
        CategoryAnchors(**settings)  # type: ignore[arg-type]
