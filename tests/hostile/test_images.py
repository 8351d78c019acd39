"""Images that nobody can use: each is refused by its name and for its reason, by every command that reads it."""

import csv
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from prostate_uda.recipes import InferSettings, infer, prepare_folder
from prostate_uda.recipes.record import read_json
from tests.hostile.conftest import Command, flags, leftovers
from tests.hostile.faults import AFFINE, IMAGES, Fault, metres, patched, save, scan, zones

LABELS = InferSettings(device="cpu", review=False)


def stem(path: Path) -> str:
    return path.name.split(".")[0]


@pytest.mark.parametrize("fault", IMAGES, ids=lambda fault: fault.__name__)
def test_adapt_stops_before_anything_is_written(pair: Path, tmp_path: Path, command: Command, fault: Fault) -> None:
    victim = fault(pair / "target" / "images")
    told = command("adapt", *flags(pair), f"--out={tmp_path / 'run'}").complaint
    assert re.search(IMAGES[fault], told), told
    assert str(victim) in told
    assert not (tmp_path / "run").exists()


def test_infer_names_each_bad_scan_and_segments_the_others(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    bad = {stem(fault(tmp_path / "in")): message for fault, message in IMAGES.items()}
    good = save(tmp_path / "in" / "good.nii.gz", scan())
    found = infer([tmp_path / "in"], finished, tmp_path / "out", LABELS)
    assert found.failures.keys() == bad.keys()
    assert all(re.search(message, found.failures[name]) for name, message in bad.items()), found.failures
    assert [path.name for path in found.labels] == ["good_zones.nii.gz"]
    assert nib.load(found.labels[0]).shape == nib.load(good).shape
    with (tmp_path / "out" / "failures.csv").open(newline="", encoding="utf-8") as file:
        assert {row["case"] for row in csv.DictReader(file)} == bad.keys()
    assert not leftovers(tmp_path / "out")


@pytest.mark.parametrize("fault", [next(iter(IMAGES)), metres], ids=lambda fault: fault.__name__)
def test_infer_of_the_only_scan_is_one_line(finished: Path, tmp_path: Path, command: Command, fault: Fault) -> None:
    (tmp_path / "in").mkdir()
    told = command("infer", fault(tmp_path / "in"), "--bundle", finished, "--out", tmp_path / "out").complaint
    assert re.search(IMAGES[fault], told)
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_prepare_leaves_each_bad_scan_out_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    bad = {stem(fault(tmp_path / "in")): message for fault, message in IMAGES.items()}
    save(tmp_path / "in" / "good.nii.gz", scan())
    told = prepare_folder(tmp_path / "out", tmp_path / "in")
    assert told["left_out"].keys() == bad.keys()
    assert all(re.search(message, told["left_out"][name]) for name, message in bad.items()), told["left_out"]
    assert read_json(tmp_path / "out" / "prepare_report.json")["left_out"] == told["left_out"]
    assert [path.name for path in (tmp_path / "out" / "imagesTr").iterdir()] == ["good.nii.gz"]


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int64, np.uint64, np.float64, ">i2"], ids=str)
def test_grey_values_of_any_width_give_the_same_label(finished: Path, tmp_path: Path, kind: object) -> None:
    array = scan() % 100
    images = [save(tmp_path / "a.nii.gz", array), save(tmp_path / "b.nii.gz", array.astype(kind))]
    first, second = (
        np.asarray(nib.load(path).dataobj) for path in infer(images, finished, tmp_path / "o", LABELS).labels
    )
    assert np.array_equal(first, second)


@pytest.mark.parametrize("slope", [0.0, np.nan, np.inf])
def test_a_slope_that_scales_nothing_is_none(finished: Path, tmp_path: Path, slope: float) -> None:
    """The standard's: a slope of 0 means that voxels are not scaled, whatever the intercept."""
    plain = save(tmp_path / "plain.nii.gz", scan())
    odd = patched(tmp_path / "odd.nii", scan(), scl_slope=slope, scl_inter=17.0)
    first, second = (
        np.asarray(nib.load(path).dataobj) for path in infer([plain, odd], finished, tmp_path / "o", LABELS).labels
    )
    assert np.array_equal(first, second)


def test_one_slice_is_a_scan(pair: Path, tmp_path: Path, command: Command, finished: Path) -> None:
    for name in ("source", "target"):
        for path in (pair / name).rglob("*.nii.gz"):
            image = nib.load(path)
            save(path, np.asarray(image.dataobj)[:, :, 2:3], AFFINE)
    done = command("adapt", *flags(pair), f"--out={tmp_path / 'run'}")
    assert done.code == 0, done.err
    one = save(tmp_path / "one.nii.gz", scan()[:, :, :1])
    assert command("infer", one, "--bundle", finished, "--out", tmp_path / "out", "--device=cpu").code == 0
    assert nib.load(tmp_path / "out" / "one_zones.nii.gz").shape == (40, 40, 1)


def test_a_label_given_as_an_image_is_told_by_doctor(pair: Path, command: Command) -> None:
    save(pair / "target" / "images" / "target0.nii.gz", zones())
    done = command("doctor", pair / "target", "--json")
    assert done.code == 2
    assert "3 distinct grey values: a label map, not an image" in done.out
