"""Patch alignment: survey and step beside the same written out, and what some steps do."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from prostate_uda.data.batch import Batch
from prostate_uda.engines import checkpoints
from prostate_uda.errors import CheckpointError, DataError, SettingsError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.maths.patches import cluster_centers, patch_histograms
from prostate_uda.methods import Optimization, PatchAlign, State
from prostate_uda.networks import DeepLab, Levels
from prostate_uda.networks.teacher import Teacher
from tests.builders import random_batch, tiny_deeplab
from tests.methods.test_baselines import SGD, batch, expected_after_one_step, plain_loss, tiny

SMALL: dict[str, Any] = {
    "discriminator_channels": 4,
    "discriminator_stages": 2,
    "head_channels": 8,
    "grid": 4,
    "clusters": 5,
    "patch_weight": 0.7,
    "adversarial_weight": 0.5,
    "patch_adversarial_weight": 0.3,
}
MODULES = ("head", "discriminator", "patch_discriminator")


def begin(method: PatchAlign, net: DeepLab, optimization: Optimization = SGD, seed: int = 3) -> State:
    teacher = Teacher(tiny_deeplab(6), torch.ones(3))
    teacher.survey = method.survey([batch(11), batch(12)], [], teacher)
    state = method.prepare(net, optimization, seed=seed, teacher=teacher)
    for module in state.modules.values():
        module.to(next(net.parameters()).dtype)
    return state


def test_the_clusters_are_of_the_sources_labelled_patches() -> None:
    method, batches = PatchAlign(**SMALL), [batch(11, 0.01), batch(12, 0.01), batch(13, 0.01)]
    batches[0].label[0, :16, :16] = IGNORE
    teacher = Teacher(tiny_deeplab(6), torch.ones(3))
    found = method.survey(iter(batches), [], teacher)["centers"]
    shares, known = patch_histograms(torch.cat([seen.label for seen in batches]), 3, 4)
    assert int((~known).sum()) == 4
    torch.testing.assert_close(found, cluster_centers(shares[known], 5), rtol=0, atol=0)
    assert found.shape == (5, 12)


def categories(state: State, label: Tensor) -> Tensor:
    """The cluster of each of 4 × 4 patches of 8 × 8 pixels, by loops."""
    found = torch.full((len(label), 4, 4), IGNORE)
    for number, image in enumerate(label):
        for row in range(4):
            for column in range(4):
                patch = image[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
                quarters = [patch[:4, :4], patch[:4, 4:], patch[4:, :4], patch[4:, 4:]]
                if all(bool((one != IGNORE).any()) for one in quarters):
                    held = [[float((one[one != IGNORE] == c).double().mean()) for one in quarters] for c in range(3)]
                    far = (state.tensors["centers"].double() - torch.tensor(held).double().flatten()).norm(dim=1)
                    found[number, row, column] = far.argmin()
    return found


def expected_loss(state: State, net: DeepLab, source: Batch, target: Batch) -> Tensor:
    head, judge, patch_judge = (state.modules[name] for name in MODULES)
    on_source, on_target = (net(seen.image).final.softmax(dim=1) for seen in (source, target))
    gamma = categories(state, source.label)
    assert 0 < int((gamma == IGNORE).sum()) < gamma.numel()
    return (
        plain_loss(net, source)
        + 0.7 * functional.cross_entropy(head(on_source), gamma, ignore_index=IGNORE)
        + 0.5 * functional.softplus(judge(on_target)).mean()  # BCE with label 0
        + 0.3 * functional.softplus(patch_judge(head(on_target).softmax(dim=1))).mean()
    )


def holed(seed: int) -> Batch:
    """Noise of which one patch has no label."""
    seen = batch(seed)
    seen.label[1, 8:16, :8] = IGNORE
    return seen


def test_network_and_h_move_by_the_expected_amounts() -> None:
    method, net, source, target = PatchAlign(**SMALL), tiny(), holed(1), batch(2)
    state = begin(method, net)
    head = copy.deepcopy(state.modules["head"])
    expected = expected_after_one_step(net, lambda copied: expected_loss(state, copied, source, target))
    slopes = torch.autograd.grad(
        expected_loss(state, copy.deepcopy(net), source, target), list(state.modules["head"].parameters())
    )
    method.step(state, source, target)
    torch.testing.assert_close({name: value.detach() for name, value in net.named_parameters()}, expected)
    for now, old, slope in zip(state.modules["head"].parameters(), head.parameters(), slopes, strict=True):
        torch.testing.assert_close(now.detach(), old - 0.5 * (slope + 0.01 * old))  # ten times the rate, with decay
    assert state.step == 1


def test_the_discriminators_are_taught_on_what_was_there_before_the_step() -> None:
    method, net, source, target = PatchAlign(**SMALL), tiny(), holed(1), batch(2)
    state = begin(method, net)
    before, head, judge, patch_judge = (copy.deepcopy(m) for m in (net, *(state.modules[name] for name in MODULES)))
    for name in MODULES[1:]:
        state.optimizers[name] = torch.optim.SGD(state.modules[name].parameters(), lr=1.0)
    with torch.no_grad():
        maps = [before(seen.image).final.softmax(dim=1) for seen in (source, target)]
        patches = [head(seen).softmax(dim=1) for seen in maps]
    named = method.step(state, source, target)
    for name, copied, (on_source, on_target) in (
        ("discriminator", judge, maps),
        ("patch_discriminator", patch_judge, patches),
    ):
        # BCE with label 0 is softplus(z), with label 1 softplus(-z)
        telling = functional.softplus(copied(on_source)).mean() + functional.softplus(-copied(on_target)).mean()
        torch.testing.assert_close(named[name], telling.detach() / 2)
        slopes = torch.autograd.grad(telling / 2, list(copied.parameters()))
        for now, old, slope in zip(state.modules[name].parameters(), copied.parameters(), slopes, strict=True):
            torch.testing.assert_close(now.detach(), old.detach() - slope)


def test_batch_norm_follows_the_target() -> None:
    net, target = tiny(), batch(2)
    alone = copy.deepcopy(net)
    alone(target.image)
    method = PatchAlign(**SMALL)
    method.step(begin(method, net), batch(1), target)
    torch.testing.assert_close(dict(net.named_buffers()), dict(alone.named_buffers()), rtol=0, atol=0)


def test_no_patch_is_known_where_nothing_is() -> None:
    method = PatchAlign(**SMALL)
    state = begin(method, tiny_deeplab(0))
    seen = random_batch(1)
    named = method.step(state, Batch(seen.image, torch.full_like(seen.label, IGNORE)), seen)
    assert named["patches"].item() == named["source"].item() == 0.0
    assert all(bool(value.isfinite()) for value in named.values())
    assert all(bool(value.isfinite().all()) for value in state.network.state_dict().values())


class Pixelwise(nn.Module):
    """Grey levels to two classes."""

    num_classes = 2

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.hidden = nn.Sequential(nn.Conv2d(1, 16, 1), nn.ReLU())
            self.last = nn.Conv2d(16, 2, 1)

    def forward(self, image: Tensor) -> Levels:
        features = self.hidden(image)
        logits = self.last(features)
        return Levels((logits, logits), (features, features))


def squares(seed: int, shift: float) -> Batch:
    """Bright squares on a dark ground; a shift makes the ground as bright as the squares were."""
    rng = torch.Generator().manual_seed(seed)
    label = torch.zeros(4, 32, 32, dtype=torch.int64)
    for image in label:
        row, column = torch.randint(16, (2,), generator=rng).tolist()
        image[row : row + 16, column : column + 16] = 1
    return Batch(label.float().unsqueeze(1) + shift + 0.1 * torch.randn(4, 1, 32, 32, generator=rng), label)


def trained(weight: float) -> tuple[list[dict[str, Tensor]], float, float]:
    """Losses, how far the target's clusters are from the source's, and how much of the target is right."""
    settings = {"adversarial_weight": 0.0, "patch_weight": 1.0, "discriminator_rate": 2e-3}
    method, net = PatchAlign(**SMALL | settings | {"patch_adversarial_weight": weight}), Pixelwise()
    teacher = Teacher(net, torch.ones(2))
    teacher.survey = method.survey([squares(step, 0.0) for step in range(100, 110)], [], teacher)
    state = method.prepare(net, Optimization(learning_rate=5e-3, power=0.0), seed=1, teacher=teacher)
    named = [method.step(state, squares(step, 0.0), squares(500 + step, 0.6)) for step in range(120)]
    source, target = squares(9999, 0.0), squares(9999, 0.6)
    with torch.no_grad():
        maps = [net(seen.image).final.softmax(dim=1) for seen in (source, target)]
        on_source, on_target = (state.modules["head"](seen).softmax(dim=1) for seen in maps)
    right = (maps[1].argmax(dim=1) == target.label).float().mean()
    return named, float((on_source - on_target).abs().sum(dim=1).mean()), float(right)


@pytest.mark.slow
def test_some_steps_teach_h_the_clusters_and_move_the_targets_patches_to_the_sources() -> None:
    free, free_gap, free_right = trained(0.0)
    aligned, aligned_gap, aligned_right = trained(1.0)
    for named in (free, aligned):
        assert named[-1]["patches"] < 0.35 * named[0]["patches"]
    assert free[-1]["patch_discriminator"] < 0.5 < 0.65 < aligned[-1]["patch_discriminator"]  # log 2 is chance
    assert aligned_gap < 0.4 < 0.9 < free_gap
    assert free_right < 0.55 < 0.65 < aligned_right


def test_the_four_optimizers_and_the_clusters_are_taken_up_again(tmp_path: Any) -> None:
    method = PatchAlign(**SMALL)
    state = begin(method, tiny_deeplab(0), Optimization())
    for step in range(2):
        method.step(state, random_batch(step), random_batch(10 + step))
    checkpoints.save(tmp_path / "state.pt", {"state": state.state_dict()})
    other = begin(method, tiny_deeplab(9), Optimization(), seed=9)
    other.tensors["centers"].add_(1)  # as if K-means had come out otherwise
    other.load_state_dict(checkpoints.load(tmp_path / "state.pt")["state"])
    torch.testing.assert_close(other.tensors, state.tensors, rtol=0, atol=0)
    for name in ("network", *MODULES):
        mine, theirs = other.optimizers[name], state.optimizers[name]
        parameters = [value for group in mine.param_groups for value in group["params"]]
        assert len(mine.state) == len(parameters) == len(theirs.state) > 0
        assert {int(mine.state[value]["step"]) for value in parameters} == {2}
    fewer = PatchAlign(**SMALL | {"clusters": 4})
    with pytest.raises(CheckpointError, match="resume with the method and settings that wrote it"):
        begin(fewer, tiny_deeplab(0)).load_state_dict(state.state_dict())


def test_any_number_of_classes_and_channels_under_autocast() -> None:
    method = PatchAlign()
    teacher = Teacher(tiny_deeplab(6, num_classes=19, in_channels=3), torch.ones(19))
    rng = torch.Generator().manual_seed(0)
    seen = Batch(torch.randn(2, 3, 40, 64, generator=rng), torch.randint(19, (2, 40, 64), generator=rng))
    teacher.survey = method.survey([seen], [], teacher)
    assert teacher.survey["centers"].shape == (50, 76)
    state = method.prepare(tiny_deeplab(0, num_classes=19, in_channels=3), Optimization(), teacher=teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        named = method.step(state, seen, seen)
    assert all(bool(value.isfinite()) for value in named.values())


def test_without_clusters_there_is_a_clear_word() -> None:
    teacher = Teacher(tiny_deeplab(6), torch.ones(3))
    for missing in (None, teacher):
        with pytest.raises(SettingsError, match="patch-align has clusters of patches"):
            PatchAlign().prepare(tiny(), SGD, teacher=missing)
    nothing = Batch(torch.zeros(1, 1, 32, 32), torch.full((1, 32, 32), IGNORE))
    for source in ([], [nothing]):
        with pytest.raises(DataError, match="no source slice has a labelled patch at grid 16"):
            PatchAlign().survey(source, [], teacher)


@pytest.mark.parametrize(
    "settings",
    [
        {"clusters": 1},
        {"clusters": 255},
        {"grid": 0},
        {"head_channels": 0},
        {"patch_weight": -0.1},
        {"adversarial_weight": float("nan")},
        {"patch_adversarial_weight": -1.0},
        {"discriminator_rate": 0.0},
        {"discriminator_stages": 0},
    ],
)
def test_impossible_settings_are_one_line(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"; allowed is "):
        PatchAlign(**settings)
