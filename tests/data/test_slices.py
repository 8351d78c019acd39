from collections import Counter

import nibabel as nib
import numpy as np
import pytest
import torch

from prostate_uda.data.batch import Batch
from prostate_uda.data.domains.base import Case
from prostate_uda.data.preprocessing import WorkingGrid, preprocessing
from prostate_uda.data.reading import CaseReader
from prostate_uda.data.slices import BatchStream, SliceSet
from prostate_uda.errors import DataError, SettingsError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.transforms.augmentation import no_augmentation, plain
from prostate_uda.transforms.normalization import no_normalization

VALUES = {0: 0, 1: 1, 2: 2, 255: 255}
SIZES = (4, 6, 3)


@pytest.fixture
def slices() -> SliceSet:
    """Three cases; slice n is filled with n, and the middle case alone has gland."""
    count, sizes = sum(SIZES), torch.tensor(SIZES)
    ends = sizes.cumsum(0)
    labels = torch.zeros(count, 8, 8, dtype=torch.uint8)
    labels[5:9, 3:5, 3:5] = 1
    return SliceSet(
        torch.arange(count).float()[:, None, None].expand(count, 8, 8).clone(),
        labels,
        (ends - sizes).repeat_interleave(sizes),
        (ends - 1).repeat_interleave(sizes),
        tuple(name for name, size in zip("abc", SIZES, strict=True) for _ in range(size)),
    )


def stream(slices, **changes) -> BatchStream:
    given = {"batch_size": 4, "depth": 1, "seed": 0, "name": "source", "augment": no_augmentation()}
    return BatchStream(slices, **(given | changes))


def drawn(batch: Batch) -> list[int]:
    middle = batch.image.shape[1] // 2
    return batch.image[:, middle, 0, 0].int().tolist()


def test_neighbours_stop_at_the_ends_of_a_case(slices):
    stacked = slices.stack(torch.tensor([0, 3, 4, 12]), 5)[:, :, 0, 0]
    assert stacked.tolist() == [[0, 0, 0, 1, 2], [1, 2, 3, 3, 3], [4, 4, 4, 5, 6], [10, 11, 12, 12, 12]]


def test_an_epoch_shows_every_slice_once(slices):
    batches = stream(slices)
    seen = [index for step in range(13) for index in drawn(batches.at(step))]
    for epoch in range(4):
        assert sorted(seen[epoch * 13 : (epoch + 1) * 13]) == list(range(13))
    assert seen[:13] != seen[13:26]


def test_cases_belong_to_their_slices(slices):
    batch = stream(slices).at(2)
    assert batch.cases == tuple(slices.cases[index] for index in drawn(batch))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_batch_depends_on_seed_name_and_step_alone(slices, share):
    def same(one: Batch, two: Batch) -> bool:
        return torch.equal(one.image, two.image) and torch.equal(one.label, two.label) and one.cases == two.cases

    augmented = {"augment": plain(), "depth": 3, "foreground_share": share}
    first = stream(slices, **augmented)
    batches = [first.at(step) for step in range(6)]
    again = stream(slices, **augmented | {"augment": plain()})
    assert same(again.at(4), batches[4])
    assert same(again.at(5), batches[5])
    assert same(again.at(1), batches[1])
    assert not same(stream(slices, **augmented, seed=1).at(1), batches[1])
    assert not same(stream(slices, **augmented, name="target").at(1), batches[1])


def test_global_random_state_is_neither_read_nor_moved(slices):
    def state() -> tuple[torch.Tensor, np.ndarray]:
        return torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002  the state under test

    before = state()
    stream(slices, augment=plain()).at(0)
    assert all(map(np.array_equal, before, state()))


@pytest.mark.parametrize(("share", "expected"), [(0.5, 0.5), (0.3, 0.3), (1.0, 1.0)])
def test_foreground_share_is_kept(slices, share, expected):
    batches = stream(slices, foreground_share=share, batch_size=5)
    steps = 200
    forced = [index for step in range(steps) for index in batches._drawn(step)[5 - _forced(step, share) :]]
    assert len(forced) / (5 * steps) == pytest.approx(expected, abs=0.01)
    counts = Counter(forced)
    assert set(counts) == {5, 6, 7, 8}
    assert max(counts.values()) - min(counts.values()) <= 1
    assert all(len(batches._drawn(step)) == 5 for step in range(steps))


def _forced(step: int, share: float) -> int:
    return int((step + 1) * 5 * share) - int(step * 5 * share)


def test_types_and_shapes(slices):
    batch = stream(slices, depth=3, augment=plain()).at(0)
    assert batch.image.shape == (4, 3, 8, 8)
    assert batch.image.dtype == torch.float32
    assert batch.label.shape == (4, 8, 8)
    assert batch.label.dtype == torch.int64
    assert type(batch.image) is torch.Tensor
    assert type(batch.label) is torch.Tensor
    assert batch.to("cpu").cases == batch.cases


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"depth": 2}, {"depth": 0}, {"foreground_share": -0.1}, {"foreground_share": 1.5}]
)
def test_numbers_out_of_range(slices, wrong):
    with pytest.raises(SettingsError, match="allowed"):
        stream(slices, **wrong)


def test_gland_is_asked_for_where_there_is_none(slices):
    empty = SliceSet(slices.images, torch.zeros_like(slices.labels), slices.first, slices.last, slices.cases)
    with pytest.raises(DataError, match="no slice with gland"):
        stream(empty, foreground_share=0.5)


@pytest.fixture
def cases(tmp_path) -> list[Case]:
    """One labelled case with a pseudo-label's ignore, one without a label; LPS, 1 × 1 × 3 mm."""
    rng = np.random.default_rng(0)
    made = []
    for name, depth in (("one", 3), ("two", 5)):
        path = tmp_path / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(rng.random((32, 32, depth), np.float32), np.diag((-1.0, -1.0, 3.0, 1.0))), path)
        made.append(Case(name, path))
    label = np.zeros((32, 32, 3), np.uint8)
    label[4:9, 20:22, 1], label[:, :, 2] = 2, 255
    nib.save(nib.Nifti1Image(label, np.diag((-1.0, -1.0, 3.0, 1.0))), tmp_path / "label.nii.gz")
    return [Case("one", made[0].image, tmp_path / "label.nii.gz", VALUES), made[1]]


def test_from_cases(cases):
    told: list[int] = []
    pre = preprocessing(WorkingGrid(spacing_mm=1.0, size=32), no_normalization())
    slices = SliceSet.from_cases(cases, CaseReader(pre), progress=told.append)
    assert told == [1, 2]
    assert slices.images.shape == slices.labels.shape == (8, 32, 32)
    assert (slices.images.dtype, slices.labels.dtype) == (torch.float32, torch.uint8)
    assert slices.cases == ("one",) * 3 + ("two",) * 5
    assert slices.first.tolist() == [0] * 3 + [3] * 5
    assert slices.last.tolist() == [2] * 3 + [7] * 5
    image = nib.load(cases[0].image).get_fdata(dtype=np.float32)
    assert np.array_equal(slices.images[1].numpy(), image[:, :, 1].T)
    assert slices.labels[1, 20:22, 4:9].unique().tolist() == [2]
    assert (slices.labels[1] == 2).sum() == 10
    assert (slices.labels[2] == IGNORE).all()
    assert (slices.labels[3:] == IGNORE).all()
    assert slices.foreground() == [1]


def test_from_no_cases():
    with pytest.raises(DataError, match="no case"):
        SliceSet.from_cases([], CaseReader(preprocessing(WorkingGrid(1.0, 32), no_normalization())))
