"""Going on with runs of an older version."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from prostate_uda.engines import checkpoints
from prostate_uda.engines.stages import Workplace
from prostate_uda.errors import SettingsError
from prostate_uda.methods import MetaCorrection, SourceOnly
from prostate_uda.recipes import AdaptSettings, adapt
from prostate_uda.recipes.resuming import begin_anew, bring_over
from prostate_uda.recipes.zone_world import open_zones
from tests.recipes.conftest import TINY, Heard

SELF_TRAINING = {**TINY, "method": "self-training"}
NEW = ("precision", "channels_last", "prefetch")
"""Settings that runs of the first version do not name."""


@pytest.fixture
def older(finished: Path, tmp_path: Path) -> Path:
    """The finished run, as if the first version had begun it and been interrupted before its end."""
    out = tmp_path / "older"
    shutil.copytree(finished, out)
    record = json.loads((out / "run.json").read_text())
    for name in NEW:
        del record["settings"][name]
    del record["processes"]
    (out / "run.json").write_text(json.dumps(record | {"status": "running"}))
    return out


def network(out: Path) -> dict[str, torch.Tensor]:
    return checkpoints.load(out / "checkpoints" / "round_1.pt")["state"]["network"]


def test_settings_that_an_older_run_does_not_name_were_the_defaults(older: Path) -> None:
    with pytest.raises(SettingsError, match="precision was 'float32' and is 'bf16'"):
        adapt(AdaptSettings(**TINY, precision="bf16"), older, resume=True)
    assert adapt(AdaptSettings(**TINY), older, resume=True)["status"] == "done"


def test_a_source_network_of_an_older_run_is_started_from(older: Path, tmp_path: Path) -> None:
    settings = {**TINY, "method": "self-training", "start_from": older}
    with pytest.raises(SettingsError, match="channels_last was False and is True"):
        adapt(AdaptSettings(**settings, channels_last=True), tmp_path / "run")
    assert adapt(AdaptSettings(**settings), tmp_path / "run")["status"] == "done"


@pytest.mark.slow
def test_a_round_of_an_older_version_of_its_method_begins_anew(older: Path, finished: Path) -> None:
    path = older / "checkpoints" / "round_1.pt"
    content = checkpoints.load(path)
    content["state"]["network"] = {name: value + 1 for name, value in content["state"]["network"].items()}
    content["state"]["step"] = 2
    content["method"] = "MetaCorrection(level_weights=(0.1, 1.0), ntm_mode='per-step', epsilon=0.05)"
    checkpoints.save(path, content)
    heard = Heard()
    assert adapt(AdaptSettings(**TINY), older, resume=True, progress=heard)["status"] == "done"
    assert [note for note in heard.notes if "round_1 was begun by another version" in note]
    assert checkpoints.load(path.with_suffix(".older"))["state"]["step"] == 2
    again, before = network(older), network(finished)
    assert all(torch.equal(again[name], before[name]) for name in before)
    lines = (older / "logs" / "round_1.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, TINY["steps"] + 1))


def first_labels(out: Path) -> dict[str, tuple[int, bytes]]:
    """The first round's pseudo-labels and thresholds, with the time they were written."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.glob("pseudo_labels/round_1/*")}


def starting_from(out: Path, earlier: Path, **changes: object) -> Heard:
    heard = Heard()
    adapt(AdaptSettings(**{**SELF_TRAINING, **changes}, start_from=earlier), out, progress=heard)
    return heard


