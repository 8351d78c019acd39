"""What the configs of scenes call: pictures found, read and written, labels matched to them, mistakes told."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prostate_uda import bundle
from prostate_uda.data.scene_classes import CITYSCAPES_VALUES, GTA5_VALUES, TRAIN_VALUES
from prostate_uda.data.scene_set import normalize_scene
from prostate_uda.errors import DataError, SettingsError, UnknownNameError
from prostate_uda.recipes.scene_pictures import LABEL_IDS
from tests.bundles.conftest import SIZE, street


def label(path: Path, size: tuple[int, int] = (24, 48), value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, dtype=np.uint8)).save(path)
    return path


def pictures(folder: Path, *names: str) -> list[dict[str, str]]:
    for name in names:
        street(folder / f"{name}.png", 24, 48)
    return bundle.pictures_in(str(folder))


def saved(out: Path, name: str, pred: torch.Tensor, pixels: np.ndarray, **settings: bool) -> bundle.SaveScene:
    saver = bundle.SaveScene(str(out), **settings)
    saver({"name": name, "pred": pred[None].float(), "pixels": torch.from_numpy(pixels), "failure": ""})
    return saver


def test_pictures_of_sub_folders_are_found_and_named(tmp_path: Path) -> None:
    for name in ("b.png", "a/one.JPG", "a/two.jpeg", "a/deep/one.png", ".hidden.png", ".cache/three.png"):
        street(tmp_path / name, 24, 48)
    label(tmp_path / "a/one_gtFine_labelIds.png")
    label(tmp_path / "a/one_gtFine_color.png")
    label(tmp_path / "eval/labels/b.png")
    (tmp_path / "notes.txt").touch()
    found = bundle.pictures_in(str(tmp_path), str(tmp_path / "eval"))
    assert [one["name"] for one in found] == ["a/deep/one", "a/one", "a/two", "b"]
    assert Path(found[1]["image"]) == tmp_path / "a/one.JPG"


@pytest.mark.parametrize("folder", ["leftImg8bit", "images", "RGB"])
def test_of_a_data_set_only_its_pictures_are_taken(tmp_path: Path, folder: str) -> None:
    street(tmp_path / folder / "val/ulm/ulm_000001_000019_leftImg8bit.png", 24, 48)
    label(tmp_path / "labels/0001.png")
    assert [one["name"] for one in bundle.pictures_in(str(tmp_path))] == ["val/ulm/ulm_000001_000019"]


def test_mistakes_of_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--dataset_dir"):
        bundle.pictures_in(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="holds no picture"):
        bundle.pictures_in(str(tmp_path))
    street(tmp_path / "labels/a.png", 24, 48)
    with pytest.raises(DataError, match="holds no picture"):  # its results would lie over the pictures
        bundle.pictures_in(str(tmp_path / "labels"), str(tmp_path))
    street(tmp_path / "b.png", 24, 48)
    street(tmp_path / "b.jpg", 24, 48)
    with pytest.raises(DataError, match="under one name"):
        bundle.pictures_in(str(tmp_path))


def test_a_picture_is_read_as_training_reads_it_and_a_bad_one_is_told(tmp_path: Path) -> None:
    pixels, read = street(tmp_path / "one.png", 64, 128), bundle.ReadScene(list(SIZE), normalize_scene)
    data = read({"image": str(tmp_path / "one.png"), "name": "one"})
    assert torch.equal(data["image"], normalize_scene(pixels))
    assert np.array_equal(data["pixels"].numpy(), pixels)
    assert (data["name"], data["failure"]) == ("one", "")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    bad = read({"image": str(tmp_path / "bad.png"), "name": "bad"})
    assert bad["image"].shape == (3, *SIZE)
    assert f"{tmp_path / 'bad.png'}: cannot be read" in bad["failure"]
    with pytest.raises(SettingsError, match="a height and a width"):
        bundle.ReadScene([64], normalize_scene)


def test_logits_come_at_the_pictures_size() -> None:
    logits = torch.randn(19, 4, 8, generator=torch.Generator().manual_seed(0))
    full = bundle.FullSize()({"pred": logits.double(), "pixels": torch.zeros(13, 27, 3)})["pred"]
    assert (full.shape, full.dtype) == ((19, 13, 27), torch.float32)
    assert float(full.max()) <= float(logits.max())
    same = bundle.FullSize()({"pred": logits, "pixels": torch.zeros(4, 8, 3)})["pred"]
    assert torch.allclose(same, logits, atol=1e-6)


def test_results_are_whole_and_a_failure_writes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = street(tmp_path / "one.png", 24, 48)
    pred = torch.arange(24 * 48).reshape(24, 48) % 19
    saver = saved(tmp_path / "out", "a/one", pred, pixels)
    saver.finish()
    saver({"name": "two", "pred": pred[None].float(), "pixels": torch.zeros(4, 8, 3), "failure": "two.png: torn"})
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {"labels/a/one.png", "colors/a/one.png", "overlays/a/one.png"}
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out/labels/a/one.png")), pred.numpy())
    assert "two.png: torn" in caplog.text
    with pytest.raises(DataError, match=r"no result for two\.png: torn; those of 1 others are written"):
        saver.finish()
    saver({"name": "three", "pred": pred[None].float(), "pixels": torch.zeros(4, 8, 3), "failure": "three.png: torn"})
    with pytest.raises(DataError, match=r"\(and 1 more, named above\)"):
        saver.finish()


def test_label_ids_are_the_official_ones(tmp_path: Path) -> None:
    assert LABEL_IDS.tolist() == [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    pred = torch.arange(24 * 48).reshape(24, 48) % 19
    saved(tmp_path / "out", "one", pred, street(tmp_path / "one.png", 24, 48), label_ids=True)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out/labels/one.png")), LABEL_IDS[pred.numpy()])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out/colors/one.png")), pred.numpy())


def test_a_place_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(SettingsError, match="cannot be written"):
        saved(tmp_path / "out", "one", torch.zeros(24, 48), street(tmp_path / "one.png", 24, 48))


def test_labels_are_matched_by_frame(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In the picture's sub-folder or with a name of its own, label ids before train ids; other files do not count."""
    found = pictures(tmp_path / "p", "ulm/u_1", "ulm/u_2", "bonn/b_1", "bonn/b_2")
    root = tmp_path / "city/gtFine"
    both = label(root / "ulm/u_1_gtFine_labelIds.png")
    label(root / "ulm/u_1_gtFine_labelTrainIds.png")
    label(root / "ulm/u_1_gtFine_color.png")
    elsewhere = label(root / "val/bonn/b_1_gtFine_labelTrainIds.png")
    label(root / "bonn/b_2.png")
    truths = bundle.scene_labels(str(tmp_path / "city"), found)
    assert {name: (truth.path, truth.values) for name, truth in truths.items()} == {
        "ulm/u_1": (both, CITYSCAPES_VALUES),
        "bonn/b_1": (elsewhere, TRAIN_VALUES),
    }
    assert "2 pictures without a label are not judged: bonn/b_2, ulm/u_2" in caplog.text
    assert bundle.scene_labels(str(root), found, "gta5")["bonn/b_2"].values == GTA5_VALUES


