"""``adapt`` with methods that select: thresholds of the whole target, in files that are made once."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import ignite.distributed as idist
import nibabel
import numpy as np
import pytest
import torch

from prostate_uda.data.domains import Case, PhantomSettings, get_domain
from prostate_uda.engines.evaluation import Segmenter
from prostate_uda.engines.observers import Silent
from prostate_uda.engines.stages import Workplace
from prostate_uda.errors import CheckpointError, SettingsError
from prostate_uda.maths.selection import BalancedSelection, Selection
from prostate_uda.recipes import AdaptSettings, adapt
from prostate_uda.recipes.adapt import Bench, new_network
from prostate_uda.recipes.labelling import label_target
from prostate_uda.recipes.zone_world import open_zones
from tests.recipes.conftest import TINY, Heard

ROOT = Path(__file__).parents[2]
CBST = {**TINY, "method": "cbst", "rounds": 2}
RULE = BalancedSelection(portion=0.3)


class Listening(Silent):
    """A progress that keeps the titles, and presses Ctrl-C at the first advance of one."""

    def __init__(self, stop: str = "") -> None:
        self.stop, self.titles = stop, []

    @contextmanager
    def task(self, title: str, *_: object, **__: object) -> Iterator["Listening"]:
        self.titles.append(title)
        yield self

    def advance(self, *_: object) -> None:
        if self.titles[-1] == self.stop:
            raise KeyboardInterrupt


def chosen(out: Path, number: int) -> dict[str, object]:
    return json.loads((out / "pseudo_labels" / f"round_{number}" / "thresholds.json").read_text())


def written(out: Path) -> dict[str, tuple[int, bytes]]:
    """Everything under ``pseudo_labels/``, with the time of its last change."""
    files = sorted(path for path in (out / "pseudo_labels").rglob("*") if path.is_file())
    return {str(path.relative_to(out)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.fixture(scope="module")
def balanced(finished: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of cbst in two rounds."""
    out = tmp_path_factory.mktemp("runs") / "cbst"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROSTATE_UDA_CACHE", str(cache))
        assert adapt(AdaptSettings(**CBST, start_from=finished), out)["status"] == "done"
    return out


@pytest.mark.parametrize(("number", "portion"), [(1, 0.2), (2, 0.25)])
def test_the_portion_that_was_asked_is_labelled(balanced: Path, number: int, portion: float) -> None:
    found = chosen(balanced, number)
    assert found["rule"] == repr(BalancedSelection(portion=portion))
    assert list(found["thresholds"]) == list(found["predicted"]) == ["background", "PZ", "TZ"]
    files = sorted((balanced / "pseudo_labels" / f"round_{number}").glob("*.nii.gz"))
    assert len(files) == TINY["phantom_train"]
    labels = np.concatenate([np.asarray(nibabel.load(file).dataobj).ravel() for file in files])
    kept, predicted = int((labels != 255).sum()), found["predicted"]
    assert kept >= sum(math.ceil(portion * count) for count in predicted.values())
    assert kept < 0.9 * sum(predicted.values())
    for name, threshold in found["thresholds"].items():
        assert 1 / 3 < threshold <= 1
        assert predicted[name] or threshold == 1


@pytest.mark.parametrize("stop", ["round 2: pseudo-labels", "round 2: cbst"])
def test_neither_thresholds_nor_labels_are_made_again(
    balanced: Path, finished: Path, tmp_path: Path, stop: str
) -> None:
    out, settings = tmp_path / "run", AdaptSettings(**CBST, start_from=finished)
    with pytest.raises(KeyboardInterrupt):
        adapt(settings, out, progress=Listening(stop))
    before = written(out)
    assert "pseudo_labels/round_2/thresholds.json" in before
    again = Listening()
    adapt(settings, out, resume=True, progress=again)
    assert not [title for title in again.titles if title.endswith("confidences")]
    after = written(out)
    assert {name: after[name] for name in before} == before
    assert {name: content for name, (_, content) in after.items() if name.endswith(".json")} == {
        name: content for name, (_, content) in written(balanced).items() if name.endswith(".json")
    }
    ends = [torch.load(run / "checkpoints" / "round_2.pt", weights_only=True) for run in (out, balanced)]
    torch.testing.assert_close(*(end["state"]["network"] for end in ends), rtol=0, atol=0)


def test_soft_labels_end_to_end_and_a_damaged_file_of_thresholds(finished: Path, tmp_path: Path) -> None:
    out, settings = tmp_path / "run", AdaptSettings(**TINY, method="lrent", start_from=finished)
    with pytest.raises(KeyboardInterrupt):
        adapt(settings, out, progress=Listening("round 1: lrent"))
    path = out / "pseudo_labels" / "round_1" / "thresholds.json"
    whole = path.read_text()
    path.write_text(json.dumps({**json.loads(whole), "thresholds": {"background": 0.9}}))
    with pytest.raises(CheckpointError, match=r"thresholds\.json holds no threshold of each class; delete its folder"):
        adapt(settings, out, resume=True)
    path.write_text(whole)
    assert adapt(settings, out, resume=True)["status"] == "done"


def test_a_pseudo_threshold_beside_a_rule_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"pseudo_threshold 0\.5 beside cbst's own rule, BalancedSelection"):
        AdaptSettings(method="cbst", pseudo_threshold=0.5)
    with pytest.raises(SettingsError, match="beside self-training's own rule"):
        AdaptSettings(method="self-training", options={"confidence": 0.9}, pseudo_threshold=0.5)
    assert AdaptSettings(method="dmlc", pseudo_threshold=0.5).selection(1).threshold == 0.5


