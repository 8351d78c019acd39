"""Labels that nobody can use, and those that look odd and are not."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from prostate_uda.recipes import prepare_folder
from tests.hostile.conftest import Command, flags
from tests.hostile.faults import AFFINE, patched, save, zones

Spoil = Callable[[Path], object]


def written(array: np.ndarray, affine: np.ndarray = AFFINE) -> Spoil:
    return lambda path: save(path, array, affine)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def sheared(path: Path) -> None:
    path.unlink()
    patched(path.with_name(path.name.removesuffix(".gz")), zones(), sform_code=1, srow_x=(-1.5, 0.7, 0, 0))


def huge(path: Path) -> None:
    path.unlink()
    patched(path.with_name(path.name.removesuffix(".gz")), zones(), dim=(3, 10000, 10000, 10000, 1, 1, 1, 1))


TWO = zones() == 2
BAD: dict[str, tuple[Spoil, str]] = {
    "unknown": (
        written(np.where(TWO, 7, zones()).astype(np.uint8)),
        "unknown label value 7; allowed .*: 0 -> 0, 1 -> 1",
    ),
    "negative": (written(-zones().astype(np.int8)), "unknown label value -2, -1; allowed"),
    "wide": (written(zones().astype(np.int64) * 2**60), r"unknown label value 1.15292150460685e\+18, .*; allowed"),
    "endless": (written(zones() * 1e300), r"unknown label value 1e\+300, 2e\+300; allowed"),
    "half": (
        written((zones() * 0.5).astype(np.float32)),
        "whole numbers only, this one holds 0.5; was it interpolated",
    ),
    "nan": (written(np.where(TWO, np.nan, zones()).astype(np.float32)), "whole numbers only, this one holds nan"),
    "flat": (written(zones()[..., 2]), r"2 dimensions \(40, 40\); 3, or 4 with channels last, are needed"),
    "channels": (
        written(np.stack([zones(), zones()], axis=-1)),
        "4 dimensions .*a label has 3, save each of its channels",
    ),
    "moved": (
        written(zones(), np.diag((-1.5, -1.5, 3.3, 1.0))),
        "is not on the grid of .*resample the label to its image",
    ),
    "short": (written(zones()[:-1]), "is not on the grid of .*resample the label to its image"),
    "cut": (cut, "damaged or cut short .*copy it again"),
    "sheared": (sheared, "a sheared affine: .*resample the series"),
    "huge": (huge, "claims 10000 x 10000 x 10000 voxels"),
}


@pytest.mark.parametrize("name", BAD)
def test_adapt_refuses_a_source_label(pair: Path, tmp_path: Path, command: Command, name: str) -> None:
    spoil, message = BAD[name]
    spoil(pair / "source" / "labels" / "source0.nii.gz")
    told = command("adapt", *flags(pair), f"--out={tmp_path / 'run'}").complaint
    assert re.search(f"source0.*{message}", told), told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("side", ["predicted", "true"])
@pytest.mark.parametrize("name", BAD)
def test_evaluate_refuses_it_on_either_side(tmp_path: Path, command: Command, name: str, side: str) -> None:
    for folder in ("predicted", "true"):
        save(tmp_path / folder / "case.nii.gz", zones())
    spoil, message = BAD[name]
    spoil(tmp_path / side / "case.nii.gz")
    done = command("evaluate", tmp_path / "predicted", tmp_path / "true", "--out", tmp_path / "cases.csv")
    assert re.search(message, done.complaint), done
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == []


def test_prepare_leaves_a_case_with_a_bad_label_out(pair: Path, tmp_path: Path) -> None:
    spoil, message = BAD["unknown"]
    spoil(pair / "source" / "labels" / "source0.nii.gz")
    save(pair / "source" / "labels" / "source1.nii.gz", zones() * 0)
    told = prepare_folder(tmp_path / "out", pair / "source")
    assert re.search(message, told["left_out"]["source0"])
    assert "is empty: it holds background only; leave it out, or get it again" in told["left_out"]["source1"]
    assert told["cases"] == 1


def test_adapt_refuses_a_source_of_empty_labels(pair: Path, tmp_path: Path, command: Command) -> None:
    for path in (pair / "source" / "labels").iterdir():
        save(path, zones() * 0)
    told = command("adapt", *flags(pair), f"--out={tmp_path / 'run'}").complaint
    assert "no label of the source holds PZ or TZ" in told
    assert not (tmp_path / "run").exists()


def test_doctor_finds_an_empty_label(pair: Path, command: Command) -> None:
    save(pair / "source" / "labels" / "source1.nii.gz", zones() * 0)
    done = command("doctor", pair / "source", "--json")
    assert done.code == 2
    assert "the label holds no zone at all" in done.out


@pytest.mark.parametrize(("predicted", "true", "shown"), [(1, 0, "inf"), (0, 1, "inf"), (0, 0, "-")])
def test_evaluate_tells_an_empty_label_from_a_bad_one(
    tmp_path: Path, command: Command, predicted: int, true: int, shown: str
) -> None:
    """Nothing where there is something is a Dice of 0 and an endless distance; nothing on both sides says nothing."""
    save(tmp_path / "predicted" / "case.nii.gz", zones() * predicted)
    save(tmp_path / "true" / "case.nii.gz", zones() * true)
    done = command("evaluate", tmp_path / "predicted", tmp_path / "true")
    assert done.code == 0, done.err
    row = next(line for line in done.out.splitlines() if "case" in line)
    cells = [cell.strip() for cell in row.strip("│ ").split("│")]
    assert cells[5] == shown
    assert cells[1] == ("-" if shown == "-" else "0.0")


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint64, np.float32, np.float64])
def test_labels_of_any_width_are_the_same(tmp_path: Path, command: Command, kind: type) -> None:
    save(tmp_path / "predicted" / "case.nii.gz", zones())
    save(tmp_path / "true" / "case.nii.gz", zones().astype(kind))
    done = command("evaluate", tmp_path / "predicted", tmp_path / "true")
    assert done.code == 0, done.err
    assert next(line for line in done.out.splitlines() if "case" in line).count("100.0") == 4


def test_one_channel_in_four_dimensions_is_a_label(tmp_path: Path, command: Command) -> None:
    save(tmp_path / "predicted" / "case.nii.gz", zones())
    save(tmp_path / "true" / "case.nii.gz", zones()[..., None])
    assert command("evaluate", tmp_path / "predicted", tmp_path / "true").code == 0
