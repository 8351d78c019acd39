import shutil
from pathlib import Path

import numpy as np
import pytest

from prostate_uda.data.domains import DOMAINS, get_domain
from prostate_uda.data.scene_classes import CITYSCAPES_VALUES, SYNTHIA_ABSENT, TRAIN_VALUES
from prostate_uda.data.scene_images import read_scene, read_scene_label
from prostate_uda.data.scene_set import SceneReader, SceneSet
from prostate_uda.errors import DataError
from tests.data.scene_layouts import (
    CITYSCAPES_NAMES,
    SIZE,
    numbers,
    picture,
    save_grey,
    save_rgb,
    write_cityscapes,
    write_gta5,
    write_synthia,
)

WRITERS = {"gta5": write_gta5, "synthia": write_synthia, "cityscapes": write_cityscapes}
ENDS = ("_leftImg8bit", "_labelIds")
every_domain = pytest.mark.parametrize("name", WRITERS)


def ids(part) -> list[str]:
    return [case.id for case in part]


@pytest.fixture
def root(tmp_path: Path, name: str) -> Path:
    return WRITERS[name](tmp_path / "data")


@every_domain
def test_scenes_say_what_they_are(name):
    domain = get_domain(name)
    assert domain.task == "scenes"
    assert domain.resize == {"gta5": (720, 1280), "synthia": (760, 1280), "cityscapes": (512, 1024)}[name]
    assert domain.absent == (SYNTHIA_ABSENT if name == "synthia" else ())


def test_prostates_are_not_scenes():
    assert get_domain("folder").task == get_domain("nci-isbi13").task == get_domain("phantom-3t").task == "zones"
    assert not any(DOMAINS[name].absent for name in ("folder", "decathlon", "phantom-1.5t"))


@every_domain
def test_the_files_of_the_layout_are_read(name, root):
    cases = get_domain(name).find(root).cases
    reader = SceneReader(SIZE)
    scenes = SceneSet.from_cases(cases, reader)
    assert len(scenes) == 5
    for case in cases:
        assert case.id in case.image.name
        assert case.id in case.label.name
        raw = {"gta5": range(35), "synthia": range(23), "cityscapes": range(34)}[name]
        expected = numbers(tuple(case.values[value] for value in raw))
        assert np.array_equal(read_scene_label(case.label, case.values), expected)
        assert np.array_equal(reader.label(case), expected)


def test_pictures_and_labels_belong_together(tmp_path):
    for case in get_domain("gta5").find(write_gta5(tmp_path)).cases:
        assert np.array_equal(read_scene(case.image), picture(int(case.id)))
        assert case.label == tmp_path / "labels" / case.image.name
    assert ids(get_domain("gta5").find(tmp_path).cases) == ["00001", "00002", "00003", "00004", "00005"]


@every_domain
def test_a_target_loses_its_training_labels(name, root):
    split = get_domain(name).cases(root, role="target", seed=0)
    assert split.train
    assert split.test
    assert all(case.label is None for case in split.train)
    assert all(case.label is not None for case in split.test)
    assert not set(ids(split.train)) & set(ids(split.test))


@pytest.mark.parametrize("name", ["gta5", "synthia"])
def test_a_source_holds_out_a_seeded_share(name, root):
    split = get_domain(name).cases(root, role="source", seed=0, holdout=0.4)
    assert (len(split.train), len(split.test)) == (3, 2)
    assert split == get_domain(name).cases(root, role="source", seed=0, holdout=0.4)
    assert all(case.label is not None for case in (*split.train, *split.test))


@pytest.mark.parametrize("role", ["source", "target"])
def test_cityscapes_is_judged_by_val(tmp_path, role):
    split = get_domain("cityscapes").cases(write_cityscapes(tmp_path), role=role, seed=3)
    assert ids(split.train) == sorted(CITYSCAPES_NAMES["train"])
    assert ids(split.test) == sorted(CITYSCAPES_NAMES["val"])
    assert all((case.label is None) == (role == "target") for case in split.train)


