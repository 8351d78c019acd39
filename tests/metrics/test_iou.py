"""IoU from a confusion matrix: by hand, laws, and scikit-learn and MONAI as oracles."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.metrics import compute_iou, get_confusion_matrix
from monai.networks import one_hot
from sklearn.metrics import confusion_matrix, jaccard_score
from torch import Tensor

from prostate_uda.errors import DataError, SettingsError, ShapeError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.metrics import class_iou, confusion, dice, intersection_union, mean_iou
from prostate_uda.metrics import iou as mask_iou

CLASSES = 5
maps = st.lists(st.integers(0, CLASSES - 1), min_size=24, max_size=24).map(
    lambda values: torch.tensor(values, dtype=torch.uint8).view(4, 6)
)
known_or_not = st.lists(st.booleans(), min_size=24, max_size=24).map(lambda bits: torch.tensor(bits).view(4, 6))


def scene(seed: int, classes: int = 19, size: tuple[int, int] = (64, 96)) -> tuple[Tensor, Tensor]:
    """A truth with a band of IGNORE, and a prediction that is right for about half of it."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, classes, size, generator=generator)
    guess = torch.randint(0, classes, size, generator=generator)
    predicted = torch.where(torch.rand(size, generator=generator) < 0.5, truth, guess)
    truth[10:20] = IGNORE
    return predicted, truth.to(torch.uint8)


def test_by_hand() -> None:
    truth = torch.tensor([[0, 0, 0, 1], [1, 2, IGNORE, IGNORE]], dtype=torch.uint8)
    found = torch.tensor([[0, 0, 1, 1], [0, 2, 1, 0]])
    counts = confusion(found, truth, 4)
    assert counts.dtype == torch.int64
    assert counts.tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    both, either = intersection_union(counts)
    assert both.tolist() == [2, 1, 1, 0]
    assert either.tolist() == [4, 3, 1, 0]
    shares = class_iou(counts)
    assert shares.dtype == torch.float64
    assert shares[:3].tolist() == [0.5, pytest.approx(1 / 3), 1.0]
    assert math.isnan(shares[3])
    assert mean_iou(shares, None) == mean_iou(shares) == pytest.approx((0.5 + 1 / 3 + 1) / 3)
    assert mean_iou(shares, [0, 3]) == 0.5
    assert mean_iou(shares, (2, 1)) == pytest.approx((1 + 1 / 3) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_scikit_learn_counts_the_same(seed) -> None:
    predicted, truth = scene(seed)
    known, places = truth != IGNORE, list(range(19))
    ours, theirs = predicted[known].numpy(), truth[known].numpy()
    counts = confusion(predicted, truth, 19)
    assert counts.tolist() == confusion_matrix(theirs, ours, labels=places).tolist()
    expected = jaccard_score(theirs, ours, labels=places, average=None)
    assert class_iou(counts).tolist() == pytest.approx(expected.tolist(), abs=1e-12)
    assert mean_iou(class_iou(counts)) == pytest.approx(jaccard_score(theirs, ours, labels=places, average="macro"))


@pytest.mark.parametrize("seed", range(3))
def test_monai_counts_the_same(seed) -> None:
    predicted, truth = scene(seed, classes=7)
    predicted, truth = predicted[20:], truth[20:].long()  # MONAI knows no IGNORE
    one, other = (one_hot(label[None, None], 7) for label in (predicted, truth))
    hits, false_hits, _, misses = get_confusion_matrix(one, other)[0].T.long()
    counts = confusion(predicted, truth, 7)
    both, either = intersection_union(counts)
    assert both.tolist() == hits.tolist()
    assert either.tolist() == (hits + false_hits + misses).tolist()
    assert class_iou(counts).tolist() == pytest.approx(compute_iou(one, other)[0].tolist(), rel=1e-6)


@given(maps, maps, known_or_not)
def test_laws(predicted, truth, known) -> None:
    truth = torch.where(known, truth, IGNORE).to(torch.uint8)
    counts = confusion(predicted, truth, CLASSES)
    assert int(counts.sum()) == int(known.sum())
    assert counts.sum(dim=1).tolist() == [int((truth == place).sum()) for place in range(CLASSES)]
    shares = class_iou(counts)
    for place in range(CLASSES):
        score = mask_iou((predicted == place) & known, truth == place).item()
        assert math.isnan(shares[place]) if math.isnan(score) else shares[place].item() == score
    assert shares.nan_to_num(-1).tolist() == class_iou(counts.T).nan_to_num(-1).tolist()


@given(maps, maps, maps, maps)
def test_matrices_add_up(one, other, truth, second) -> None:
    apart = confusion(one, truth, CLASSES) + confusion(other, second, CLASSES)
    assert torch.equal(apart, confusion(torch.cat((one, other)), torch.cat((truth, second)), CLASSES))


def test_predictions_where_nothing_is_known_do_not_count() -> None:
    predicted, truth = scene(0)
    counts = confusion(predicted, truth, 19)
    predicted[10:20] = 200
    assert torch.equal(confusion(predicted, truth, 19), counts)


def test_another_value_can_be_left_out() -> None:
    predicted, truth = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 1, 2])
    assert confusion(predicted, truth, 3, ignore=1).tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]


