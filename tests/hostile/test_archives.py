"""Archives that would write elsewhere, given to ``prepare``; every kind is tried in tests/data/preparing."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.hostile.conftest import Command, leftovers


def tar(path: Path, name: str, link: str = "") -> Path:
    with tarfile.open(path, "w") as made:
        member = tarfile.TarInfo(name)
        member.size = 0 if link else 4
        if link:
            member.type, member.linkname = tarfile.SYMTYPE, link
        made.addfile(member, io.BytesIO(b"evil"))
    return path


@pytest.mark.parametrize(
    ("name", "link", "message"),
    [
        ("../evil", "", "would lie outside of the folder it is unpacked in; nothing was unpacked"),
        ("/tmp/evil", "", "would lie outside of the folder it is unpacked in; nothing was unpacked"),
        ("Task05_Prostate/link", "/etc", "is a link or a device; plain files are allowed; nothing was unpacked"),
    ],
)
def test_a_tar_of_the_decathlon(tmp_path: Path, command: Command, name: str, link: str, message: str) -> None:
    archive = tar(tmp_path / "Task05_Prostate.tar", name, link)
    told = command("prepare", "decathlon", "--archive", archive, "--out", tmp_path / "out").complaint
    assert message in told
    assert not list(tmp_path.rglob("evil"))
    assert not [path for path in (tmp_path / "out" / "downloads").rglob("*") if path.is_file()]
    assert not leftovers(tmp_path / "out")


def test_a_zip_of_labels(tmp_path: Path, command: Command) -> None:
    with zipfile.ZipFile(tmp_path / "labels.zip", "w") as made:
        made.writestr("../evil.nrrd", "evil")
    (tmp_path / "dicom").mkdir()
    given = (f"--dicom={tmp_path / 'dicom'}", f"--segmentations={tmp_path / 'labels.zip'}")
    told = command("prepare", "nci-isbi13", *given, f"--out={tmp_path / 'out'}").complaint
    assert "would lie outside of the folder it is unpacked in; nothing was unpacked" in told
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04" + bytes(50)])
def test_what_is_no_archive(tmp_path: Path, command: Command, content: bytes) -> None:
    (tmp_path / "Task05_Prostate.tar").write_bytes(content)
    typed = ("prepare", "decathlon", "--archive", tmp_path / "Task05_Prostate.tar", "--out", tmp_path / "out")
    assert "is no archive, damaged or cut short" in command(*typed).complaint
