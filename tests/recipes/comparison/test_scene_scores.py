"""Scenes' mathematics: sums of counts by hand and against one confusion matrix, differences, and SYNTHIA's means."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch

from prostate_uda.data.scene_classes import SCENE_CLASSES, SYNTHIA_13, SYNTHIA_16
from prostate_uda.errors import CheckpointError
from prostate_uda.metrics import class_iou, confusion, intersection_union
from prostate_uda.recipes import AdaptSettings
from prostate_uda.recipes.comparison.grid import CompareSettings, Variant, plan
from prostate_uda.recipes.comparison.scene_scores import SceneScoring, underscored
from prostate_uda.recipes.comparison.scores import ZONES, scoring_of
from prostate_uda.recipes.comparison.table import make_table

NAMES = [underscored(name) for name in SCENE_CLASSES]
IGNORE = 255


def scene(**found: tuple[int, int]) -> dict[str, float]:
    """One image's counts: class to intersection and union; 0 of the others."""
    row = {f"{name}_{what}": 0.0 for name in NAMES for what in ("intersection", "union")}
    for name, (both, either) in found.items():
        row |= {f"{name}_intersection": both, f"{name}_union": either}
    return row


def pictures(seed: int, images: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    truth = torch.randint(19, (images, 40, 50), generator=drawn)
    other = torch.randint(19, truth.shape, generator=drawn)
    predicted = torch.where(torch.rand(truth.shape, generator=drawn) < 0.4, other, truth)
    return torch.where(torch.rand(truth.shape, generator=drawn) < 0.1, IGNORE, truth), predicted


def counted(truth: torch.Tensor, predicted: torch.Tensor) -> dict[str, dict[str, float]]:
    """Images as a run's cases."""
    found = {}
    for number, (label, guess) in enumerate(zip(truth, predicted, strict=True)):
        both, either = intersection_union(confusion(guess, label, 19))
        pairs = zip(NAMES, both.tolist(), either.tolist(), strict=True)
        found[f"case_{number}"] = scene(**{name: (one, other) for name, one, other in pairs})
    return found


def test_which_scores_a_source_has() -> None:
    assert scoring_of("phantom-3t") is ZONES
    full, synthia = scoring_of("gta5"), scoring_of("synthia")
    assert list(full.measures) == [*NAMES, "mIoU"]
    assert list(synthia.measures) == [*(NAMES[place] for place in SYNTHIA_16), "mIoU", "mIoU_13"]
    assert [name for name, measure in synthia.measures.items() if measure.brief] == ["mIoU", "mIoU_13"]
    assert synthia.measures["mIoU_13"].title == "mIoU*"
    assert [measure.title for measure in synthia.measures.values() if measure.title.endswith("*")] == [
        *("wall*", "fence*", "pole*", "mIoU*")
    ]


@pytest.mark.parametrize("source", ["gta5", "synthia"])
def test_scores_are_those_of_all_pixels_together(source: str) -> None:
    truth, predicted = pictures(0)
    iou = 100 * class_iou(confusion(predicted, truth, 19))
    found = scoring_of(source).of_cases(counted(truth, predicted))
    places = range(19) if source == "gta5" else SYNTHIA_16
    expected = {NAMES[place]: iou[place].item() for place in places} | {"mIoU": iou[[*places]].mean().item()}
    if source == "synthia":
        expected |= {"mIoU_13": iou[[*SYNTHIA_13]].mean().item()}
    assert found == pytest.approx(expected)


def test_by_hand() -> None:
    """Counts are summed, not ratios: road has (1 + 8) / (10 + 10); a class that is nowhere has no part in the mean."""
    cases = {"a": scene(road=(1, 10), sky=(3, 4)), "b": scene(road=(8, 10)), "c": scene(car=(0, 7))}
    found = scoring_of("gta5").of_cases(cases)
    assert (found["road"], found["sky"], found["car"]) == pytest.approx((45, 75, 0))
    assert found["mIoU"] == pytest.approx((45 + 75 + 0) / 3)
    assert math.isnan(found["train"])


def test_images_without_a_label_are_left_out() -> None:
    unlabelled = dict.fromkeys(scene(), math.nan)
    scoring = scoring_of("gta5")
    found = scoring.of_cases({"a": scene(road=(1, 2)), "b": unlabelled})
    assert found["mIoU"] == pytest.approx(50)
    assert all(math.isnan(value) for value in scoring.of_cases({"b": unlabelled}).values())
    assert all(math.isnan(value) for value in scoring.of_cases({}).values())


def test_a_difference_is_that_of_the_data_sets_scores() -> None:
    """Mean over seeds of each seed's difference; the other network's are of the same images."""
    ours, theirs, ahead = {}, {}, []
    scoring = scoring_of("synthia")
    for seed in range(2):
        truth, predicted = pictures(seed)
        worse = torch.where(torch.rand(truth.shape, generator=torch.Generator().manual_seed(9)) < 0.2, 0, predicted)
        mine, others = counted(truth, predicted), counted(truth, worse)
        ours |= {(f"{seed}/{case}", seed, case): row for case, row in mine.items()}
        theirs |= {(f"{seed}/{case}", seed, case): row for case, row in others.items()}
        ahead.append(
            {name: scoring.of_cases(mine)[name] - scoring.of_cases(others)[name] for name in ("mIoU", "mIoU_13")}
        )
    theirs["of nobody", 7, "x"] = scene(road=(1, 1))
    found = scoring.difference(ours, theirs)
    assert set(found) == {"mIoU", "mIoU_13"}
    for name, told in found.items():
        assert told["mean"] == pytest.approx((ahead[0][name] + ahead[1][name]) / 2)
        assert 0 < told["low"] < told["mean"] < told["high"]


def write_run(folder: Path, cases: dict[str, dict[str, float]], *, images: str = "") -> None:
    """What a finished run leaves, as far as a table reads it."""
    folder.mkdir(parents=True)
    hashes = {f"target/test/{case}/image": f"{case}{images}" for case in cases}
    (folder / "run.json").write_text(
        json.dumps({"status": "done", "settings": {}, "timing": {}, "hashes": hashes}), encoding="utf-8"
    )
    stages = ("source_only", "adapted", "source_only_on_source")
    rows = [
        {"case": case, "stage": stage, **{name: int(value) if stage == "adapted" else 0 for name, value in row.items()}}
        for stage in stages
        for case, row in cases.items()
    ]
    with (folder / "cases.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def scenes_table(
    root: Path, *variants: Variant, source: str = "gta5", target: str = "cityscapes", images: int = 3
) -> dict:
    """The table of two seeds under one protocol; rows get better in their order."""
    common = AdaptSettings(source=source, target=target, method="source-only")
    settings = CompareSettings(common=common, variants=variants, seeds=(0, 1), protocols=("paper",))
    runs = plan(settings)
    order = list(dict.fromkeys(run.row for run in runs))
    for run in runs:
        truth, predicted = pictures(run.settings.seed, images)
        good = (1 + order.index(run.row)) / (2 * len(order))
        better = torch.rand(truth.shape, generator=torch.Generator().manual_seed(3)) < good
        guess = torch.where(better & (truth != IGNORE), truth, predicted)
        write_run(root / run.folder, counted(truth, guess), images=str(run.settings.seed))
    table = make_table(settings, runs, root)
    return {"command": "prostate-uda compare", **table, "failed": {}}


def test_a_table_of_scenes(tmp_path: Path) -> None:
    table = scenes_table(tmp_path, Variant("dmlc", "dmlc"))
    rows = table["protocols"]["paper"]
    assert list(rows) == ["source-only", "dmlc"]
    scoring = scoring_of("gta5")
    cases = scoring.read_cases(tmp_path / "paper" / "seed-1" / "dmlc")
    assert rows["dmlc"]["mIoU"]["seeds"][1] == scoring.of_cases(cases)["mIoU"]
    told = rows["dmlc"]["against"]["source-only"]["mIoU"]
    assert told["mean"] == pytest.approx(rows["dmlc"]["mIoU"]["mean"] - rows["source-only"]["mIoU"]["mean"])
    assert 0 < told["low"] < told["high"]
    best = table["best"]["paper"]
    assert (best["method"], best["runner_up"]) == ("dmlc", "source-only")
    assert list(table["units"]) == [*NAMES, "mIoU", "gap_closed"]
    assert "pseudo_labels" not in table


def test_cases_without_their_counts_are_not_read(tmp_path: Path) -> None:
    """A class that is silently not there would raise the mean."""
    scoring = scoring_of("gta5")
    assert isinstance(scoring, SceneScoring)
    (tmp_path / "cases.csv").write_text("case,stage,road_intersection,road_union\na,adapted,1,2\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match="have it run again"):
        scoring.read_cases(tmp_path)
    header = ",".join(scoring.columns)
    (tmp_path / "cases.csv").write_text(f"case,stage,{header}\na,adapted{',' * 38}\n", encoding="utf-8")
    assert all(math.isnan(value) for value in scoring.read_cases(tmp_path)["a"].values())