def test_cityscapes_test_part_is_not_looked_at(tmp_path):
    write_cityscapes(tmp_path)
    shutil.rmtree(tmp_path / "leftImg8bit" / "test")
    found = get_domain("cityscapes").find(tmp_path)
    assert found.declared_test == set(CITYSCAPES_NAMES["val"])
    assert len(found.cases) == 5


def test_cityscapes_without_labels_is_learned_from(tmp_path):
    write_cityscapes(tmp_path)
    shutil.rmtree(tmp_path / "gtFine")
    split = get_domain("cityscapes").cases(tmp_path, role="target", seed=0)
    assert (len(split.train), len(split.test)) == (5, 0)


def test_train_ids_count_where_there_are_no_label_ids(tmp_path):
    write_cityscapes(tmp_path)
    for path in sorted((tmp_path / "gtFine" / "val").rglob("*_labelIds.png")):
        save_grey(path.with_name(path.name.replace("labelIds", "labelTrainIds")), numbers((0, 18, 255)))
    first = tmp_path / "gtFine" / "val" / "lindau" / "lindau_000000_000019_gtFine_labelIds.png"
    first.unlink()
    by_id = {case.id: case for case in get_domain("cityscapes").find(tmp_path).cases}
    lindau, munster = by_id["lindau_000000_000019"], by_id["munster_000000_000019"]
    assert lindau.label.name.endswith("_labelTrainIds.png")
    assert lindau.values == TRAIN_VALUES
    assert read_scene_label(lindau.label, lindau.values).ravel()[:3].tolist() == [0, 18, 255]
    assert munster.label.name.endswith("_labelIds.png")
    assert munster.values == CITYSCAPES_VALUES


@pytest.mark.parametrize("name", ["gta5", "cityscapes"])
def test_labels_may_lie_apart(name, root, tmp_path):
    own, apart = {"gta5": "labels", "cityscapes": "gtFine"}[name], tmp_path / "elsewhere"
    before = get_domain(name).find(root)
    (root / own).rename(apart)
    assert all(case.label is None for case in get_domain(name).find(root).cases)
    found = get_domain(name).find(root, apart)
    assert [(case.id, case.label.name) for case in found.cases] == [(case.id, case.label.name) for case in before.cases]
    assert all(apart in case.label.parents for case in found.cases)


def test_cityscapes_labels_apart_may_be_flat(tmp_path):
    write_cityscapes(tmp_path / "data")
    (tmp_path / "flat").mkdir()
    for part in ("train", "val"):
        for path in (tmp_path / "data" / "gtFine" / part).rglob("*_labelIds.png"):
            shutil.copy(path, tmp_path / "flat")
    found = get_domain("cityscapes").find(tmp_path / "data", tmp_path / "flat")
    assert all(case.label.parent == tmp_path / "flat" for case in found.cases)


def test_synthias_labels_lie_in_it(tmp_path):
    write_synthia(tmp_path)
    with pytest.raises(DataError, match=r"'synthia' takes one folder, its labels lie in GT/LABELS"):
        get_domain("synthia").find(tmp_path, tmp_path / "GT" / "COLOR")


def test_synthias_archive_unpacks_to_a_folder(tmp_path):
    write_synthia(tmp_path / "RAND_CITYSCAPES")
    assert len(get_domain("synthia").find(tmp_path).cases) == 5
    assert get_domain("synthia").find(tmp_path) == get_domain("synthia").find(tmp_path / "RAND_CITYSCAPES")


@every_domain
def test_a_picture_without_label_is_unlabelled(name, root):
    lost = get_domain(name).find(root).cases[1]
    lost.label.unlink()
    found = get_domain(name).find(root)
    assert [case.id for case in found.cases if case.label is None] == [lost.id]
    split = get_domain(name).cases(root, role="source", seed=0)
    assert lost.id not in ids((*split.train, *split.test))
    assert len((*split.train, *split.test)) == 4


@every_domain
def test_a_label_without_picture_is_refused(name, root):
    lost = get_domain(name).find(root).cases[1]
    lost.image.unlink()
    with pytest.raises(DataError, match=f"{lost.label.name} fits no image named '{lost.id}'"):
        get_domain(name).find(root)