@pytest.fixture(scope="module")
def unlabelled(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run without its pseudo-labels."""
    out = tmp_path_factory.mktemp("runs") / "unlabelled"
    return Path(shutil.copytree(finished, out, ignore=shutil.ignore_patterns("pseudo_labels")))


def test_labels_of_the_same_rule_are_brought_over_and_the_result_is_the_same(
    finished: Path, unlabelled: Path, tmp_path: Path
) -> None:
    heard = starting_from(tmp_path / "shared", finished)
    starting_from(tmp_path / "made", unlabelled)
    assert f"round 1's pseudo-labels are those of {finished}" in heard.notes
    shared, made, theirs = (first_labels(out) for out in (tmp_path / "shared", tmp_path / "made", finished))
    assert len(shared) == TINY["phantom_train"] + 1
    assert shared == theirs
    assert not {time for time, _ in made.values()} & {time for time, _ in theirs.values()}
    folders = (tmp_path / "shared", finished)
    one, other = ({path.stat().st_ino for path in out.glob("pseudo_labels/round_1/*")} for out in folders)
    assert not one & other  # copies: a run's files are its own
    again, alone = network(tmp_path / "shared"), network(tmp_path / "made")
    assert all(torch.equal(again[name], alone[name]) for name in alone)


@pytest.mark.parametrize(
    ("changes", "missing", "own_network", "brought"),
    [
        ({}, "", False, True),
        ({"pseudo_threshold": 0.5}, "", False, False),
        ({"label_noise": "symmetric:0.2"}, "", False, False),
        ({"method": "entropy"}, "", False, False),
        ({}, "pseudo_labels/round_1/*.nii.gz", False, False),
        ({}, "pseudo_labels/round_1/*.json", False, False),
        ({}, "checkpoints/source.pt", False, False),
        ({}, "", True, False),
    ],
)
def test_labels_are_brought_over_where_they_are_whole_and_what_this_run_would_make(
    finished: Path, tmp_path: Path, changes: dict, missing: str, own_network: bool, brought: bool
) -> None:
    earlier, heard = Path(shutil.copytree(finished, tmp_path / "earlier")), Heard()
    if missing:
        next(earlier.glob(missing)).unlink()
    place = Workplace(folder=tmp_path / "run", device=torch.device("cpu"), progress=heard, checkpoint_every=1)
    settings = AdaptSettings(**{**SELF_TRAINING, **changes})
    if own_network:
        checkpoints.save(place.checkpoint("source"), {"method": repr(SourceOnly())})
    bring_over(earlier, place, settings, open_zones(settings, Heard()).target_split.train)
    assert (place.folder / "pseudo_labels").exists() is bool(heard.notes) is brought
    assert first_labels(place.folder) == (first_labels(finished) if brought else {})
    assert place.checkpoint("predictor").exists()


def test_bringing_labels_over_is_interrupted_and_taken_up(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, copied, copy = tmp_path / "run", [], shutil.copy2

    def until_the_third(path: Path, to: Path) -> None:
        if len(copied) == 2:
            raise KeyboardInterrupt
        copied.append(copy(path, to))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy2", until_the_third)
        with pytest.raises(KeyboardInterrupt):
            starting_from(out, finished)
    assert not first_labels(out)
    settings = AdaptSettings(**SELF_TRAINING, start_from=finished)
    assert adapt(settings, out, resume=True)["status"] == "done"
    assert first_labels(out) == first_labels(finished)
    assert [path.name for path in (out / "pseudo_labels").iterdir()] == ["round_1"]


STAGES = {"source": SourceOnly(), **dict.fromkeys(("round_1", "round_2", "round_3"), MetaCorrection())}


def outdated_round(out: Path) -> Workplace:
    """A run whose second of three rounds is of another version."""
    place = Workplace(folder=out, device=torch.device("cpu"), progress=Heard(), checkpoint_every=1)
    for name, method in STAGES.items():
        checkpoints.save(place.checkpoint(name), {"method": repr(method)})
        (out / "pseudo_labels" / name).mkdir(parents=True)
    begin_anew(place, STAGES)
    assert not list(out.glob("checkpoints/*.older"))
    checkpoints.save(place.checkpoint("round_2"), {"method": "MetaCorrection()"})
    return place


@pytest.mark.parametrize("interrupted", [None, 0, 1, 2])
def test_what_came_of_an_outdated_round_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: int | None
) -> None:
    place = outdated_round(tmp_path)
    if interrupted is not None:  # before one of its changes, which are counted
        changes = 0

        def until(change: Callable[..., object]) -> Callable[..., object]:
            def counted(*given: object, **named: object) -> object:
                nonlocal changes
                if changes == interrupted:
                    raise KeyboardInterrupt
                changes += 1
                return change(*given, **named)

            return counted

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", until(Path.replace))
            patch.setattr(shutil, "rmtree", until(shutil.rmtree))
            with pytest.raises(KeyboardInterrupt):
                begin_anew(place, STAGES)
    begin_anew(place, STAGES)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "round_1.pt",
        "round_2.older",
        "round_3.older",
        "source.pt",
    ]
    left = sorted(path.name for path in (tmp_path / "pseudo_labels").iterdir())
    assert left == ["round_1", "round_2", "source"]  # the second round's are those of the first round's network
