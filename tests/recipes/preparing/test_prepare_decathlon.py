"""Decathlon, prepared; what is done again, and what is refused."""

import hashlib
import json
import os
import tarfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.data import load_decathlon_datalist

from prostate_uda.data.datalists import DataList
from prostate_uda.data.domains import get_domain
from prostate_uda.data.preparing.decathlon import address, known_checksum
from prostate_uda.data.preparing.download import Checksum
from prostate_uda.data.volumes import read_image
from prostate_uda.errors import DataError, SettingsError
from prostate_uda.recipes.prepare import prepare_decathlon, prepare_folder
from prostate_uda.recipes.workspace import workspace
from tests.recipes.preparing.conftest import Told, packed


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix == ".gz"
    }


def test_the_published_facts_are_monais():
    assert address() == "https://msd-for-monai.s3-us-west-2.amazonaws.com/Task05_Prostate.tar"
    assert known_checksum() == Checksum("md5", "35138f08b1efaef89d7424d2bcc928db")
    assert address("http://x/y/") == "http://x/y/Task05_Prostate.tar"


def test_decathlon_over_http(mirror, tmp_path, task):
    told = Told()
    report = mirror(tmp_path / "out", progress=told)
    out = tmp_path / "out"
    assert (report["status"], report["cases"], report["labelled"], report["test"]) == ("prepared", 4, 3, 1)
    assert report["left_out"] == report["repaired"] == report["warnings"] == {}
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) == [
        *("data_lists", "dataset.json", "downloads", "imagesTr", "imagesTs", "labelsTr", "prepare_report.json")
    ]
    for title, total, done in told.tasks:
        assert done == total > 0, title
    image = read_image(out / "imagesTr" / "prostate_16.nii.gz")
    assert image.array.shape == (96, 96, 12)
    source = read_image(task / "imagesTr" / "prostate_16.nii.gz", 0)
    assert np.array_equal(image.array, source.array)
    assert image.grid.same_as(source.grid, tolerance_mm=1e-4)
    header = nib.load(out / "labelsTr" / "prostate_16.nii.gz")
    assert header.get_data_dtype() == np.uint8
    assert np.array_equal(header.affine, nib.load(out / "imagesTr" / "prostate_16.nii.gz").affine)


