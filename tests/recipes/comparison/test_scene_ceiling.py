"""The oracle of scenes learns from the target's training part and is tested on the part that the data set declares."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from prostate_uda.data.domains import StreetsSettings, get_domain
from prostate_uda.data.domains.streets import STREETS_PHOTO
from prostate_uda.recipes import AdaptSettings
from prostate_uda.recipes.comparison.ceiling import ceilings
from prostate_uda.recipes.comparison.grid import CompareSettings, Variant
from prostate_uda.recipes.world import splits

STREETS = {"source": "streets-render", "target": "streets-photo", "phantom_train": 3, "phantom_test": 2}


def compared(**changes: object) -> CompareSettings:
    common = AdaptSettings(**{**STREETS, "method": "source-only", **changes})
    return CompareSettings(common=common, variants=(Variant("self-training", "self-training"),), seeds=(0, 1))


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A folder as Cityscapes is laid out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROSTATE_UDA_CACHE", str(cache))
        made = STREETS_PHOTO.configured(StreetsSettings(train=3, test=2)).generate()
    return Path(shutil.copytree(made, tmp_path_factory.mktemp("city") / "city"))


def check(settings: CompareSettings, tmp_path: Path) -> None:
    found = ceilings(settings, tmp_path)
    assert set(found) == {0, 1}
    for seed, ceiling in found.items():
        assert ceiling.listed is None
        _, theirs, _ = splits(replace(settings.common, seed=seed))
        source, target, _ = splits(ceiling.settings)
        assert [case.image for case in target.test] == [case.image for case in theirs.test]
        assert source.test == target.test
        assert [case.image for case in source.train] == [case.image for case in theirs.train]
        assert all(case.label is not None for case in source.train)
        assert all(case.label is None for case in target.train)


@pytest.mark.slow
def test_of_streets(tmp_path: Path) -> None:
    check(compared(), tmp_path)


def test_of_a_folder_as_cityscapes(city: Path, tmp_path: Path) -> None:
    check(compared(target="cityscapes", target_root=city), tmp_path)


def test_without_labels_to_learn_from_there_is_none(city: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(city, tmp_path / "bare")
    shutil.rmtree(bare / "gtFine" / "train")
    assert ceilings(compared(target="cityscapes", target_root=bare), tmp_path) == {}


def test_without_a_declared_test_part_there_is_none(city: Path, tmp_path: Path) -> None:
    """As source and as target the data set would be parted otherwise."""
    root = tmp_path / "gta5"
    for kind, parts in (("images", "leftImg8bit/*/*/*.png"), ("labels", "gtFine/*/*/*_labelIds.png")):
        (root / kind).mkdir(parents=True)
        for number, path in enumerate(sorted(city.glob(parts)), start=1):
            shutil.copy(path, root / kind / f"{number:05d}.png")
    assert len(get_domain("gta5").find(root).cases) == 5
    assert ceilings(compared(target="gta5", target_root=root), tmp_path) == {}
