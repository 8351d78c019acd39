"""``rank``: what is written for a comparison's networks, and that no target label is read for their order."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from prostate_uda.cli import app
from prostate_uda.errors import CheckpointError
from prostate_uda.recipes.rank import agreement, rank


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


def test_the_same_again(comparison: Path) -> None:
    assert rank(comparison)["rows"][1] == rank(comparison, comparison / "again.json")["rows"][1]


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


def test_no_comparison_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no finished run of a comparison"):
        rank(tmp_path)