def opened(folder: Path, progress: Silent) -> tuple[Segmenter, tuple[Case, ...], Workplace]:
    """An untrained network that predicts every class, the target's training cases, and where they are labelled."""
    settings, cpu = AdaptSettings(**TINY, seed=1), torch.device("cpu")
    place = Workplace(
        folder=folder, device=cpu, progress=progress, checkpoint_every=9, writes=bool(idist.get_rank() == 0)
    )
    world = open_zones(settings, Silent())
    return Bench(settings, place, world).segmenter(new_network(settings, cpu)), world.target_split.train, place


def label_as_one_of(folder: Path) -> Segmenter:
    """Label the target as each of the processes."""
    segmenter, everyone, place = opened(folder, Silent())
    cases, thresholds = label_target(segmenter, everyone, RULE, repr(RULE), 1, place)
    found = {"cases": [case.id for case in cases], "thresholds": thresholds.tolist()}
    (folder / f"{idist.get_rank()}.json").write_text(json.dumps(found))
    return segmenter


def test_the_files_are_those_of_the_rule_over_the_whole_target(tmp_path: Path) -> None:
    segmenter = label_as_one_of(tmp_path)
    cases = phantom_cases()
    probs = [segmenter.probabilities(case.image).flatten(1) for case in cases]
    confidence, label = torch.cat(probs, dim=1).max(dim=0)
    found = chosen(tmp_path, 1)
    assert list(found["predicted"].values()) == torch.bincount(label, minlength=3).tolist()
    k = torch.tensor(list(found["thresholds"].values()))
    for number in range(3):
        ordered = confidence[label == number].sort(descending=True).values
        last = ordered[math.ceil(0.3 * len(ordered)) - 1]
        assert len(ordered) > 1000
        assert 0 <= last - k[number] < 6.1e-4
    for case, one in zip(cases, probs, strict=True):
        ratio, best = (one / k[:, None]).max(dim=0)
        expected = torch.where(ratio >= 1, best, 255).numpy()
        file = nibabel.load(tmp_path / "pseudo_labels" / "round_1" / f"{case.id}.nii.gz")
        assert np.array_equal(np.asarray(file.dataobj).ravel(), expected)


@pytest.mark.parametrize(
    ("stored", "asked", "kept"),
    [
        (Selection(), Selection(threshold=0.9), False),
        (Selection(threshold=0.9), Selection(), False),
        (Selection(threshold=0.3), Selection(threshold=0.3), True),
        (None, Selection(), True),
        (None, Selection(threshold=0.9), False),
    ],
)
def test_labels_of_another_rule_are_made_anew(
    tmp_path: Path, stored: Selection | None, asked: Selection, kept: bool
) -> None:
    heard = Heard()
    segmenter, cases, place = opened(tmp_path, heard)
    first = stored or Selection()
    label_target(segmenter, cases[:1], first, repr(first), 1, place)
    path = tmp_path / "pseudo_labels" / "round_1" / "thresholds.json"
    if stored is None:
        content = json.loads(path.read_text())
        del content["rule"]
        path.write_text(json.dumps(content))
    before = written(tmp_path)
    label_target(segmenter, cases[:1], asked, repr(asked), 1, place)
    assert (written(tmp_path) == before) is kept
    assert heard.notes == ([] if kept else ["round 1's pseudo-labels are of another rule, and are made anew"])
    if not kept:
        assert chosen(tmp_path, 1)["rule"] == repr(asked)
        label = np.asarray(nibabel.load(path.with_name(f"{cases[0].id}.nii.gz")).dataobj)
        assert (label == 255).all() if asked.threshold else (label != 255).all()  # an untrained network is not sure


def phantom_cases() -> tuple[Case, ...]:
    """The target's training cases of :func:`label_as_one_of`."""
    cohort = PhantomSettings(train=TINY["phantom_train"], test=TINY["phantom_test"], seed=1)
    return get_domain("phantom-1.5t").configured(cohort).cases(None, role="target", seed=1).train


@pytest.mark.slow
def test_processes_share_thresholds_and_part_the_cases(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir(), (tmp_path / "two").mkdir()
    label_as_one_of(tmp_path / "one")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [*command, "tests.recipes.test_adapt_selection", str(tmp_path / "two")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    alone, *both = (json.loads((tmp_path / name).read_text()) for name in ("one/0.json", "two/0.json", "two/1.json"))
    assert both[0]["thresholds"] == both[1]["thresholds"] == alone["thresholds"]
    assert sorted(both[0]["cases"] + both[1]["cases"]) == sorted(alone["cases"])
    assert all(one["cases"] for one in both)
    contents = [{name: content for name, (_, content) in written(tmp_path / run).items()} for run in ("one", "two")]
    assert contents[0].keys() == contents[1].keys()
    assert contents[0]["pseudo_labels/round_1/thresholds.json"] == contents[1]["pseudo_labels/round_1/thresholds.json"]


if __name__ == "__main__":
    idist.initialize("gloo")
    label_as_one_of(Path(sys.argv[1]))
    idist.finalize()


def test_the_classes_that_no_pseudo_label_says_are_told_in_one_line(finished: Path, tmp_path: Path) -> None:
    heard = Heard()
    unsure = AdaptSettings(**{**TINY, "method": "self-training", "steps": 1, "pseudo_threshold": 0.999})
    adapt(replace(unsure, start_from=finished), tmp_path / "run", progress=heard)
    assert [note for note in heard.notes if "pseudo-label says" in note] == [
        "warning: round 1: no pseudo-label says PZ or TZ"
    ]