@pytest.mark.parametrize("fine", ["labels/u/1_gtFine_labelTrainIds", "labels/other/1_gtFine_labelIds", "labels/u/1"])
def test_coarse_labels_count_only_where_there_are_no_others(tmp_path: Path, fine: str) -> None:
    found = pictures(tmp_path / "p", "u/1", "u/2")
    coarse = [label(tmp_path / f"labels/u/{number}_gtCoarse_labelIds.png") for number in (1, 2)]
    other = label(tmp_path / f"{fine}.png")
    values = None if "gtFine" in fine else "train_ids"
    truths = bundle.scene_labels(str(tmp_path / "labels"), found, values)
    assert {name: truth.path for name, truth in truths.items()} == {"u/1": other, "u/2": coarse[1]}
    other.unlink()
    truths = bundle.scene_labels(str(tmp_path / "labels"), found, values)
    assert [truth.path for truth in truths.values()] == coarse


def test_a_name_that_is_there_twice_is_never_guessed(tmp_path: Path) -> None:
    found = pictures(tmp_path / "p", "a/1", "b/1")
    label(tmp_path / "labels/a/1.png")
    assert set(bundle.scene_labels(str(tmp_path), found, "train_ids")) == {"a/1"}
    label(tmp_path / "labels/c/1.png")
    with pytest.raises(DataError, match="are both of '1'"):
        bundle.scene_labels(str(tmp_path), pictures(tmp_path / "q", "1"), "train_ids")


def test_mistakes_of_labels_are_told_before_anything_is_segmented(tmp_path: Path) -> None:
    found = pictures(tmp_path / "p", "1")
    with pytest.raises(SettingsError, match="--labels_dir"):
        bundle.scene_labels(None, found)
    with pytest.raises(DataError, match="is not a folder"):
        bundle.scene_labels(str(tmp_path / "nowhere"), found)
    with pytest.raises(UnknownNameError, match="train_ids"):
        bundle.scene_labels(str(tmp_path), found, "magic")
    label(tmp_path / "labels/1.png")
    with pytest.raises(DataError, match=r"such as 1_gtFine_labelIds\.png; for labels .* --label_values"):
        bundle.scene_labels(str(tmp_path), found)
    label(tmp_path / "labels/1.png", (24, 40))
    with pytest.raises(DataError, match="they must agree"):
        bundle.scene_labels(str(tmp_path), found, "train_ids")


def test_the_means_leave_out_what_the_source_never_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Half road, half terrain, all predicted as road: 1/2 over road alone, 1/4 over both."""
    pixels = street(tmp_path / "p/1.png", 24, 48)
    truth = np.zeros((24, 48), dtype=np.uint8)
    truth[:, 24:] = 9
    (tmp_path / "labels").mkdir()
    Image.fromarray(truth).save(tmp_path / "labels/1.png")
    truths = bundle.scene_labels(str(tmp_path), pictures(tmp_path / "p"), "train_ids")
    saver, table = saved(tmp_path / "out", "1", torch.zeros(24, 48), pixels), tmp_path / "deep/metrics.csv"
    with caplog.at_level(logging.INFO, logger="prostate_uda.bundle"):
        scores = bundle.judge_pictures(saver, truths, str(table))
    assert (scores["road"], scores["terrain"], scores["sky"], scores["mIoU"]) == (0.5, 0.0, None, 0.25)
    assert "IoU over 1 pictures: road 0.500, terrain 0.000, mIoU 0.250" in caplog.text
    lines = table.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["class,iou,intersection,union", "road,0.5,576,1152"]
    assert "sky,,0,0" in lines
    assert "mIoU,0.25,," in lines
    assert bundle.judge_pictures(saver, truths, str(table), ["terrain"])["mIoU"] == 0.5
    with pytest.raises(UnknownNameError, match="class 'lake'"):
        bundle.judge_pictures(saver, truths, str(table), ["lake"])
    with pytest.raises(DataError, match="nothing is judged"):
        bundle.judge_pictures(bundle.SaveScene(str(tmp_path)), truths, str(table))