@every_domain
def test_sizes_that_differ_are_refused(name, root):
    case = get_domain(name).find(root).cases[2]
    save_rgb(case.image, picture(size=(SIZE[0], SIZE[1] + 1)))
    with pytest.raises(DataError, match=f"{case.label.name} is 8 pixels wide and 6 high"):
        SceneSet.from_cases(get_domain(name).find(root).cases, SceneReader(SIZE))


def test_gta5s_pairs_that_do_not_belong_together_are_passed_over(tmp_path):
    root = WRITERS["gta5"](tmp_path / "data")
    before = [case.id for case in get_domain("gta5").find(root).cases]
    for frame in ("15188", "20801", "20860"):
        shutil.copy(root / "labels" / f"{before[0]}.png", root / "labels" / f"{frame}.png")
        save_rgb(root / "images" / f"{frame}.png", picture(size=(SIZE[0], SIZE[1] + 1)))
    assert [case.id for case in get_domain("gta5").find(root).cases] == before
    for folder in ("images", "labels"):
        (root / folder / "20860.png").rename(root / folder / "20861.png")  # a frame like any other
    assert [case.id for case in get_domain("gta5").find(root).cases] == [*before, "20861"]


@every_domain
def test_hidden_and_foreign_files_are_passed_over(name, root):
    before = get_domain(name).find(root)
    for folder in {path.parent for case in before.cases for path in (case.image, case.label)}:
        (folder / "notes.txt").touch()
        for path in list(folder.glob("*.png")):
            path.with_name(f"._{path.name}").write_bytes(b"AppleDouble")
    assert get_domain(name).find(root) == before


def test_one_picture_in_two_parts(tmp_path):
    write_cityscapes(tmp_path)
    (tmp_path / "leftImg8bit" / "val" / "zurich").mkdir()
    name = "zurich_000000_000019_leftImg8bit.png"
    shutil.copy(
        tmp_path / "leftImg8bit" / "train" / "zurich" / name, tmp_path / "leftImg8bit" / "val" / "zurich" / name
    )
    with pytest.raises(DataError, match="are both of frame 'zurich_000000_000019'; keep one"):
        get_domain("cityscapes").find(tmp_path)


@pytest.mark.parametrize("folder", ["leftImg8bit", "gtFine"])
@pytest.mark.parametrize("part", ["train", "val"])
def test_one_frame_twice_in_a_part(tmp_path, folder, part):
    write_cityscapes(tmp_path)
    frame = CITYSCAPES_NAMES[part][0]
    (path,) = [one for one in (tmp_path / folder / part).rglob(f"{frame}_*.png") if one.stem.endswith(ENDS)]
    (tmp_path / folder / part / "copy").mkdir()
    shutil.copy(path, tmp_path / folder / part / "copy" / path.name)
    with pytest.raises(DataError, match=f"are both of frame '{frame}'; keep one") as error:
        get_domain("cityscapes").find(tmp_path)
    assert str(path) in str(error.value)
    assert str(tmp_path / folder / part / "copy" / path.name) in str(error.value)


@every_domain
@pytest.mark.parametrize("role", ["source", "target"])
def test_a_missing_root_names_its_flag(tmp_path, name, role):
    with pytest.raises(DataError, match=f"needs its folder; say where it is with --{role}-root"):
        get_domain(name).cases(None, role=role, seed=0)
    with pytest.raises(DataError, match=f"is not a folder.*--{role}-root"):
        get_domain(name).cases(tmp_path / "none", role=role, seed=0)
    with pytest.raises(DataError, match="needs its folder"):
        get_domain(name).find(None)


@every_domain
def test_an_empty_folder_is_one_line(tmp_path, name):
    with pytest.raises(DataError, match="give the folder") as error:
        get_domain(name).cases(tmp_path, role="target", seed=0)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
    for folder in ("images", "RGB", "leftImg8bit/train"):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(DataError, match=r"holds no"):
        get_domain(name).cases(tmp_path, role="target", seed=0)
