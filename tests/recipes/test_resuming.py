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
from prostate_uda.recipes.resuming import begin_anew
from tests.recipes.conftest import TINY, Heard

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