def test_what_was_prepared_is_read_by_the_domain_by_monai_and_by_the_list(mirror, tmp_path):
    out = tmp_path / "out"
    mirror(out)
    split = get_domain("decathlon").cases(out, role="source", seed=0)
    assert len(split.train) + len(split.test) == 3
    found = get_domain("decathlon").find(out)
    assert found.declared_test == {"prostate_08"}
    assert len(load_decathlon_datalist(out / "dataset.json", True, "training")) == 3
    content = json.loads((out / "dataset.json").read_text())
    assert content["labels"] == {"0": "background", "1": "PZ", "2": "TZ"}
    assert content["licence"] == "CC BY-SA 4.0"
    assert content["test"] == [{"image": "./imagesTs/prostate_08.nii.gz"}]
    for name, checksum in content["sha256"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == checksum
    assert len(content["sha256"]) == 7
    listed = DataList.read(out / "data_lists" / "decathlon.json").apply(found, "source")
    assert [case.id for case in listed.train] == ["prostate_04", "prostate_16", "prostate_35"]


def test_an_archive_on_disk_and_its_folder_give_the_same_bytes(mirror, tmp_path, task, server):
    mirror(tmp_path / "a")
    archive = tmp_path / "Task05_Prostate.tar"
    archive.write_bytes(server.files["/Task05_Prostate.tar"])
    told = prepare_decathlon(tmp_path / "b", archive=archive)
    assert told["warnings"] == {
        "": ["Task05_Prostate.tar is not the published archive: its md5 is not 35138f08b1efaef89d7424d2bcc928db"]
    }
    assert not (tmp_path / "b" / "downloads").exists()
    assert prepare_decathlon(tmp_path / "c", archive=task)["warnings"] == {}
    assert files(tmp_path / "a") == files(tmp_path / "b") == files(tmp_path / "c")


def test_a_finished_folder_is_quick_and_says_so(mirror, tmp_path, server):
    mirror(tmp_path / "out")
    told, before = Told(), {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    report = mirror(tmp_path / "out", progress=told)
    assert (report["status"], report["converted"], report["reused"]) == ("unchanged", 0, 4)
    assert "is prepared already, from the same inputs; nothing to do" in told.notes[0]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert len(server.asked) == 1


def test_a_damaged_result_is_made_again(mirror, tmp_path, server):
    mirror(tmp_path / "out")
    before = files(tmp_path / "out")
    (tmp_path / "out" / "imagesTr" / "prostate_04.nii.gz").write_bytes(b"damaged")
    (tmp_path / "out" / "labelsTr" / "prostate_16.nii.gz").unlink()
    report = mirror(tmp_path / "out")
    assert (report["status"], report["converted"], report["reused"]) == ("prepared", 2, 2)
    assert files(tmp_path / "out") == before
    assert len(server.asked) == 1


def test_a_broken_download_goes_on(mirror, tmp_path, server):
    content = server.files["/Task05_Prostate.tar"]
    server.break_after["/Task05_Prostate.tar"] = [100_000]
    told = Told()
    mirror(tmp_path / "out", progress=told)
    assert server.sent == [100_000, len(content) - 100_000]
    assert told.tasks[0] == ["fetching Task05_Prostate.tar", len(content), len(content)]


def test_a_wrong_checksum_leaves_no_data_set(mirror, tmp_path):
    with pytest.raises(DataError, match=r"Task05_Prostate\.tar from .* has md5 \w+, expected 35138f08"):
        mirror(tmp_path / "out", checksum=known_checksum())
    assert files(tmp_path / "out") == {}
    with pytest.raises(DataError, match="was not prepared to the end; run the same prepare command again"):
        get_domain("decathlon").find(tmp_path / "out")
    with pytest.raises(DataError, match="was not prepared to the end"):
        get_domain("nci-isbi13").find(tmp_path / "out")
    assert mirror(tmp_path / "out")["cases"] == 4


def test_a_cut_archive_and_one_that_lacks_files(task, tmp_path):
    content = packed(task)
    archive = tmp_path / "Task05_Prostate.tar"
    for length, match in ((len(content) // 2, "damaged or cut short"), (0, "is no archive")):
        archive.write_bytes(content[:length])
        with pytest.raises(DataError, match=match):
            prepare_decathlon(tmp_path / "out", archive=archive)
        assert files(tmp_path / "out") == {}
    with tarfile.open(archive, "w") as opened:
        opened.add(task / "dataset.json", "Task05_Prostate/dataset.json")
    with pytest.raises(DataError, match=r"is listed in .* but missing"):
        prepare_decathlon(tmp_path / "out", archive=archive)


def test_an_interrupt_in_the_middle_goes_on_with_the_next_case(mirror, tmp_path):
    class Stop(Told):
        def advance(self, amount=1, values=None):
            super().advance(amount)
            if self.tasks[-1][0] == "converting" and self.tasks[-1][2] == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mirror(tmp_path / "out", progress=Stop())
    assert not (tmp_path / "out" / "dataset.json").exists()
    with pytest.raises(DataError, match="was not prepared to the end"):
        get_domain("decathlon").find(tmp_path / "out")
    report = mirror(tmp_path / "out")
    assert (report["status"], report["converted"], report["reused"]) == ("prepared", 2, 2)
    mirror(tmp_path / "whole")
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_what_a_killed_run_left_is_swept(mirror, tmp_path):
    mirror(tmp_path / "out")
    left = tmp_path / "out" / "imagesTr" / ".0123456789abcdef.nii.gz"
    left.write_bytes(b"half")
    (tmp_path / "out" / "imagesTr" / "prostate_04.nii.gz").unlink()
    mirror(tmp_path / "out")
    assert not left.exists()


@pytest.mark.parametrize("name", ["notes.txt", "imagesTr/x.nii.gz", "dataset.json"])
def test_a_folder_in_use_is_refused(task, tmp_path, name):
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    (tmp_path / "out" / name).touch()
    with pytest.raises(SettingsError, match="is in use by something else: it is not empty"):
        prepare_decathlon(tmp_path / "out", archive=task)
    with pytest.raises(SettingsError, match="is a file"):
        prepare_decathlon(tmp_path / "out" / name, archive=task)


def test_a_folder_of_another_data_set_is_refused(task, tmp_path, phantom):
    prepare_decathlon(tmp_path / "out", archive=task)
    with pytest.raises(SettingsError, match="holds 'decathlon' as prepared before, not 'folder'"):
        prepare_folder(tmp_path / "out", phantom)
    with pytest.raises(SettingsError, match="lies in the folder it is made from"):
        prepare_folder(phantom / "new", phantom)
    (tmp_path / "out" / "prepare_report.json").write_text("{")
    with pytest.raises(SettingsError, match=r"prepare_report\.json is damaged"):
        prepare_decathlon(tmp_path / "out", archive=task)


def test_a_second_run_at_the_same_time_is_refused(task, tmp_path):
    with (
        workspace(tmp_path / "out", "decathlon"),
        pytest.raises(SettingsError, match="another process is working in"),
    ):
        prepare_decathlon(tmp_path / "out", archive=task)
    assert prepare_decathlon(tmp_path / "out", archive=task)["cases"] == 4


@pytest.mark.skipif(os.name == "nt", reason="folders have no write bit")
def test_a_folder_that_cannot_be_written(task, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be written"):
        prepare_decathlon(tmp_path / "file" / "out", archive=task)
