"""``rank``: what is written for a comparison's networks, and that no target label is read for their order."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from prostate_uda.cli import app
from prostate_uda.data.volumes import read_image
from prostate_uda.errors import CheckpointError, SettingsError
from prostate_uda.metrics import zone_dice
from prostate_uda.recipes.infer import load_segmenter
from prostate_uda.recipes.rank import agreement, ask, rank, ranked, read_scans
from prostate_uda.recipes.record import write_rows
from prostate_uda.recipes.recorded import recorded_settings
from prostate_uda.recipes.world import splits
from prostate_uda.recipes.zone_world import zone_volumes
from prostate_uda.transforms.augmentation import other_scanner


@pytest.fixture
def comparison(finished: Path, tmp_path: Path) -> Path:
    """Networks of one seed: one calls everything gland, one everything background; a third has seen labels."""
    for row, background in (("metacorrection", -100.0), ("blind", 100.0), ("oracle", 0.0)):
        shutil.copytree(finished, tmp_path / "runs" / "paper" / "seed-0" / row)
        weights = tmp_path / "runs" / "paper" / "seed-0" / row / "bundle" / "models" / "model.pt"
        state = torch.load(weights, weights_only=True)
        for name, value in state.items():
            if "head" in name and name.endswith("bias"):
                value[0] += background
        torch.save(state, weights)
    return tmp_path


def test_a_blind_network_is_last(comparison: Path) -> None:
    told = CliRunner().invoke(app, ["rank", str(comparison)])
    assert told.exit_code == 0, told.output
    written = json.loads((comparison / "rank.json").read_text(encoding="utf-8"))
    rows = {row["row"]: row for row in written["rows"]}
    assert set(rows) == {"blind", "metacorrection"}  # the oracle has seen labels and is no candidate
    assert rows["blind"]["plausibility"] is None  # -inf
    assert rows["blind"]["mean_rank"] < rows["metacorrection"]["mean_rank"]
    assert 0 <= rows["metacorrection"]["consistency"] <= 1
    assert rows["metacorrection"]["dice"] == pytest.approx(rows["blind"]["dice"])  # both have the same cases.csv
    assert "metacorrection" in told.output


def test_the_order_is_the_same_whatever_the_dice(comparison: Path) -> None:
    before = rank(comparison)
    for cases in comparison.rglob("cases.csv"):
        with cases.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        write_rows(cases, [{**row, "PZ": "0.5", "TZ": "0.5", "WP": "0.5"} for row in rows])
    after = rank(comparison)
    assert {row.pop("dice") for row in after["rows"]} == {50.0}
    assert [{name: row[name] for name in row if name != "dice"} for row in before["rows"]] == after["rows"]


def test_the_criteria_by_hand(comparison: Path) -> None:
    """Slice by slice with the bare network: the image, its mirror image through the other scanner, and mL of voxels."""
    run = comparison / "runs" / "paper" / "seed-0" / "metacorrection"
    settings = recorded_settings(json.loads((run / "run.json").read_text())["settings"])
    source, target, _ = splits(settings)
    segmenter = load_segmenter(run, torch.device("cpu"))
    agreed, volumes = [], []
    for number, case in enumerate(target.train):
        image = torch.as_tensor(np.asarray(segmenter.preprocessing({"image": case.image})["image"]))[0]
        plain, mirrored, scanner = [], [], other_scanner()
        for place in range(image.shape[2]):
            piece = image[:, :, place].T[None]  # rows run anterior to posterior, columns right to left
            scanner.set_random_state(seed=(settings.seed * 1009 + number) * 1009 + place)
            seen = torch.as_tensor(np.asarray(scanner({"image": piece.flip(2)})["image"]))
            with torch.inference_mode():
                plain.append(segmenter.network(piece[None])[0].argmax(dim=0))
                mirrored.append(segmenter.network(seen[None])[0].argmax(dim=0).flip(1))
        one, other = torch.stack(plain), torch.stack(mirrored)
        agreed.append(sum(zone_dice(other, one)[zone] for zone in ("PZ", "TZ", "WP")) / 3)
        thickness = read_image(case.image, 0).grid.spacing[2]
        voxel_ml = settings.grid.spacing_mm**2 * thickness / 1000
        volumes.append([float((one == zone).sum()) * voxel_ml for zone in (1, 2)])
    scans = read_scans(segmenter, target.train, settings.seed)
    found = ask(segmenter, scans, zone_volumes(source.train)[1:])
    assert found["consistency"] == pytest.approx(np.nanmean(agreed), abs=1e-3)
    ratios = np.mean(volumes, axis=0) / zone_volumes(source.train)[1:].numpy()
    assert found["plausibility"] == pytest.approx(-np.abs(np.log(ratios)).sum(), abs=1e-3)


def test_other_training_scans_than_the_runs_are_refused(comparison: Path) -> None:
    path = comparison / "runs" / "paper" / "seed-0" / "blind" / "run.json"
    record = json.loads(path.read_text())
    name = next(name for name in record["hashes"] if name.startswith("target/train/"))
    record["hashes"][name] = "0" * 64
    path.write_text(json.dumps(record))
    with pytest.raises(SettingsError, match=f"made from other files: {name}"):
        rank(comparison)


def test_agreement_by_hand() -> None:
    rows = [
        {"protocol": "paper", "seed": 0, "row": row, "dice": dice, **dict.fromkeys(CRITERIA, score)}
        for row, dice, score in (("a", 50.0, 0.1), ("b", 70.0, 0.9), ("c", 80.0, 0.5))
    ]
    found = agreement(rows)["paper"]["consistency"]
    assert found["spearman"] == pytest.approx(0.5)  # ranks 1 2 3 against 1 3 2: 1 - 6·2 / (3·8)
    assert found["chosen"] == ["b"]
    assert found["regret"] == pytest.approx(10)
    unlabelled = [{**row, "dice": None} for row in rows]
    assert agreement(unlabelled) == {}


CRITERIA = ("consistency", "certainty", "plausibility", "mean_rank")


def test_over_all_protocols_by_hand() -> None:
    """Plain: a, b; strong: c, better than both by every criterion, and d, worse than both."""
    plain = {"a": (0.5, 60.0), "b": (0.4, 70.0)}
    strong = {"c": (0.9, 65.0), "d": (0.1, 50.0)}
    rows = ranked(
        [
            {"protocol": protocol, "seed": 0, "row": row, "dice": dice, **dict.fromkeys(CRITERIA[:3], score)}
            for protocol, networks in (("paper", plain), ("strong", strong))
            for row, (score, dice) in networks.items()
        ]
    )
    assert [(row["row"], row["mean_rank"], row["rank_in_any"]) for row in rows] == [
        ("a", 1, 2),
        ("b", 0, 1),
        ("c", 1, 3),
        ("d", 0, 0),
    ]
    found = agreement(rows)
    assert [*found] == ["any"]  # a protocol of two networks is not judged
    assert found["any"]["mean_rank"]["chosen"] == ["c (strong)"]
    assert found["any"]["mean_rank"]["regret"] == pytest.approx(5)
    assert found["any"]["mean_rank"]["spearman"] == pytest.approx(0.4)  # c a b d against b c a d: 1 - 6·6 / (4·15)


def test_no_comparison_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no finished run of a comparison"):
        rank(tmp_path)
