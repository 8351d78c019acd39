"""``judge_run`` with two networks that paint different boxes: every file and number is that of the right one."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prostate_uda.data.domains import Split
from prostate_uda.engines.evaluation import Segmenter, judge
from prostate_uda.engines.inference import SliceStackInferer
from prostate_uda.recipes import AdaptSettings, evaluate
from prostate_uda.recipes.judging import judge_run
from prostate_uda.recipes.record import Record
from prostate_uda.recipes.zone_world import ZoneWorld, open_zones
from tests.recipes.conftest import TINY, Heard

STAGES = ("source_only", "adapted")


class Boxes(nn.Module):
    """Paints TZ and behind it PZ in the middle of every slice, whatever it is shown."""

    def __init__(self, half: int, zones: tuple[int, ...] = (1, 2)) -> None:
        super().__init__()
        self.half, self.zones = half, zones

    def forward(self, slices: Tensor) -> Tensor:
        labels = torch.zeros(slices.shape[0], *slices.shape[-2:], dtype=torch.long)
        row, column = (size // 2 for size in labels.shape[1:])
        columns = slice(column - self.half, column + self.half)
        for zone, rows in ((2, slice(row - self.half, row)), (1, slice(row, row + self.half))):
            if zone in self.zones:
                labels[:, rows, columns] = zone
        return 9 * nn.functional.one_hot(labels, 3).movedim(-1, 1).float()


@pytest.fixture(scope="module")
def world(cache: Path) -> ZoneWorld:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROSTATE_UDA_CACHE", str(cache))
        return open_zones(AdaptSettings(**TINY), Heard())


def judged(out: Path, world: ZoneWorld, source_only: nn.Module, adapted: nn.Module) -> tuple[dict, list[dict], Heard]:
    """The record as written, the rows of ``cases.csv``, and what was told."""
    out.mkdir()
    heard = Heard()
    networks = (
        Segmenter(network, world.pipeline.preprocessing, SliceStackInferer(), torch.device("cpu"))
        for network in (source_only, adapted)
    )
    judge_run(out, Record.begin(out / "run.json", {}), world, *networks, heard)
    with (out / "cases.csv").open() as file:
        return json.loads((out / "run.json").read_text()), list(csv.DictReader(file)), heard


def by_hand(out: Path, world: ZoneWorld) -> dict[tuple[str, str], dict]:
    """Every prediction's file against its case's label."""
    found = {}
    for stage in STAGES:
        for case in world.target_split.test:
            image = nibabel.load(out / "predictions" / stage / f"{case.id}.nii.gz")
            truth = np.asarray(nibabel.load(case.label).dataobj).astype(np.uint8)
            found[case.id, stage] = judge(np.asarray(image.dataobj), truth, image.header.get_zooms())
    return found


def test_every_number_is_its_own_networks(world: ZoneWorld, tmp_path: Path) -> None:
    small, large = Boxes(6), Boxes(12)
    record, rows, heard = judged(tmp_path / "run", world, small, large)
    expected = by_hand(tmp_path / "run", world)
    target = {(row["case"], row["stage"]): row for row in rows if row["stage"] in STAGES}
    assert target.keys() == expected.keys()
    for key, scores in expected.items():
        for name, value in scores.items():
            assert float(target[key][name]) == pytest.approx(value, rel=1e-4), (key, name)
        assert scores["WP_true_mL"] > 0
        assert scores["WP_hd95_mm"] > scores["WP_assd_mm"] > 0
    for stage in STAGES:
        mine = [scores for (_, name), scores in expected.items() if name == stage]
        volumes = [scores["WP_mL"] for scores in mine]
        told = record["volumes_mL"][stage]["WP"]
        assert [told["mean"], told["min"], told["max"]] == pytest.approx(
            [np.mean(volumes), min(volumes), max(volumes)], rel=1e-4
        )
        assert record["results"][stage]["TZ"] == pytest.approx(np.mean([scores["TZ"] for scores in mine]))
    sizes = [record["volumes_mL"][stage]["WP"]["mean"] for stage in STAGES]
    assert sizes[1] / sizes[0] == pytest.approx((12 / 6) ** 2, rel=0.1)
    assert not heard.notes


def test_the_source_is_judged_with_the_source_only_network(world: ZoneWorld, tmp_path: Path) -> None:
    record, rows, _ = judged(tmp_path / "run", world, Boxes(12), Boxes(0))
    source = [row for row in rows if row["stage"] == "source_only_on_source"]
    assert [row["case"] for row in source] == [case.id for case in world.source_split.test]
    mean = np.mean([float(row["WP"]) for row in source])
    assert record["results"]["source_only_on_source"]["WP"] == pytest.approx(mean)
    assert mean > 0.3


def test_evaluate_agrees_with_the_run(world: ZoneWorld, tmp_path: Path) -> None:
    """On predictions that hold something: two empty label maps agree about everything."""
    record, _, _ = judged(tmp_path / "run", world, Boxes(6), Boxes(12))
    (tmp_path / "labels").mkdir()
    for case in world.target_split.test:
        (tmp_path / "labels" / f"{case.id}.nii.gz").write_bytes(case.label.read_bytes())
    for stage in STAGES:
        _, means = evaluate(tmp_path / "run" / "predictions" / stage, tmp_path / "labels")
        assert means == pytest.approx(record["results"][stage])
        assert min(means.values()) > 0.1


def test_pictures_of_every_case_and_a_strip(world: ZoneWorld, tmp_path: Path) -> None:
    judged(tmp_path / "run", world, Boxes(6), Boxes(12))
    names = {path.stem for path in (tmp_path / "run" / "pictures").glob("*.png")}
    assert names == {"strip", *(case.id for case in world.target_split.test)}


@pytest.mark.parametrize(
    ("adapted", "missing"),
    [(Boxes(0), ("PZ", "TZ")), (Boxes(6, (2,)), ("PZ",)), (Boxes(6, (1,)), ("TZ",)), (Boxes(6), ())],
    ids=["nothing", "TZ alone", "PZ alone", "both"],
)
def test_what_was_not_found_is_told(
    world: ZoneWorld, tmp_path: Path, adapted: nn.Module, missing: tuple[str, ...]
) -> None:
    """Of the adapted network: a source-only network that finds nothing is what adaptation is for."""
    _, _, heard = judged(tmp_path / "run", world, Boxes(0), adapted)
    ids = ", ".join(case.id for case in world.target_split.test)
    assert len(heard.notes) == len(missing)
    for note, zone in zip(heard.notes, missing, strict=True):
        assert note.startswith(f"warning: no {zone} in 2 of 2 adapted predictions ({ids}); look at pictures/")


def test_without_labels_there_are_volumes_alone(world: ZoneWorld, tmp_path: Path) -> None:
    unlabelled = tuple(replace(case, label=None) for case in world.target_split.test)
    blind = replace(world, target_split=Split(world.target_split.train, unlabelled))
    record, rows, _ = judged(tmp_path / "run", blind, Boxes(6), Boxes(12))
    for stage in STAGES:
        assert set(record["results"][stage].values()) == {None}
        assert record["volumes_mL"][stage]["PZ"]["min"] > 0
    assert {row[name] for row in rows if row["stage"] in STAGES for name in ("WP", "WP_assd_mm", "WP_true_mL")} == {""}
