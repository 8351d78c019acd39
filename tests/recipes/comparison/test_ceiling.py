"""The oracle learns from the target's own training cases and is tested on the very cases that the others are."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from prostate_uda.engines.observers import Silent
from prostate_uda.recipes import AdaptSettings, make_phantom
from prostate_uda.recipes.comparison.ceiling import ceilings
from prostate_uda.recipes.comparison.grid import CompareSettings, Variant
from prostate_uda.recipes.world import open_world
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


def check(settings: CompareSettings, tmp_path: Path) -> None:
    found = ceilings(settings, tmp_path)
    assert set(found) == {0, 1}
    for seed, ceiling in found.items():
        if ceiling.listed is not None:
            ceiling.listed.write(ceiling.settings.data_list)
        others = open_world(replace(settings.common, seed=seed), Silent()).case_ids()
        world = open_world(ceiling.settings, Silent())
        assert world.case_ids()["target"] == others["target"]
        assert world.case_ids()["source"] == others["target"]
        assert all(case.label for case in world.source_split.train)


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
