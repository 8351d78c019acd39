"""Maximum squares: its step beside the same step written out, its weights, its guidance."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.data.batch import Batch
from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.methods import MaxSquare
from prostate_uda.networks import DeepLab, Levels
from tests.methods.test_baselines import (
    SGD,
    assert_batch_norm_follows_the_target,
    batch,
    expected_after_one_step,
    plain_loss,
    tiny,
)

PLAIN = MaxSquare(target_weight=0.5, rarity_exponent=0.0, guidance_weight=0.0)
WHOLE = MaxSquare(target_weight=0.5, rarity_exponent=0.3, guidance_weight=0.2, guidance_threshold=0.6)


def opinionated() -> DeepLab:
    """A network whose fresh heads are not all but uniform."""
    net = tiny()
    with torch.no_grad():
        for value in net.head_parameters():
            value.mul_(10)
    return net


def weighted_squares(logits: Tensor, exponent: float) -> Tensor:
    """Image by image, as the paper has it: ``½ Σ_n Σ_c p² / (N_ŷ^a N^(1-a))``, then the mean over images."""
    images = []
    for probs in logits.softmax(dim=1):
        prediction = probs.argmax(dim=0)
        size = prediction.numel()
        total = torch.zeros((), dtype=torch.float64)
        for label in prediction.unique():
            mine = prediction == label
            total = total + probs[:, mine].square().sum() / (int(mine.sum()) ** exponent * size ** (1 - exponent))
        images.append(total / 2)
    return torch.stack(images).mean()


def guidance(shallow: Tensor, deep: Tensor, threshold: float) -> Tensor:
    p, q = shallow.detach().softmax(dim=1), deep.detach().softmax(dim=1)
    label = ((p + q) / 2).argmax(dim=1)
    label[(p.amax(dim=1) <= threshold) & (q.amax(dim=1) <= threshold)] = IGNORE
    assert 0.1 < float((label != IGNORE).double().mean()) < 0.9  # else the test would not tell a threshold
    return functional.cross_entropy(shallow, label, ignore_index=IGNORE)


@pytest.mark.parametrize("method", [PLAIN, WHOLE])
def test_the_weights_move_by_the_expected_amounts_and_the_targets_label_is_not_read(method: MaxSquare) -> None:
    net, source, target = opinionated(), batch(1), batch(2)

    def loss(copy: DeepLab) -> Tensor:
        shallow, deep = copy(target.image).logits
        on_target = -weighted_squares(deep, method.rarity_exponent)
        if method.guidance_weight:
            on_target = on_target + 0.2 * guidance(shallow, deep, 0.6)
        return plain_loss(copy, source) + 0.5 * on_target

    expected = expected_after_one_step(net, loss)
    blind = Batch(image=target.image, label=torch.full_like(target.label, IGNORE))
    found = method.step(method.prepare(net, SGD), source, blind)
    torch.testing.assert_close({name: value.detach() for name, value in net.named_parameters()}, expected)
    assert set(found) == {"source", "target", "guidance"}
    assert bool(found["guidance"]) == bool(method.guidance_weight)
    assert method.needs == frozenset()


def test_batch_norm_follows_the_target() -> None:
    assert_batch_norm_follows_the_target(MaxSquare())


def levels(shallow: list[list[float]], deep: list[list[float]]) -> Levels:
    """``(1, C, 1, W)`` logits, a distribution per pixel."""
    heads = [torch.tensor(rows).log().t()[None, :, None, :] for rows in (shallow, deep)]
    return Levels(logits=(heads[0], heads[1]), features=())


FOUR = levels([[0.5, 0.5]] * 4, [[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
"""Squares 0.82, 0.68, 0.52, 0.58; three pixels of class 0 and one of class 1."""


def test_the_target_term_by_hand() -> None:
    # plain: -½ (0.82 + 0.68 + 0.52 + 0.58) / 4 = -0.325; a = 1: -½ (⅓ (0.82 + 0.68 + 0.52) + 0.58) = -0.6266667
    assert MaxSquare(rarity_exponent=0.0).sharpening(FOUR).item() == pytest.approx(-0.325)
    assert MaxSquare(rarity_exponent=1.0).sharpening(FOUR).item() == pytest.approx(-0.6266667)


def test_the_guidance_by_hand() -> None:
    # δ = 0.85: the deep head is sure at the first pixel alone, of class 0; the shallow head gives it ½
    assert MaxSquare(guidance_threshold=0.85).guidance(FOUR).item() == pytest.approx(0.6931472)
    assert MaxSquare(guidance_threshold=1.0).guidance(FOUR).item() == 0.0  # nobody is sure
    assert MaxSquare(level_weights=(0.0, 1.0), guidance_threshold=0.85).guidance(FOUR).item() == 0.0


def test_a_network_of_one_head_has_nobody_to_guide() -> None:
    assert MaxSquare(level_weights=(1.0,)).guidance(Levels(logits=(FOUR.final,), features=())).item() == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"target_weight": -0.1},
        {"guidance_weight": float("nan")},
        {"rarity_exponent": 1.5},
        {"guidance_threshold": -0.1},
    ],
)
def test_impossible_settings_are_one_line(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=r"^\w+ .*; allowed is 0 (or more|to 1 for both)$"):
        MaxSquare(**wrong)


def test_one_weight_per_head() -> None:
    method = MaxSquare(level_weights=(1.0,))
    with pytest.raises(ShapeError, match="give one weight per head"):
        method.step(method.prepare(tiny(), SGD), batch(1), batch(2))
