from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prostate_uda.data.batch import Batch
from prostate_uda.data.domains.base import Case
from prostate_uda.data.scene_classes import CITYSCAPES_VALUES, TRAIN_VALUES
from prostate_uda.data.scene_images import scene_size
from prostate_uda.data.scene_set import KEEP_BYTES, SceneReader, SceneSet, normalize_scene
from prostate_uda.data.slices import BatchStream
from prostate_uda.errors import DataError, SettingsError, ShapeError
from prostate_uda.maths.losses import IGNORE
from tests.data.scene_layouts import numbers, picture, save_grey, save_rgb

COUNT, SIZE = 7, (4, 6)
IMAGE_BYTES, LABEL_BYTES = 4 * 6 * 3, 4 * 6


class Counting(SceneReader):
    """A reader that says what it decoded."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "decoded", [])

    def image(self, case):
        self.decoded.append(("image", case.id))
        return super().image(case)

    def label(self, case):
        self.decoded.append(("label", case.id))
        return super().label(case)


def written(folder: Path, count: int = COUNT) -> list[Case]:
    """Every third case has no label."""
    cases = []
    for number in range(count):
        image, label = folder / f"{number}.png", folder / f"{number}_label.png"
        save_rgb(image, picture(number, (8, 12)))
        save_grey(label, numbers((7, 8 + number, 0), (8, 12)))
        cases.append(Case(f"c{number}", image, None if number % 3 == 2 else label, CITYSCAPES_VALUES))
    return cases


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> list[Case]:
    return written(tmp_path_factory.mktemp("scenes"))


def test_a_set_gives_what_the_reader_reads(cases):
    reader = SceneReader(SIZE)
    scenes = SceneSet.from_cases(cases, reader)
    assert len(scenes) == COUNT
    assert scenes.cases == tuple(f"c{number}" for number in range(COUNT))
    index = torch.tensor([5, 0, 3, 3])
    for _ in range(2):  # read, then remembered
        images, labels = scenes.stack(index, 1), scenes.marks(index)
        assert (images.shape, images.dtype) == ((4, 3, *SIZE), torch.float32)
        assert (labels.shape, labels.dtype) == ((4, *SIZE), torch.uint8)
        for place, image, label in zip(index.tolist(), images, labels, strict=True):
            expected, truth = reader(cases[place])
            assert torch.equal(image, expected)
            assert torch.equal(label, truth)
        images.zero_()
        labels.zero_()  # what is given out is not what is remembered


def test_a_case_without_label_is_all_ignore(cases):
    image, label = SceneReader(SIZE)(cases[2])
    assert bool((label == IGNORE).all())
    assert label.shape == SIZE
    assert bool(image.isfinite().all())
    assert bool((SceneSet.from_cases(cases, SceneReader(SIZE)).marks(torch.tensor([2, 5])) == IGNORE).all())


def test_labels_keep_their_classes_when_resized(cases):
    _, label = SceneReader(SIZE)(cases[0])
    assert set(label.unique().tolist()) <= {0, 1, IGNORE}
    _, full = SceneReader((8, 12))(cases[0])
    assert full.flatten()[:3].tolist() == [0, 1, IGNORE]


def test_normalization_is_imagenets():
    image = picture(3)
    expected = (image / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    np.testing.assert_allclose(normalize_scene(image).numpy(), expected.transpose(2, 0, 1), atol=1e-6)
    assert normalize_scene(image).dtype == torch.float32
    assert normalize_scene(image).is_contiguous()
    for wrong in (image.astype(np.float32), image[..., 0], image.transpose(2, 0, 1)):
        with pytest.raises(ShapeError, match=r"uint8 of shape \(H, W, 3\)"):
            normalize_scene(wrong)


def test_nothing_is_decoded_before_it_is_asked_for(cases):
    reader = Counting(SIZE)
    scenes = SceneSet(cases, reader)
    assert reader.decoded == []
    scenes.stack(torch.tensor([4]), 1)
    assert reader.decoded == [("image", "c4")]
    scenes.marks(torch.tensor([4]))
    scenes.stack(torch.tensor([4]), 1)
    scenes.marks(torch.tensor([4]))
    assert reader.decoded == [("image", "c4"), ("label", "c4")]


@given(keep=st.integers(0, COUNT * (IMAGE_BYTES + LABEL_BYTES) + 10), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_memory_is_bounded_and_changes_nothing(cases, keep, seed):
    reader = Counting(SIZE)
    scenes, free = SceneSet(cases, reader, keep_bytes=keep), SceneSet.from_cases(cases, SceneReader(SIZE))
    for place in np.random.default_rng(seed).permutation(np.repeat(np.arange(COUNT), 2)).tolist():
        index = torch.tensor([place])
        assert torch.equal(scenes.stack(index, 1), free.stack(index, 1))
        assert torch.equal(scenes.marks(index), free.marks(index))
        assert scenes.kept_bytes <= keep
    labelled = sum(case.label is not None for case in cases)
    if keep >= COUNT * IMAGE_BYTES + labelled * LABEL_BYTES:
        assert scenes.kept_bytes == COUNT * IMAGE_BYTES + labelled * LABEL_BYTES
        assert len([one for one in reader.decoded if one[0] == "image"]) == COUNT
    if keep < LABEL_BYTES:
        assert scenes.kept_bytes == 0
        assert len([one for one in reader.decoded if one[0] == "image"]) == 2 * COUNT


def test_two_gibibytes_are_kept_by_default(cases):
    assert SceneSet.from_cases(cases, SceneReader(SIZE)).keep_bytes == KEEP_BYTES == 2**31


@pytest.mark.parametrize("keep", [0, 3 * IMAGE_BYTES, KEEP_BYTES])
def test_threads_may_ask_at_a_time(cases, keep):
    scenes = SceneSet.from_cases(cases, SceneReader(SIZE), keep_bytes=keep)
    everything = torch.arange(COUNT)
    expected = [SceneReader(SIZE)(case) for case in cases]
    start = Barrier(8)

    def ask(number: int) -> bool:
        start.wait()
        order = everything.roll(number)
        images, labels = scenes.stack(order, 1), scenes.marks(order)
        return all(
            torch.equal(images[at], expected[place][0]) and torch.equal(labels[at], expected[place][1])
            for at, place in enumerate(order.tolist())
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))
    held = sum(array.nbytes for array in scenes._images._kept.values())
    assert scenes.kept_bytes == held <= keep


def test_an_image_that_two_threads_read_is_counted_once(cases):
    both = Barrier(2)

    class Together(SceneReader):
        def image(self, case):
            both.wait(timeout=60)  # neither has kept it yet
            return super().image(case)

    scenes = SceneSet(cases, Together(SIZE))
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: scenes.stack(torch.tensor([3]), 1), range(2))
    assert torch.equal(one, other)
    assert scenes.kept_bytes == IMAGE_BYTES


def test_in_order_shows_every_image_once(cases):
    scenes = SceneSet.from_cases(cases, SceneReader(SIZE))
    batches = list(scenes.in_order(3, 1))
    assert [len(batch.image) for batch in batches] == [3, 3, 1]
    assert all(isinstance(batch, Batch) and batch.label.dtype == torch.int64 for batch in batches)
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(COUNT))
    assert sum((batch.cases for batch in batches), ()) == scenes.cases
    assert torch.equal(torch.cat([batch.image for batch in batches]), scenes.stack(torch.arange(COUNT), 1))
    assert torch.equal(torch.cat([batch.label for batch in batches]), scenes.marks(torch.arange(COUNT)).long())


def test_foreground_is_what_has_a_class(cases, tmp_path):
    save_grey(tmp_path / "void.png", numbers((0,), (8, 12)))
    empty = Case("void", cases[0].image, tmp_path / "void.png", CITYSCAPES_VALUES)
    for made in (SceneSet, SceneSet.from_cases):
        reader = Counting(SIZE)
        assert made([empty, *cases], reader, keep_bytes=0).foreground() == [1, 2, 4, 5, 7]
        assert len([one for one in reader.decoded if one[0] == "label"]) == 6  # not again where opening has read them


def test_a_stream_draws_from_it(cases):
    scenes = SceneSet.from_cases(cases, SceneReader(SIZE))

    class Nothing:
        def set_random_state(self, seed):
            return self

        def __call__(self, data):
            return data

    stream = BatchStream(scenes, batch_size=2, depth=1, seed=0, name="source", augment=Nothing())
    batch = stream.at(0)
    assert torch.equal(batch.image, scenes.stack(batch.index, 1))
    assert torch.equal(batch.label, scenes.marks(batch.index).long())
    assert sorted(place for step in range(7) for place in stream.at(step).index.tolist()) == sorted([*range(7)] * 2)


def test_depth_other_than_one_is_refused(cases):
    scenes = SceneSet.from_cases(cases, SceneReader(SIZE))
    with pytest.raises(SettingsError, match="depth 3 of driving scenes; only 1"):
        scenes.stack(torch.tensor([0]), 3)
    with pytest.raises(SettingsError, match="depth 3"):
        next(scenes.in_order(2, 3))


def test_numbers_out_of_range(cases):
    with pytest.raises(SettingsError, match="-1 bytes"):
        SceneSet(cases, SceneReader(SIZE), keep_bytes=-1)
    with pytest.raises(SettingsError, match=r"a size of \(0, 5\)"):
        SceneReader((0, 5))
    with pytest.raises(DataError, match="no case"):
        SceneSet.from_cases([], SceneReader(SIZE))


def test_files_are_read_before_training(cases, tmp_path):
    seen: list[int] = []
    SceneSet.from_cases(cases, SceneReader(SIZE), progress=seen.append)
    assert seen == list(range(1, COUNT + 1))
    save_grey(tmp_path / "other.png", numbers((7,), (8, 11)))
    unlike = Case("x", cases[0].image, tmp_path / "other.png", CITYSCAPES_VALUES)
    with pytest.raises(DataError, match=r"other\.png is 11 pixels wide and 8 high, its image .* 12 and 8"):
        SceneSet.from_cases([*cases, unlike], SceneReader(SIZE))
    with pytest.raises(DataError, match="they must agree"):
        SceneReader(SIZE)(unlike)
    with pytest.raises(DataError, match=r"gone\.png does not exist"):
        SceneSet.from_cases([Case("x", tmp_path / "gone.png")], SceneReader(SIZE))
    with pytest.raises(DataError, match=r"gone\.png does not exist"):
        SceneSet.from_cases([Case("x", cases[0].image, tmp_path / "gone.png")], SceneReader(SIZE))


def test_an_unknown_value_is_told_before_training(cases, tmp_path):
    save_grey(tmp_path / "odd.png", numbers((7, 200), (8, 12)))
    odd = Case("odd", cases[0].image, tmp_path / "odd.png", CITYSCAPES_VALUES)
    with pytest.raises(DataError, match=r"odd\.png: unknown label value 200"):
        SceneSet.from_cases([*cases, odd], SceneReader(SIZE))


@pytest.mark.parametrize("victim", ["image", "label"])
def test_a_file_cut_short_is_told_before_training(cases, tmp_path, victim):
    """Its head is whole: only reading it to the end finds it."""
    whole = getattr(cases[0], victim).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: whole.index(b"IDAT") + 9])
    cut = replace(cases[0], id="cut", **{victim: tmp_path / "cut.png"})
    assert scene_size(tmp_path / "cut.png") == (8, 12)
    with pytest.raises(DataError, match=r"cut\.png: cannot be read as a picture"):
        SceneSet.from_cases([*cases, cut], SceneReader(SIZE))


def test_what_opening_read_is_not_read_again(cases):
    reader = Counting(SIZE)
    scenes = SceneSet.from_cases(cases, reader)
    before = sorted(reader.decoded)
    labelled = sum(case.label is not None for case in cases)
    assert len(before) == len(set(before)) == COUNT + labelled
    scenes.stack(torch.arange(COUNT), 1)
    scenes.marks(torch.tensor([0, 1, 3]))
    assert sorted(reader.decoded) == before


def relabelled(cases: list[Case], folder: Path) -> list[Case]:
    """The same pictures with other labels, of the same names as nothing before."""
    for number, case in enumerate(cases):
        save_grey(folder / f"{case.id}.png", numbers((number,), (8, 12)))
    return [replace(case, label=folder / f"{case.id}.png", values=TRAIN_VALUES) for case in cases]


def test_sets_that_share_images_have_their_own_labels(cases, tmp_path):
    reader = Counting(SIZE)
    scenes = SceneSet.from_cases(cases, reader)
    reader.decoded.clear()
    everything = torch.arange(COUNT)
    round_1 = scenes.sharing(relabelled(cases, tmp_path / "round_1"))
    assert torch.equal(round_1.stack(everything, 1), scenes.stack(everything, 1))
    assert reader.decoded == []
    for _ in range(2):
        assert round_1.marks(everything)[:, 0, 0].tolist() == list(range(COUNT))
    assert len(reader.decoded) == COUNT
    before = SceneReader(SIZE).label(cases[0])
    assert torch.equal(scenes.marks(torch.tensor([0]))[0], torch.from_numpy(before))
    assert round_1.kept_bytes == scenes.kept_bytes + COUNT * LABEL_BYTES
    with pytest.raises(DataError, match="no case"):
        scenes.sharing([])


@pytest.mark.parametrize("left", [0, LABEL_BYTES - 1, 2 * LABEL_BYTES, COUNT * LABEL_BYTES])
def test_sets_that_share_images_keep_no_more_together(cases, tmp_path, left):
    """The target's pictures without labels, then a round's labels in what they leave."""
    keep = COUNT * IMAGE_BYTES + left
    bare = [replace(case, label=None) for case in cases]
    scenes = SceneSet.from_cases(bare, SceneReader(SIZE), keep_bytes=keep)
    assert scenes.kept_bytes == COUNT * IMAGE_BYTES
    round_1 = scenes.sharing(relabelled(cases, tmp_path))
    assert round_1.marks(torch.arange(COUNT))[:, 0, 0].tolist() == list(range(COUNT))
    assert round_1.kept_bytes == COUNT * IMAGE_BYTES + left // LABEL_BYTES * LABEL_BYTES
    assert scenes.kept_bytes == COUNT * IMAGE_BYTES
