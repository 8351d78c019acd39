"""Street scenes on disk, and as domains."""

import json

import numpy as np
import pytest
from PIL import Image

from prostate_uda.data.cache import CACHE_VARIABLE
from prostate_uda.data.domains import DOMAINS, StreetsSettings, get_domain
from prostate_uda.data.domains.cityscapes import CITYSCAPES
from prostate_uda.data.domains.streets import STREETS_PHOTO, STREETS_RENDER
from prostate_uda.data.scene_images import read_scene, read_scene_label
from prostate_uda.data.streets import LOOKS, VERSION, make_scene, write_dataset
from prostate_uda.data.streets.writer import TEST_FIRST_INDEX
from prostate_uda.errors import DataError, SettingsError

LOOK = LOOKS["streets-photo"]
FEW = StreetsSettings(train=2, test=1, seed=3)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="module")
def dataset(cache):
    return STREETS_PHOTO.configured(FEW).generate()


def test_cityscapes_reads_the_layout_and_gets_the_scene_back(dataset):
    found = CITYSCAPES.find(dataset)
    assert [case.id for case in found.cases] == [f"photoville_000003_{i:06d}" for i in (0, 1, TEST_FIRST_INDEX)]
    assert found.declared_test == {"photoville_000003_010000"}
    for case, index in zip(found.cases, (0, 1, TEST_FIRST_INDEX), strict=True):
        scene = make_scene(LOOK, seed=3, index=index, size="small")
        assert np.array_equal(read_scene(case.image), scene.image)
        assert np.array_equal(read_scene_label(case.label, case.values), scene.label)


def test_label_files_hold_the_official_ids(dataset):
    case = CITYSCAPES.find(dataset).cases[0]
    with Image.open(case.label) as file:
        ids = np.array(file)
    label = read_scene_label(case.label, case.values)
    assert set(np.unique(ids[label == 0])) == {7}
    assert set(np.unique(ids[label == 10])) == {23}
    assert set(np.unique(ids[label == 13])) == {26}


def test_description(dataset):
    content = json.loads((dataset / "streets.json").read_text(encoding="utf-8"))
    assert content == {"look": "streets-photo", "seed": 3, "size": "small", "train": 2, "test": 1, "version": VERSION}


def test_refuses_to_overwrite(dataset):
    before = sorted(dataset.rglob("*"))
    with pytest.raises(SettingsError, match="not an empty folder"):
        write_dataset(LOOK, dataset, train=1, test=0, seed=4, size="small")
    assert sorted(dataset.rglob("*")) == before


@pytest.mark.parametrize(("train", "test", "size"), [(0, 1, "small"), (1, -1, "small"), (1, 1, "tiny")])
def test_settings_are_checked_before_anything_is_made(tmp_path, train, test, size):
    with pytest.raises(SettingsError):
        write_dataset(LOOK, tmp_path / "x", train=train, test=test, seed=0, size=size)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_leaves_nothing(tmp_path):
    def stop(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(LOOK, tmp_path / "set", train=1, test=0, seed=0, size="small", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_generates_once_and_reuses(cache):
    done = []
    domain = STREETS_RENDER.configured(StreetsSettings(train=2, test=1, seed=4), progress=done.append)
    first = domain.cases(None, role="source", seed=0)
    written = cache / "streets" / f"streets-render-small-seed4-2+1-v{VERSION}" / "streets.json"
    stamp = written.stat().st_mtime_ns
    assert domain.cases(None, role="source", seed=0) == first
    assert done == [1, 2, 3]
    assert written.stat().st_mtime_ns == stamp
    assert (len(first.train), len(first.test)) == (2, 1)


def test_a_target_loses_its_training_labels(dataset):
    split = STREETS_PHOTO.configured(FEW).cases(None, role="target", seed=0)
    assert all(case.label is None for case in split.train)
    assert [case.id for case in split.test] == ["photoville_000003_010000"]
    assert split.test[0].label.is_file()


def test_a_root_is_read_and_must_be_of_this_look(dataset, cache):
    assert len(STREETS_PHOTO.cases(dataset, role="target", seed=0).train) == 2
    with pytest.raises(DataError, match="holds streets-photo, not streets-render"):
        STREETS_RENDER.cases(dataset, role="source", seed=0)
    with pytest.raises(DataError, match=r"streets\.json cannot be read"):
        STREETS_PHOTO.cases(cache, role="source", seed=0)
    with pytest.raises(DataError, match="leave them out"):
        STREETS_PHOTO.cases(dataset, dataset, role="source", seed=0)


@pytest.mark.parametrize("name", ["streets-render", "streets-photo"])
def test_registry(name):
    domain = get_domain(name)
    assert domain is DOMAINS[name]
    assert (domain.task, domain.resize, domain.absent, domain.needs_root) == ("scenes", (512, 1024), (), False)
