"""Classes that vanish, from labels or from what a network predicts: told, logged, and nothing else."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from prostate_uda.data.batch import Batch
from prostate_uda.data.slices import BatchStream, SliceSet
from prostate_uda.engines import checkpoints
from prostate_uda.engines.guards import label_counts, vanished
from prostate_uda.engines.looks import SHOWN, Looks, Sample, predicted, spread
from prostate_uda.engines.stages import Pairs
from prostate_uda.maths.losses import IGNORE
from prostate_uda.methods import SelfTraining
from prostate_uda.transforms import AUGMENTATIONS
from tests.builders import random_batch
from tests.builders import tiny_deeplab as tiny
from tests.engines.short_stages import ZONES, Drawn, Heard, Stops, checkpoint, run, shaped


@pytest.mark.parametrize(
    ("counts", "lost"),
    [
        ([1000, 30, 20], []),
        ([1000, 0, 20], ["PZ"]),
        ([1_000_000, 9, 20], ["PZ"]),
        ([1_000_000, 11, 20], []),
        ([5, 0, 0], ["PZ", "TZ"]),
        ([0, 0, 0], ["background", "PZ", "TZ"]),
    ],
)
def test_a_class_has_vanished_where_hardly_a_pixel_has_it(counts: Sequence[int], lost: list[str]) -> None:
    assert vanished(torch.tensor(counts), ZONES) == lost
    assert vanished(torch.tensor(counts, dtype=torch.float64), ZONES) == lost


def test_labels_are_counted_over_all_images_and_ignored_pixels_are_not() -> None:
    labels = torch.full((40, 4, 4), IGNORE, dtype=torch.uint8)
    labels[:39, 0, 0], labels[39, 1] = 2, 0
    place = torch.zeros(40, dtype=torch.long)
    images = SliceSet(torch.zeros(40, 4, 4), labels, place, place + 39, ("case",) * 40)
    counts = label_counts(images, 3)
    assert counts.tolist() == [4, 0, 39]
    assert vanished(counts, ZONES) == ["PZ"]


def test_a_look_changes_nothing_of_the_network() -> None:
    network = tiny().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    counts = predicted(network, random_batch(1).image)
    assert int(counts.sum()) == 2 * 32 * 32
    assert network.training
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    assert not predicted(network.eval(), random_batch(1).image).equal(torch.zeros(3))
    assert not network.training


def biased(number: int, by: float) -> torch.nn.Module:
    """A network that says nothing but a class, or never says it."""
    network = tiny()
    with torch.no_grad():
        for branch in network.heads.levels[-1].branches:  # type: ignore[union-attr]
            branch.bias[number] += by  # type: ignore[index, operator]
    return network


def test_a_class_is_lost_when_it_was_there_and_is_in_none_of_the_looks_since() -> None:
    image = random_batch(1).image
    looks = Looks(2, [image], ZONES)
    whole, without = tiny(), biased(1, -1e4)
    assert bool((predicted(whole, image) > 20).all())
    told = [looks.look(network) for network in (whole, without, without, without, whole, without, without)]
    assert told == [[], [], ["PZ"], [], [], [], ["PZ"]]  # told once, and again when it has come back in between
    assert looks.lost == ["PZ"]
    never = Looks(2, [image])
    assert [never.look(without) for _ in range(4)] == [[]] * 4
    assert never.seen == {"class 0", "class 2"}


def background(step: int, batch: Batch) -> Batch:
    shown = shaped(step, batch)
    return replace(shown, label=torch.zeros_like(shown.label))


@pytest.mark.parametrize("collapses", [True, False])
def test_a_network_that_falls_to_one_class_is_told_and_logged(collapses: bool, tmp_path: Path) -> None:
    change, rate = (background, 1e-2) if collapses else (shaped, 1e-4)
    seen = Pairs(Drawn(100, ("a", "b"), change), Drawn(200, ("c", "d"), change))  # type: ignore[arg-type]
    heard, network = Heard(), tiny(frozen_bn=True)
    run(tmp_path, SelfTraining(), seen, steps=20, heard=heard, network=network, rate=rate)
    logged = [json.loads(line) for line in (tmp_path / "logs" / "round_1.jsonl").read_text("utf-8").splitlines()]
    lost = [line["step"] for line in logged if "vanished" in line]
    if not collapses:
        assert not heard.notes
        assert not lost
        return
    assert len(heard.notes) in (1, 2)  # the zones may go one after the other
    assert all(note.startswith("warning: round 1: a try, step ") for note in heard.notes)
    assert "no longer predicts" in heard.notes[0]
    assert all(zone in "".join(heard.notes) for zone in ("PZ", "TZ"))
    assert logged[-1]["vanished"] == ["PZ", "TZ"]
    assert all(step % 2 == 0 for step in lost)


@pytest.mark.parametrize("length", [1, 5, 16, 17, 100, 640, 2975])
def test_a_sample_is_spread_over_a_set(length: int) -> None:
    index = spread(length)
    assert len(index) == min(SHOWN, length)
    assert index.equal(spread(length))
    assert index[0] >= 0
    assert index[-1] < length
    stretch = math.ceil(length / len(index))
    gaps = index.diff(prepend=torch.tensor([-1]), append=torch.tensor([length]))
    assert 1 <= int(gaps.min()) <= int(gaps.max()) < 2 * stretch + 1


def test_a_sample_is_not_in_step_with_the_slices_of_cases() -> None:
    """Every image from the same place in its case might show no prostate at all."""
    for slices in (10, 20, 40):
        places = {int(at) % slices for at in spread(32 * slices)}
        assert len(places) > slices // 3


def drawn(batch_size: int, count: int = 19) -> BatchStream:
    """A stream of images each of another grey, of which augmentation leaves none as it is."""
    grey, place = torch.arange(count).float(), torch.zeros(count, dtype=torch.long)
    images = grey[:, None, None].expand(-1, 32, 32).clone()
    slices = SliceSet(images, torch.zeros(count, 32, 32, dtype=torch.uint8), place, place + count - 1, ("a",) * count)
    return BatchStream(slices, batch_size=batch_size, depth=1, seed=0, name="x", augment=AUGMENTATIONS["strong"]())


def test_a_sample_is_the_same_images_as_they_are_at_any_batch_size() -> None:
    whole = torch.cat([*Sample(drawn(16))])
    assert whole[:, 0, 0, 0].tolist() == [float(at) for at in spread(19)]
    for batch_size in (1, 3, 40):
        sample = Sample(drawn(batch_size))
        assert {len(chunk) for chunk in [*sample][:-1]} <= {batch_size}
        assert torch.cat([*sample]).equal(whole)
        assert torch.cat([*sample]).equal(whole)


class Greys(torch.nn.Module):
    """Says of each pixel the class that its grey is."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, image: torch.Tensor) -> "torch.Tensor":
        from prostate_uda.networks import Levels

        classes = torch.arange(19.0)[None, :, None, None]
        return Levels((-(image * self.weight - classes).abs(),), image.shape[2:])