def test_nothing_known_has_no_score() -> None:
    counts = confusion(torch.zeros(4, 4, dtype=torch.uint8), torch.full((4, 4), IGNORE, dtype=torch.uint8), 19)
    assert counts.sum() == 0
    assert class_iou(counts).isnan().all()
    assert math.isnan(mean_iou(class_iou(counts)))
    assert math.isnan(mean_iou(class_iou(counts), []))


def test_uint8_labels_do_not_wrap_around() -> None:
    """18 · 19 + 18 is beyond a byte."""
    last = torch.full((3, 3), 18, dtype=torch.uint8)
    counts = confusion(last, last, 19)
    assert counts[18, 18] == counts.sum() == 9


def test_inputs_are_not_changed() -> None:
    predicted, truth = scene(1)
    before = predicted.clone(), truth.clone()
    counts = confusion(predicted, truth, 19)
    kept = counts.clone()
    class_iou(counts)
    assert torch.equal(predicted, before[0])
    assert torch.equal(truth, before[1])
    assert torch.equal(counts, kept)


def test_each_iou_has_the_name_that_it_is_exported_under() -> None:
    import prostate_uda.metrics

    assert prostate_uda.metrics.iou is mask_iou
    assert mask_iou.__module__ == dice.__module__
    for name in prostate_uda.metrics.__all__:
        assert getattr(prostate_uda.metrics, name).__name__ == name


@pytest.mark.parametrize(
    ("predicted", "truth", "classes", "error", "words"),
    [
        (torch.tensor([0, 19]), torch.tensor([0, 1]), 19, DataError, "prediction with class 19; 0 to 18"),
        (torch.tensor([0, 255]), torch.tensor([0, 1]), 19, DataError, "prediction with class 255"),
        (torch.tensor([0, -1]), torch.tensor([0, 1]), 19, DataError, "prediction with class -1"),
        (torch.tensor([0, 1]), torch.tensor([0, 33]), 19, DataError, "truth with class 33; 0 to 18"),
        (torch.tensor([0.0, 1.0]), torch.tensor([0, 1]), 19, ShapeError, "float32; integers are allowed"),
        (torch.tensor([0, 1]), torch.tensor([False, True]), 19, ShapeError, "bool; integers are allowed"),
        (torch.tensor([0, 1]), torch.tensor([[0, 1]]), 19, ShapeError, r"\(2,\) and \(1, 2\)"),
        (torch.tensor([0]), torch.tensor([0]), 0, SettingsError, "classes 0; 1 or more"),
    ],
)
def test_what_cannot_be_counted(predicted, truth, classes, error, words) -> None:
    with pytest.raises(error, match=words) as raised:
        confusion(predicted, truth, classes)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("counts", [torch.zeros(3, 3), torch.zeros(3, 4, dtype=torch.long), torch.zeros(9).long()])
def test_what_is_no_confusion_matrix(counts) -> None:
    with pytest.raises(ShapeError, match="confusion matrix of shape"):
        class_iou(counts)


def test_what_has_no_mean() -> None:
    with pytest.raises(SettingsError, match=r"classes \[-1, 3\]; 0 to 2"):
        mean_iou(torch.zeros(3), [3, 0, -1])
    with pytest.raises(ShapeError, match=r"\(3, 3\)"):
        mean_iou(torch.zeros(3, 3))
