"""Data lists, and other JSON that a user brings: of another shape, about others, or as deep as nobody writes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.conftest import Command, flags
from tests.hostile.faults import save, scan, zones

DEEP = "[" * 100_000


def part(train: list[str], test: list[str]) -> dict[str, Any]:
    splits = {"train": [{"id": case} for case in train], "test": [{"id": case} for case in test]}
    return {"domain": "folder", "licence": "none", "splits": splits}


def listed(**changes: Any) -> dict[str, Any]:
    """A list that fits the pair, but for the changes."""
    source, target = part(["source0", "source1"], []), part(["target0", "target1"], ["target2"])
    return {
        "format": "prostate_uda data list 1",
        "name": "mine",
        "title": "t",
        "source": source,
        "target": target,
        **changes,
    }


AWAY = "names 1 of 3 target cases that are not there: {}; give the whole of 'folder', or another list"
LISTS: dict[str, tuple[object, str]] = {
    "upwards": (listed(target=part(["../../etc/passwd", "target1"], ["target2"])), AWAY.format("../../etc/passwd")),
    "absolute": (listed(target=part(["/etc/passwd", "target1"], ["target2"])), AWAY.format("/etc/passwd")),
    "missing": (listed(target=part(["nobody", "target1"], ["target2"])), AWAY.format("nobody")),
    "two splits": (
        listed(target=part(["target0", "TARGET2"], ["target2"])),
        "one patient is 'TARGET2' in target train and 'target2' in target test; a patient may be listed once",
    ),
    "both domains": (
        listed(target=part(["target0", "source0"], ["target2"])),
        "one patient is 'source0' in source train and 'source0' in target train; a patient may be listed once",
    ),
    "no target": (listed(target=part([], ["target2"])), "has no case to adapt to; give more scans with --target-root"),
    "no source": (listed(source=part([], [])), "no case to cut into slices; give a folder with at least one scan"),
    "list": ([], "is no data list: its 'format' is not 'prostate_uda data list 1'; give a file as in data_lists/"),
    "newer": (
        listed(format="prostate_uda data list 99"),
        "is no data list: its 'format' is not 'prostate_uda data list 1'",
    ),
    "text": (listed(source="x"), "the list.source is a text; an object is needed"),
    "number": (
        listed(source={**part([], []), "splits": {"train": [1], "test": []}}),
        r"train\[0\] is a number; an object",
    ),
    "unknown key": (listed(speed=1), "the list has the unknown key 'speed'; allowed are"),
    "checksum": (
        listed(source={**part([], []), "splits": {"train": [{"id": "a", "image": "sha256:zz"}], "test": []}}),
        "checksum 'sha256:zz' of a; allowed are sha256: or md5: with their digits, or null",
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_cannot_be_followed(pair: Path, tmp_path: Path, command: Command, name: str) -> None:
    content, message = LISTS[name]
    path = tmp_path / "list.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    told = command("adapt", *flags(pair, data_list=path), f"--out={tmp_path / 'run'}").complaint
    assert re.search(message, told), told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["", "{", "\0\1", DEEP, '{"format":' * 50_000, '{"format":' + "1" * 5000 + "}", None])
def test_a_list_that_is_no_json(pair: Path, tmp_path: Path, command: Command, text: str | None) -> None:
    path = tmp_path / "list.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    told = command("adapt", *flags(pair, data_list=path), f"--out={tmp_path / 'run'}").complaint
    assert f"{path} cannot be read as a data list" in told
    assert "give a file as in data_lists/" in told
    assert not (tmp_path / "run").exists()


def decathlon(folder: Path, first: str = "./imagesTr/p0.nii.gz") -> Path:
    """A data set in the Decathlon's layout whose list begins with ``first``."""
    for case in range(3):
        save(folder / "imagesTr" / f"p{case}.nii.gz", scan(case))
        save(folder / "labelsTr" / f"p{case}.nii.gz", zones())
    images = [first, "./imagesTr/p1.nii.gz", "./imagesTr/p2.nii.gz"]
    entries = [{"image": name, "label": f"./labelsTr/p{case}.nii.gz"} for case, name in enumerate(images)]
    content = {"labels": {"0": "background", "1": "PZ", "2": "TZ"}, "training": entries, "test": []}
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ("./imagesTr/nobody.nii.gz", r"nobody\.nii\.gz is listed in .*dataset\.json but missing; unpack"),
        ("./imagesTr", r"imagesTr is listed in .*dataset\.json but missing"),
        ("a\0b.nii.gz", "is listed in .*dataset\\.json but missing"),
        ("a" * 300, "File name too long; give another path"),
        ("./imagesTr/p1.nii.gz", "two images of one case"),
        pytest.param("../secret/s.nii.gz", "outside"),
        pytest.param("{absolute}", "outside"),
    ],
    ids=["missing", "folder", "null byte", "long", "twice", "upwards", "absolute"],
)
def test_a_data_sets_own_list(tmp_path: Path, command: Command, first: str, message: str) -> None:
    secret = save(tmp_path / "secret" / "s.nii.gz", scan(9))
    root = decathlon(tmp_path / "data", first.format(absolute=secret))
    told = command("prepare", "decathlon", "--archive", root, "--out", tmp_path / "out").complaint
    assert re.search(message, told), told
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_a_data_sets_own_list_that_is_endlessly_deep(tmp_path: Path, command: Command) -> None:
    (decathlon(tmp_path / "data") / "dataset.json").write_text(DEEP, encoding="utf-8")
    told = command("prepare", "decathlon", "--archive", tmp_path / "data", "--out", tmp_path / "out").complaint
    assert "is no readable JSON" in told


@pytest.mark.parametrize("text", [DEEP, "[]", '{"format": "another"}', "\0"])
def test_verdicts_of_another_form(tmp_path: Path, command: Command, text: str) -> None:
    save(tmp_path / "predicted" / "case.nii.gz", zones())
    path = tmp_path / "verdicts.json"
    path.write_text(text, encoding="utf-8")
    folder = tmp_path / "predicted"
    told = command("evaluate", folder, "--corrected", folder, "--verdicts", path).complaint
    assert re.search("holds no verdicts; give the JSON or CSV|cannot be read .*download it again", told)


@pytest.mark.parametrize("text", [DEEP, "[]", "{", "\0"])
def test_a_record_of_a_run_of_another_form(tmp_path: Path, command: Command, text: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(text, encoding="utf-8")
    told = command("review", tmp_path / "run").complaint
    assert re.search(r"run\.json (cannot be read as JSON|holds no JSON object|is no record of a run)", told)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]


def test_a_report_of_prepare_of_another_form(pair: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "prepare_report.json").write_text(DEEP, encoding="utf-8")
    told = command("prepare", "folder", pair / "source", "--out", tmp_path / "out").complaint
    assert "prepare_report.json is damaged; remove it, or name a new folder with --out" in told
    told = command("adapt", *flags(pair, source_root=tmp_path / "out"), f"--out={tmp_path / 'run'}").complaint
    assert "run the same prepare command again" in told


def test_a_setting_that_is_endlessly_deep(tmp_path: Path, command: Command) -> None:
    told = command("adapt", "--set", f"epsilon={DEEP[:60_000]}", f"--out={tmp_path / 'run'}").complaint
    assert "epsilon" in told
    assert not (tmp_path / "run").exists()
