"""``plot embedding``: points are what goes into the last head, no target label is read, and bad input is one line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from prostate_uda.cli import app
from prostate_uda.engines.observers import Silent
from prostate_uda.errors import CheckpointError, SettingsError
from prostate_uda.recipes import plot_embedding
from prostate_uda.recipes.plot_embedding import CLASSES, Drawn, draw_points, point_classes
from prostate_uda.recipes.recorded import load_network, read_finished, recorded_settings
from prostate_uda.recipes.zone_world import ZoneWorld, open_zones
from tests.recipes.conftest import Heard

POINTS = 12


@pytest.fixture(scope="module")
def drawn(finished: Path, cache: Path) -> tuple[ZoneWorld, dict[str, torch.nn.Module], dict[str, Drawn]]:
    settings = recorded_settings(read_finished(finished).content["settings"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROSTATE_UDA_CACHE", str(cache))
        world = open_zones(settings, Silent())
    stages = {"before": "source", "after": "round_1"}
    networks = {when: load_network(finished, settings, name, torch.device("cpu")) for when, name in stages.items()}
    return world, networks, draw_points(networks, world, settings.depth, POINTS, seed=0)


def copied(finished: Path, tmp_path: Path, **changes: object) -> Path:
    """The run with another record."""
    run = shutil.copytree(finished, tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    record["settings"] |= changes.pop("settings", {})
    (run / "run.json").write_text(json.dumps(record | changes))
    return run


def test_domains_and_networks_have_equally_many_points_of_each_class(drawn: tuple) -> None:
    counts = [
        torch.bincount(one.classes[one.target == domain], minlength=CLASSES).tolist()
        for one in drawn[2].values()
        for domain in (False, True)
    ]
    for one in drawn[2].values():
        assert len(one.features) == len(one.classes) == len(one.target) == len(one.cases)
        theirs = {case for case, target in zip(one.cases, one.target, strict=True) if target}
        assert all(case.startswith("phantom-1.5t") for case in theirs)
    assert counts == [counts[0]] * 4
    assert max(counts[0]) == POINTS


def test_points_are_the_input_of_the_last_head(drawn: tuple) -> None:
    """Every point is a pixel of the feature map of a slice of its case, whose class is the one it is drawn with."""
    world, networks, both = drawn
    for when, network in networks.items():
        one, classes = both[when], point_classes(network, world, 1)
        for domain, slices in ((False, world.source), (True, world.target)):
            with torch.inference_mode():
                maps = network(slices.images[:, None]).features[-1].permute(0, 2, 3, 1)
            for at in torch.nonzero(one.target == domain).flatten().tolist()[:8]:
                apart = (maps - one.features[at]).abs().amax(dim=-1)
                place = np.unravel_index(int(apart.argmin()), apart.shape)
                assert apart[place] < 1e-4
                assert classes[domain][place] == one.classes[at]
                assert slices.cases[place[0]] == one.cases[at]
    assert not torch.equal(both["before"].features, both["after"].features)


def test_the_targets_classes_are_predictions_and_the_sources_labels(drawn: tuple) -> None:
    world, networks, _ = drawn
    classes = point_classes(networks["after"], world, 1)
    assert set(world.target.labels.unique().tolist()) == {255}  # it has none to use
    with torch.inference_mode():
        said = networks["after"](world.target.images[:, None]).final.argmax(dim=1)
    assert torch.equal(classes[True], said[:, 4::8, 4::8])
    assert torch.equal(classes[False], world.source.labels[:, 4::8, 4::8].long())


def test_a_picture_and_its_numbers(finished: Path, tmp_path: Path) -> None:
    out, again, heard = tmp_path / "new" / "a.png", tmp_path / "b.svg", Heard()
    drawn = plot_embedding(finished, out, points=POINTS, progress=heard)
    assert out.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in out.parent.iterdir()) == ["a.png", "a.separability.json"]
    numbers = json.loads(drawn.numbers.read_text())
    assert numbers["domain_separability"] == drawn.separability
    assert set(drawn.separability) == {"before", "after"}
    assert all(0 <= number <= 1 for number in drawn.separability.values())
    missing = [name for name, count in numbers["points_per_domain"].items() if not count]
    assert len(heard.notes) == len(missing)
    assert plot_embedding(finished, again, points=POINTS).separability == drawn.separability


def test_the_command_prints_both_numbers(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.pdf"
    given = ["--out", str(out), "--points", str(POINTS), "--seed", "1", "--device", "cpu"]
    done = CliRunner().invoke(app, ["plot", "embedding", str(finished), *given])
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "a.separability.json").read_text())["domain_separability"]
    assert f"{told['before']:.2f} before, {told['after']:.2f} after" in done.output
    assert out.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("name", ["a.jpg", "run.json"])
def test_another_suffix_is_refused(finished: Path, name: str) -> None:
    before = (finished / "run.json").read_bytes()
    with pytest.raises(SettingsError, match="has suffix"):
        plot_embedding(finished, finished / name)
    assert (finished / "run.json").read_bytes() == before


def test_what_is_no_finished_run_that_adapted_is_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="give the folder of a run"):
        plot_embedding(tmp_path / "nowhere")
    for number, (changes, error, words) in enumerate(
        (
            ({"status": "running"}, CheckpointError, "is not finished"),
            ({"settings": {"method": "source-only", "options": {}}}, SettingsError, "nothing was adapted"),
            ({"settings": {"rounds": 2}}, CheckpointError, r"no checkpoint at .*round_2\.pt"),
            ({"settings": {"depth": 3}}, CheckpointError, r"source\.pt does not hold the run's network"),
            ({"hashes": {}}, SettingsError, "was made from other files"),
        )
    ):
        run = copied(finished, tmp_path / str(number), **changes)
        with pytest.raises(error, match=words) as told:
            plot_embedding(run, tmp_path / "a.png")
        assert "\n" not in str(told.value)
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("given", [{"points": 4}, {"points": 2001}, {"seed": -1}])
def test_numbers_out_of_their_range(finished: Path, given: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match="allowed are 5 to 2000 points"):
        plot_embedding(finished, **given)
