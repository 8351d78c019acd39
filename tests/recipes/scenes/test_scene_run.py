"""``adapt`` on driving scenes: the same command, trainer and methods; pictures in, PNG labels and IoU out."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import jaccard_score

from prostate_uda.data.scene_classes import CITYSCAPES_VALUES, SCENE_CLASSES, SYNTHIA_13, SYNTHIA_16, TRAIN_VALUES
from prostate_uda.data.scene_images import read_scene_label
from prostate_uda.engines import checkpoints
from prostate_uda.errors import DataError, SettingsError
from prostate_uda.recipes import AdaptSettings, adapt
from prostate_uda.recipes.opening import open_world
from prostate_uda.recipes.recorded import load_network
from prostate_uda.recipes.scene_judging import scene_scores
from prostate_uda.recipes.scene_world import resized
from tests.recipes.conftest import Heard
from tests.recipes.scenes.conftest import STREETS

CPU = torch.device("cpu")


def record(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "run.json").read_text(encoding="utf-8")))


def rows(run: Path, stage: str) -> list[dict[str, str]]:
    with (run / "cases.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["stage"] == stage]


def truth_of(case: str, cache: Path) -> np.ndarray:
    (path,) = cache.rglob(f"{case}_gtFine_labelIds.png")
    return read_scene_label(path, CITYSCAPES_VALUES)


def test_everything_that_a_run_of_scenes_leaves(street_run: Path) -> None:
    found = record(street_run)
    assert found["status"] == "done"
    assert (found["settings"]["normalize"], found["settings"]["augment"]) == ("imagenet", "plain")
    names = found["cases"]["target"]["test"]
    assert len(names) == STREETS["phantom_test"]
    for stage in ("source_only", "adapted"):
        assert sorted(path.stem for path in (street_run / "predictions" / stage).iterdir()) == sorted(names)
    assert sorted(path.stem for path in (street_run / "pictures").iterdir()) == sorted(names)
    labels = sorted(path.name for path in (street_run / "pseudo_labels" / "round_1").iterdir())
    assert labels == sorted([*(f"{case}.png" for case in found["cases"]["target"]["train"]), "thresholds.json"])
    thresholds = json.loads((street_run / "pseudo_labels" / "round_1" / "thresholds.json").read_text(encoding="utf-8"))
    assert tuple(thresholds["thresholds"]) == SCENE_CLASSES
    assert (street_run / "bundle" / "configs" / "inference.json").is_file()


def test_labels_are_of_the_picture_s_own_size_in_train_ids(street_run: Path) -> None:
    for folder in ("predictions/adapted", "pseudo_labels/round_1"):
        for path in (street_run / folder).glob("*.png"):
            with Image.open(path) as image:
                assert (image.size, image.mode) == ((384, 192), "P" if folder.startswith("predictions") else "L")
            label = read_scene_label(path, TRAIN_VALUES)
            assert set(np.unique(label)) <= {*range(19), 255}


@pytest.mark.parametrize("stage", ["source_only", "adapted"])
def test_the_iou_of_the_record_is_scikit_learn_s_over_all_pictures(street_run: Path, cache: Path, stage: str) -> None:
    predicted, true = [], []
    for row in rows(street_run, stage):
        label = read_scene_label(street_run / "predictions" / stage / f"{row['case']}.png", TRAIN_VALUES)
        truth = truth_of(row["case"], cache)
        known = truth != 255
        predicted.append(label[known])
        true.append(truth[known])
    classes = sorted({*np.unique(np.concatenate(true)), *np.unique(np.concatenate(predicted))})
    by_hand = jaccard_score(np.concatenate(true), np.concatenate(predicted), labels=classes, average=None)
    found = record(street_run)["results"][stage]
    for number, name in enumerate(SCENE_CLASSES):
        assert found[name] == (pytest.approx(by_hand[classes.index(number)]) if number in classes else None)
    assert found["mIoU"] == pytest.approx(np.mean(by_hand))


def test_what_adaptation_read_has_no_label(street_run: Path) -> None:
    hashes = record(street_run)["hashes"]
    assert not [name for name in hashes if name.startswith("target/train") and name.endswith("label")]
    assert [name for name in hashes if name.startswith("source/train") and name.endswith("label")]


def test_the_adapted_network_made_the_predictions(street_run: Path) -> None:
    settings = AdaptSettings(**STREETS)
    world = open_world(settings, Heard())
    segmenter = world.segmenter(_Final(load_network(street_run, settings, "round_1", CPU)))
    for case in world.shown():
        pixels, label = segmenter(case.image)
        assert pixels.shape == (192, 384, 3)
        stored = read_scene_label(street_run / "predictions" / "adapted" / f"{case.id}.png", TRAIN_VALUES)
        assert np.array_equal(label, stored)
        probabilities = segmenter.probabilities(case.image)
        assert probabilities.shape == (19, 192, 384)
        assert torch.allclose(probabilities.sum(dim=0), torch.ones(192, 384), atol=1e-5)
        amounts = segmenter.amounts(case)
        assert float(amounts.sum()) == pytest.approx(1)
        assert segmenter.unit(case.image) == 1 / (192 * 384)


class _Final(torch.nn.Module):
    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        final: torch.Tensor = self.network(image).final
        return final


def test_the_same_seed_gives_the_same_bits(street_run: Path, tmp_path: Path) -> None:
    again = adapt(AdaptSettings(**{**STREETS, "prefetch": 0}), tmp_path / "again")
    assert again["results"] == record(street_run)["results"]
    ours, theirs = (
        checkpoints.load(run / "checkpoints" / "round_1.pt")["state"]["network"]
        for run in (tmp_path / "again", street_run)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_class_that_nothing_shows_has_no_iou_and_no_part_in_the_mean() -> None:
    row = dict.fromkeys(
        [f"{name.replace(' ', '_')}_{what}" for name in SCENE_CLASSES for what in ("intersection", "union")], 0
    )
    first, second = ({**row, "road_intersection": both, "road_union": 10, "sky_union": 6} for both in (2, 7))
    found = scene_scores([first, second], range(19))
    assert found["road"] == 9 / 20
    assert found["sky"] == 0
    assert found["car"] is None
    assert found["mIoU"] == pytest.approx((9 / 20 + 0) / 2)
    assert scene_scores([], range(19))["mIoU"] is None


def test_synthia_s_means_leave_out_what_it_never_labels() -> None:
    names = [f"{name.replace(' ', '_')}_{what}" for name in SCENE_CLASSES for what in ("intersection", "union")]
    row = dict.fromkeys(names, 10)
    row |= {"terrain_intersection": 0, "wall_intersection": 0}
    found = scene_scores([row], SYNTHIA_16)
    assert found["mIoU"] == found["mIoU_16"] == pytest.approx(15 / 16)
    assert found["mIoU_13"] == 1
    assert (len(SYNTHIA_16), len(SYNTHIA_13)) == (16, 13)


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [("gta5", (720, 1280), (135, 240)), ("synthia", (760, 1280), (142, 240)), ("cityscapes", (512, 1024), (96, 192))],
)
def test_pictures_are_resized_as_published_or_in_proportion(
    source: str, target: tuple[int, int], said: tuple[int, int]
) -> None:
    full = AdaptSettings(source=source, target="cityscapes")
    assert full.shape == (512, 1024)
    assert resized(full, source) == target
    assert resized(AdaptSettings(source=source, target="cityscapes", size=96), source) == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": "phantom-1.5t"}, "choose two of a kind"),
        ({"depth": 3}, "depth 3: of prostate volumes"),
        ({"spacing_mm": 1.0}, "spacing_mm 1.0: of prostate volumes"),
        ({"label_noise": "symmetric:0.1"}, "of prostate volumes"),
        ({"normalize": "nyul"}, "imagenet"),
    ],
)
def test_what_pictures_do_not_have_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Exception, match=said) as error:
        AdaptSettings(**{**STREETS, **changes})
    assert isinstance(error.value, SettingsError) or error.type.__name__ == "UnknownNameError"


def test_a_damaged_test_picture_stops_a_run_before_it_trains(street_run: Path, cache: Path, tmp_path: Path) -> None:
    import shutil

    (folder,) = cache.glob(f"streets/streets-photo-small-seed0-{STREETS['phantom_train']}+{STREETS['phantom_test']}-v*")
    shutil.copytree(folder, tmp_path / "photo")
    damaged = sorted((tmp_path / "photo").rglob("val/**/*leftImg8bit.png"))[0]
    damaged.write_bytes(damaged.read_bytes()[:400])
    with pytest.raises(DataError, match=damaged.name):
        adapt(AdaptSettings(**{**STREETS, "target_root": tmp_path / "photo"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_round_shares_the_decoded_pictures_of_the_target(street_run: Path) -> None:
    world = open_world(AdaptSettings(**STREETS), Heard())
    folder = street_run / "pseudo_labels" / "round_1"
    cases = [replace(case, label=folder / f"{case.id}.png") for case in world.target_split.train]
    pictures, labels = 3 * 48 * 96 * 3, 3 * 48 * 96
    assert world.target.kept_bytes == pictures
    target, everything = world.with_labels(cases), torch.arange(3)
    assert target.kept_bytes == pictures  # a set of its own would begin with nothing
    assert torch.equal(target.stack(everything, 1), world.target.stack(everything, 1))
    assert target.kept_bytes == pictures
    for place, case in enumerate(cases):
        label = torch.from_numpy(read_scene_label(case.label, TRAIN_VALUES))
        rows, columns = torch.arange(48) * 4 + 2, torch.arange(96) * 4 + 2
        assert torch.equal(target.marks(everything)[place], label[rows][:, columns])
    assert target.kept_bytes == pictures + labels
    assert bool((world.target.marks(everything) == 255).all())


def test_the_network_of_a_round_of_ltir_makes_the_labels_and_is_shared(street_run: Path, tmp_path: Path) -> None:
    warm = {**STREETS, "warm_up": "ltir", "start_from": street_run}
    adapt(AdaptSettings(**warm, method="mrent"), tmp_path / "first")
    rule = json.loads((tmp_path / "first/pseudo_labels/round_1/thresholds.json").read_text(encoding="utf-8"))["rule"]
    assert rule.endswith(" after 4 steps of ltir")
    labeller = checkpoints.load(tmp_path / "first" / "checkpoints" / "round_0.pt")
    assert labeller["method"].startswith("LTIR(")
    assert labeller["state"]["step"] == STREETS["steps"]
    later = {**warm, "start_from": tmp_path / "first"}
    heard = Heard()
    adapt(AdaptSettings(**later, method="mrent"), tmp_path / "second", progress=heard)
    assert any("already done" in note for note in heard.notes), heard.notes
    assert (tmp_path / "second" / "checkpoints" / "round_0.pt").is_file()


@pytest.mark.parametrize("size", [24, 47, 100])
def test_a_crop_that_strides_do_not_divide_is_told_in_rows(size: int) -> None:
    with pytest.raises(SettingsError, match=f"size {size} rows of a crop; allowed are multiples of 8 from 32 on"):
        AdaptSettings(**{**STREETS, "size": size})
