"""One seed, one result: in another process, with files made and read anew, and with other numbers of workers."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from prostate_uda.data.slices import SliceSet
from prostate_uda.engines import checkpoints
from prostate_uda.engines.guards import not_finite
from prostate_uda.engines.observers import Silent
from prostate_uda.recipes import AdaptSettings
from prostate_uda.recipes.opening import open_world
from tests.contracts.test_methods import assert_equal
from tests.recipes.conftest import TINY

STAGES = ("source", "predictor", "round_1")


def elsewhere(out: Path, cache: Path, **changes: object) -> None:
    """The tiny run in a process of its own, with a cache of its own and another order of sets."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in {**TINY, **changes}.items()]
    environment = {
        **os.environ,
        "PROSTATE_UDA_CACHE": str(cache),
        "PYTHONHASHSEED": "4242",
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    command = [sys.executable, "-m", "prostate_uda", "adapt", f"--out={out}", *flags]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def files(out: Path) -> dict[str, bytes]:
    """What a run says and draws on scans, by its place."""
    kinds = ("pseudo_labels/**/*.nii.gz", "pseudo_labels/**/*.json", "predictions/**/*.nii.gz", "cases.csv")
    return {str(path.relative_to(out)): path.read_bytes() for kind in kinds for path in sorted(out.glob(kind))}


@pytest.mark.slow
def test_a_run_in_another_process_is_the_same_bit_for_bit(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    elsewhere(out, tmp_path / "cache", prefetch=0, checkpoint_every=3)
    for stage in STAGES:
        mine, theirs = (checkpoints.load(run / "checkpoints" / f"{stage}.pt") for run in (finished, out))
        for content in (mine, theirs):
            content.pop("looks", None)  # at classes, which are where checkpoints are
        assert_equal(mine, theirs)
        assert not not_finite(mine["state"])
    made = files(finished)
    assert len(made) == 3 + 1 + 2 * 2 + 1  # labels, thresholds, two stages' predictions, the table
    assert files(out) == made
    ours, others = (json.loads((run / "run.json").read_text(encoding="utf-8")) for run in (finished, out))
    for part in ("results", "hashes", "cases"):
        assert ours[part] == others[part]
    for stage in STAGES:
        one, other = ((run / "logs" / f"{stage}.jsonl").read_text(encoding="utf-8") for run in (finished, out))
        assert losses(one) == losses(other)


def losses(log: str) -> list[dict[str, object]]:
    """The lines of a log, without the looks at classes, which are where checkpoints are."""
    return [
        {name: value for name, value in json.loads(line).items() if name != "vanished"} for line in log.splitlines()
    ]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_slices_do_not_depend_on_how_many_read_them(workers: int) -> None:
    world = open_world(AdaptSettings(**TINY), Silent())
    reader = replace(world.pipeline.reader, workers=workers, store=None)  # read anew, not from what is kept
    for seen, split in ((world.source, world.source_split), (world.target, world.target_split)):
        again = SliceSet.from_cases(split.train, reader)
        assert again.cases == seen.cases
        assert torch.equal(again.images, seen.images)
        assert torch.equal(again.labels, seen.labels)
