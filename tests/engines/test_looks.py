"""Classes that vanish, from labels or from what a network predicts: told, logged, and nothing else."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from prostate_uda.data.batch import Batch
from prostate_uda.data.slices import SliceSet
from prostate_uda.engines.guards import Looks, label_counts, predicted, vanished
from prostate_uda.engines.stages import Pairs
from prostate_uda.maths.losses import IGNORE
from prostate_uda.methods import SelfTraining
from tests.builders import random_batch
from tests.builders import tiny_deeplab as tiny
from tests.engines.short_stages import ZONES, Drawn, Heard, run, shaped


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
    looks, image = Looks(2, ZONES), random_batch(1).image
    whole, without = tiny(), biased(1, -1e4)
    assert bool((predicted(whole, image) > 20).all())
    told = [looks.look(network, image) for network in (whole, without, without, without, whole, without, without)]
    assert told == [[], [], ["PZ"], [], [], [], ["PZ"]]  # told once, and again when it has come back in between
    assert looks.lost == ["PZ"]
    never = Looks(2)
    assert [never.look(without, image) for _ in range(4)] == [[]] * 4
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
