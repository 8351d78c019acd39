"""The oracle learns from the target's own training cases and is tested on the very cases that the others are."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from prostate_uda.engines.observers import Silent
from prostate_uda.errors import SettingsError
from prostate_uda.recipes import AdaptSettings, ablation, make_phantom
from prostate_uda.recipes.comparison.ceiling import ceilings
from prostate_uda.recipes.comparison.grid import CompareSettings, Variant, plan
from prostate_uda.recipes.comparison.queue import check_same_settings
from prostate_uda.recipes.comparison.table import JUDGED
from prostate_uda.recipes.zone_world import ZoneWorld, open_zones
from tests.recipes.conftest import TINY

CASES = {"phantom_train": 3, "phantom_test": 2}


def compared(**changes: object) -> CompareSettings:
    common = AdaptSettings(**{**TINY, **CASES, **changes})
    return CompareSettings(common=common, variants=(Variant("self-training", "self-training"),), seeds=(0, 1))


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hospital's folder, all cases labelled."""
    made = make_phantom("phantom-1.5t", tmp_path_factory.mktemp("scans") / "made", train=4, test=0 + 1)
    root = made.parent / "plain"
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
        for path in (*(made / f"{kind}Tr").iterdir(), *(made / f"{kind}Ts").iterdir()):
            shutil.copy(path, root / kind)
    return root


def judged(world: ZoneWorld) -> dict[str, str]:
    return {name: told for name, told in world.hashes().items() if name.startswith(JUDGED)}


def check(settings: CompareSettings, tmp_path: Path) -> None:
    found = ceilings(settings, tmp_path)
    assert set(found) == {0, 1}
    for seed, ceiling in found.items():
        if ceiling.listed is not None:
            ceiling.listed.write(ceiling.settings.data_list)
        theirs = open_zones(replace(settings.common, seed=seed), Silent())
        others = theirs.case_ids()
        world = open_zones(ceiling.settings, Silent())
        assert world.case_ids()["target"] == others["target"]
        assert world.case_ids()["source"] == others["target"]
        assert judged(world) == judged(theirs) != {}
        assert all(case.label for case in world.source_split.train)


@pytest.mark.slow
def test_of_a_phantom(tmp_path: Path) -> None:
    check(compared(), tmp_path)


def test_of_a_hospitals_folder(scans: Path, tmp_path: Path) -> None:
    check(compared(target="folder", target_root=scans), tmp_path)


def test_without_labels_there_is_none(scans: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(scans / "images", bare / "images")
    assert ceilings(compared(target="folder", target_root=bare), tmp_path) == {}
    some = tmp_path / "some"  # labels of the test cases alone
    shutil.copytree(scans / "images", some / "images")
    (some / "labels").mkdir()
    for path in sorted((scans / "labels").iterdir())[:2]:
        shutil.copy(path, some / "labels")
    assert ceilings(compared(target="folder", target_root=some), tmp_path) == {}


def test_it_has_as_many_steps_as_the_longest_row() -> None:
    common = AdaptSettings(source_steps=5, steps=7)
    made = CompareSettings(common=common, variants=ablation("rounds"), seeds=(0,))
    assert ceilings(made, Path())[0].settings.source_steps == 5 + 3 * 7


def test_a_comparison_that_was_moved_is_taken_up(scans: Path, tmp_path: Path) -> None:
    """Its oracle's list has another place now; any other setting counts, and so does another row's list."""
    made = compared(target="folder", target_root=scans)
    before, after = (
        plan(made, {seed: one.settings for seed, one in ceilings(made, tmp_path / place).items()})
        for place in ("before", "after")
    )
    for run in before:
        (tmp_path / run.folder).mkdir(parents=True)
        record = {"settings": run.settings.record(), "timing": {}, "hashes": {}}
        (tmp_path / run.folder / "run.json").write_text(json.dumps(record))
    check_same_settings(after, tmp_path)
    oracle = next(run for run in after if run.row == "oracle")
    with pytest.raises(SettingsError, match="batch_size"):
        check_same_settings([replace(oracle, settings=replace(oracle.settings, batch_size=5))], tmp_path)
    with pytest.raises(SettingsError, match="data_list"):
        check_same_settings([replace(after[0], settings=replace(after[0].settings, data_list=tmp_path))], tmp_path)