def test_classes_that_are_rare_among_many_are_not_lost_where_batches_are_small() -> None:
    """A batch of one shows a class in one of nineteen; the same looks at batches would lose it."""
    stream, network = drawn(1), Greys()
    fixed = Looks(3, Sample(stream))
    assert [fixed.look(network) for _ in range(9)] == [[]] * 9
    assert len(fixed.seen) == SHOWN

    def batches() -> Iterator[torch.Tensor]:
        yield next(singles)

    singles = (stream.slices.stack(torch.tensor([at]), 1) for at in range(9))

    class Each:
        def __iter__(self) -> Iterator[torch.Tensor]:
            return batches()

    false = Looks(3, Each())
    assert any(false.look(network) for _ in range(9))


def test_what_looks_know_stays_and_what_is_lost_is_told_once() -> None:
    image = random_batch(1).image
    first, whole, without = Looks(2, [image], ZONES), tiny(), biased(1, -1e4)
    first.look(whole)
    first.look(without)
    second = Looks(2, [image], ZONES)
    second.load_state_dict(first.state_dict())
    assert second.look(without) == first.look(without) == ["PZ"]
    third = Looks(2, [image], ZONES)
    third.load_state_dict(second.state_dict())
    assert third.look(without) == []
    assert third.lost == ["PZ"]


def collapsing() -> Pairs:
    return Pairs(Drawn(100, ("a", "b"), background), Drawn(200, ("c", "d"), background))  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [2, 4, 6, 9])
def test_a_stage_that_is_taken_up_tells_and_logs_what_one_in_one_piece_does(steps: int, tmp_path: Path) -> None:
    whole, first, second = Heard(), Stops(steps), Heard()
    more = {"steps": 20, "rate": 1e-2}
    run(tmp_path / "whole", SelfTraining(), collapsing(), heard=whole, network=tiny(frozen_bn=True), **more)
    with pytest.raises(InterruptedError):
        run(tmp_path / "again", SelfTraining(), collapsing(), heard=first, network=tiny(frozen_bn=True), **more)
    run(tmp_path / "again", SelfTraining(), collapsing(), heard=second, network=tiny(frozen_bn=True), **more)
    assert whole.notes
    assert first.notes + second.notes == whole.notes
    logs = [(tmp_path / name / "logs" / "round_1.jsonl").read_text("utf-8") for name in ("whole", "again")]
    assert logs[0] == logs[1]
    known = [checkpoints.load(checkpoint(tmp_path / name))["looks"] for name in ("whole", "again")]
    assert str(known[0]) == str(known[1])
    assert len(known[0]["recent"]) == 3


def test_a_checkpoint_of_an_older_version_is_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path / "older", SelfTraining(), collapsing(), steps=4)
    content = checkpoints.load(checkpoint(tmp_path / "older"))
    del content["looks"], content["format"]
    checkpoints.save(checkpoint(tmp_path / "older"), content)
    older = run(tmp_path / "older", SelfTraining(), collapsing())
    whole = run(tmp_path / "whole", SelfTraining(), collapsing())
    torch.testing.assert_close(older.network.state_dict(), whole.network.state_dict(), rtol=0, atol=0)
    assert len(checkpoints.load(checkpoint(tmp_path / "older"))["looks"]["recent"]) == 2
