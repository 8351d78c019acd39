"""A filled bundle of driving scenes: complete, silent about places; MONAI's own command runs it as our engine does."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prostate_uda.data.scene_classes import CITYSCAPES_VALUES, COLOURS, SCENE_CLASSES
from prostate_uda.data.scene_images import read_scene_label
from prostate_uda.engines.scenes import SceneSegmenter
from prostate_uda.errors import CheckpointError, SettingsError
from prostate_uda.recipes.bundle_folder import template
from prostate_uda.recipes.bundle_reading import open_bundle
from prostate_uda.recipes.infer import InferSettings, infer
from prostate_uda.recipes.scene_bundle import SCENE_TEMPLATE
from prostate_uda.review.scenes import overlay
from tests.bundles.conftest import SCENE_RECORD, SIZE, network, street, write, write_scenes
from tests.bundles.test_bundle_folder import scan

SEGMENT, JUDGE = ["configs/inference.json"], ["configs/inference.json", "configs/evaluate.json"]
NAMES = ("val/bonn/bonn_000000_000001", "val/bonn/bonn_000000_000002", "val/ulm/ulm_000000_000007")
BAD = "val/ulm/ulm_000000_000008"


def test_a_bundle_is_complete(scenes: Path) -> None:
    files = {str(path.relative_to(scenes)) for path in scenes.rglob("*") if path.is_file()}
    assert files == {
        *("LICENSE", "docs/README.md", "models/model.pt"),
        *("configs/inference.json", "configs/evaluate.json", "configs/metadata.json", "configs/logging.conf"),
    }
    inference, evaluate, metadata = (
        json.loads((scenes / f"configs/{name}.json").read_text()) for name in ("inference", "evaluate", "metadata")
    )
    assert inference["preprocessing"]["size"] == list(SIZE)
    assert inference["network_def"]["network"]["num_classes"] == 19
    assert evaluate["absent_classes"] == ["terrain", "truck", "train"]  # SYNTHIA's
    assert metadata["eval_metrics"] == SCENE_RECORD["results"]
    assert metadata["data_source"] == "synthia with labels, cityscapes without"
    assert metadata["network_data_format"]["inputs"]["image"]["spatial_shape"] == list(SIZE)
    assert metadata["network_data_format"]["outputs"]["pred"]["spatial_shape"] == list(SIZE)
    weights = torch.load(scenes / "models/model.pt", weights_only=True)
    expected = network(19).state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())


def test_no_path_and_no_setting_of_volumes_travels(scenes: Path) -> None:
    told = json.loads((scenes / "configs/metadata.json").read_text())["provenance"]
    assert told["seed"] == 7
    assert set(told["settings"]) == {"source", "target", "method", "options", "network", "normalize", "augment"}


def test_the_page_shows_what_was_measured_and_nothing_else(scenes: Path, tmp_path: Path) -> None:
    page = (scenes / "docs/README.md").read_text(encoding="utf-8")
    assert "| | source network, target's test pictures | adapted network, target's test pictures |" in page
    assert "| mIoU | 0.250 | 0.500 |" in page
    assert "| road | 0.500 | 0.750 |" in page
    assert "| train | - | - |" in page
    assert "(source: synthia, 1 pictures held out; target: cityscapes, 2 test pictures)" in page
    assert "This is the template" not in page
    assert "## Limitations" in page
    many = {"cases": {"source": {"test": ["x"] * 900}}, "results": SCENE_RECORD["results"]}
    page = (write_scenes(tmp_path / "many", provenance=many) / "docs/README.md").read_text(encoding="utf-8")
    assert "(source: the source, 900 pictures held out; target: the target, unsaid test pictures)" in page
    page = (write_scenes(tmp_path / "other", provenance={}) / "docs/README.md").read_text(encoding="utf-8")
    assert "Not measured" in page
    assert "| road |" not in page


def test_mistakes_are_told_and_leave_what_was_there(scenes: Path) -> None:
    before = sorted(scenes.parent.rglob("*"))
    with pytest.raises(SettingsError, match="FinalLogits"):
        write_scenes(scenes, state_dict=network(19).network.state_dict())
    with pytest.raises(SettingsError, match="a height and a width"):
        write_scenes(scenes, size=(0, 128))
    with pytest.raises(TypeError):
        write_scenes(scenes, network_config=None)
    assert sorted(scenes.parent.rglob("*")) == before
    (scenes.parent / "thesis.txt").touch()
    with pytest.raises(SettingsError, match="in use and is no bundle"):
        write_scenes(scenes.parent)


def test_infer_names_the_command_for_pictures(scenes: Path, tmp_path: Path) -> None:
    scan(tmp_path / "one.nii.gz")
    with pytest.raises(CheckpointError, match="of driving scenes") as told:
        infer([tmp_path / "one.nii.gz"], scenes, tmp_path / "out", InferSettings(device="cpu"))
    assert f"python -m monai.bundle run --config_file {scenes / 'configs' / 'inference.json'}" in str(told.value)
    assert "\n" not in str(told.value)
    assert open_bundle(write(tmp_path / "zones")).config["inferer"]["depth"] == 3


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cityscapes' layout: pictures of two sizes, both kinds of labels, and one picture cut short."""
    root, labels = tmp_path_factory.mktemp("city"), np.random.default_rng(1)
    sizes = ((100, 200), (131, 257), (100, 200))
    for number, (name, size) in enumerate(zip(NAMES, sizes, strict=True)):
        street(root / "leftImg8bit" / f"{name}_leftImg8bit.png", *size, seed=number)
        label = root / "gtFine" / f"{name}_gtFine_{'labelIds' if number else 'labelTrainIds'}.png"
        label.parent.mkdir(parents=True, exist_ok=True)
        known = list(CITYSCAPES_VALUES) if number else [*range(19), 255]
        Image.fromarray(labels.choice(known, size).astype(np.uint8)).save(label)
    whole = (root / "leftImg8bit" / f"{NAMES[0]}_leftImg8bit.png").read_bytes()
    (root / "leftImg8bit" / f"{BAD}_leftImg8bit.png").write_bytes(whole[: len(whole) // 2])
    return root


def run(bundle: Path, configs: list[str], **settings: object) -> subprocess.CompletedProcess[str]:
    """The command in the bundle's folder."""
    files = "[" + ",".join(f"'{name}'" for name in configs) + "]" if len(configs) > 1 else configs[0]
    flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", files, "--bundle_root", ".", *flags]
    return subprocess.run(
        [*command, "--meta_file", "configs/metadata.json", "--logging_file", "configs/logging.conf"],
        cwd=bundle,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=240,
        check=False,
    )


def segmenter(bundle: Path) -> SceneSegmenter:
    """Our engine with the bundle's weights, in memory."""
    made = network(19)
    made.load_state_dict(torch.load(bundle / "models/model.pt", weights_only=True))
    return SceneSegmenter(made, SIZE, torch.device("cpu"))


def test_monai_judges_as_our_engine_and_goes_on_after_a_bad_picture(scenes: Path, city: Path, tmp_path: Path) -> None:
    """Labels equal ``SceneSegmenter``'s to the bit; the bad picture is named and ends the command, after the table."""
    out = tmp_path / "out"
    done = run(scenes, JUDGE, dataset_dir=city, labels_dir=city, output_dir=out)
    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert f"{BAD}_leftImg8bit.png: cannot be read as a picture" in told
    assert "those of 3 others are written" in told
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    expected = {f"{kind}/{name}.png" for kind in ("labels", "colors", "overlays") for name in NAMES}
    assert files == expected | {"metrics.csv"}

    ours, both, either = segmenter(scenes), np.zeros(19), np.zeros(19)
    for number, name in enumerate(NAMES):
        pixels, label = ours(city / "leftImg8bit" / f"{name}_leftImg8bit.png")
        written = Image.open(out / "labels" / f"{name}.png")
        assert written.mode == "L"
        assert np.array_equal(np.asarray(written), label)
        assert len(np.unique(label)) > 5
        colored = Image.open(out / "colors" / f"{name}.png")
        assert np.array_equal(np.asarray(colored), label)
        assert np.array_equal(np.asarray(colored.convert("RGB")), np.array(COLOURS, dtype=np.uint8)[label])
        assert np.array_equal(np.asarray(Image.open(out / "overlays" / f"{name}.png")), overlay(pixels, label, COLOURS))
        file = next((city / "gtFine").glob(f"{name}_gtFine_*.png"))
        truth = read_scene_label(file, CITYSCAPES_VALUES if number else {**{n: n for n in range(19)}, 255: 255})
        for place in range(19):
            hit, guess = truth == place, (label == place) & (truth != 255)
            both[place] += (hit & guess).sum()
            either[place] += (hit | guess).sum()

    with (out / "metrics.csv").open(encoding="utf-8") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    assert list(rows) == [*SCENE_CLASSES, "mIoU", "mIoU_16", "mIoU_13"]
    for place, name in enumerate(SCENE_CLASSES):
        assert (int(rows[name]["intersection"]), int(rows[name]["union"])) == (both[place], either[place])
        assert float(rows[name]["iou"]) == pytest.approx(both[place] / either[place])
    counted = [place for place, name in enumerate(SCENE_CLASSES) if name not in ("terrain", "truck", "train")]
    assert float(rows["mIoU"]["iou"]) == pytest.approx(np.mean(both[counted] / either[counted]))
    assert rows["mIoU"]["iou"] == rows["mIoU_16"]["iou"] != rows["mIoU_13"]["iou"]


def test_label_ids_are_what_cityscapes_takes(scenes: Path, city: Path, tmp_path: Path) -> None:
    """Whole pictures alone: the command ends well; the labels are ids, the colours train ids all the same."""
    out, folder = tmp_path / "out", city / "leftImg8bit" / "val" / "bonn"
    done = run(scenes, SEGMENT, dataset_dir=folder, output_dir=out, label_ids=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    names = sorted(path.name for path in (out / "labels").iterdir())
    assert names == ["bonn_000000_000001.png", "bonn_000000_000002.png"]
    for name in names:
        ids = np.asarray(Image.open(out / "labels" / name))
        train = np.asarray(Image.open(out / "colors" / name))
        assert np.array_equal(read_scene_label(out / "labels" / name, CITYSCAPES_VALUES), train)
        assert not np.array_equal(ids, train)


def test_the_page_has_no_command_that_cannot_be_typed() -> None:
    """Every command of the page parses, its configs are there, and each setting is one of theirs."""
    root = template(SCENE_TEMPLATE)
    page = (root / "docs" / "README.md").read_text(encoding="utf-8")
    commands = [line for line in page.splitlines() if "monai.bundle run" in line]
    assert len(commands) == 3
    for line in commands:
        words = shlex.split(line)
        names = re.findall(r"configs/\w+\.json", words[words.index("--config_file") + 1])
        known = {key for name in names for key in json.loads((root / name).read_text(encoding="utf-8"))}
        flags = {word.removeprefix("--") for word in words if re.match(r"--[a-z_]+$", word)}
        assert flags - {"config_file"} <= known, line
