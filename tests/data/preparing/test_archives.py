"""Archives that are damaged or mean harm: one line, and nothing unpacked."""

import io
import os
import shutil
import stat
import tarfile
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from prostate_uda.data.preparing.archives import is_archive, unpack
from prostate_uda.errors import DataError

FILES = {"Task/a.txt": b"a" * 5000, "Task/sub/b.txt": b"b", "Task/._a.txt": b"junk", "__MACOSX/c": b"junk"}


def make_tar(path, files=FILES, mode="w", **kinds):
    """A tar with these files, and members of other kinds by name."""
    with tarfile.open(path, mode) as opened:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
        for name, kind in kinds.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            opened.addfile(member)
    return path


def make_zip(path, files=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return path


def refused(archive, tmp_path, match):
    """The archive is refused in one line, and leaves no trace."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=match) as error:
        unpack(archive, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert archive.name in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tar.xz", "w:xz"), ("a.zip", "")])
def test_files_come_out_and_litter_stays(tmp_path, name, mode):
    archive = make_tar(tmp_path / name, mode=mode) if mode else make_zip(tmp_path / name)
    assert is_archive(archive)
    out = unpack(archive, tmp_path / "out")
    assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} == {"Task/a.txt", "Task/sub/b.txt"}
    assert (out / "Task" / "a.txt").read_bytes() == b"a" * 5000
    assert unpack(archive, out) == out


@pytest.mark.parametrize("name", ["/etc/x", "../x", "Task/../../x", "C:\\x", "..\\x", "\\\\host\\x"])
@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_members_outside_are_refused(tmp_path, name, make):
    refused(make(tmp_path / "evil", {"good": b"1", name: b"2"}), tmp_path, "would lie outside of the folder")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    refused(make_tar(tmp_path / "evil.tar", link=kind), tmp_path, "'link', which is a link or a device")


def test_links_in_a_zip_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as opened:
        member = zipfile.ZipInfo("link")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(member, "/etc/passwd")
    refused(tmp_path / "evil.zip", tmp_path, "'link', which is a link or a device")


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tar.xz", "w:xz"), ("a.zip", "")])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_a_cut_archive_is_refused(tmp_path, name, mode, share):
    files = {"a": os.urandom(20_000), "b": os.urandom(30_000)}
    archive = make_tar(tmp_path / name, files, mode) if mode else make_zip(tmp_path / name, files)
    archive.write_bytes(archive.read_bytes()[: int(share * archive.stat().st_size)])
    refused(archive, tmp_path, "damaged or cut short|cannot be unpacked")


def test_a_flipped_bit_in_a_zip_is_found(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"a": os.urandom(20_000)})
    content = bytearray(archive.read_bytes())
    content[9_000] ^= 1
    archive.write_bytes(bytes(content))
    refused(archive, tmp_path, "damaged or cut short")


def test_an_encrypted_zip_is_refused(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"a": b"secret"})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    archive.write_bytes(bytes(content))
    refused(archive, tmp_path, "is encrypted")


def test_what_does_not_fit_is_not_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4_000))
    for make in (make_tar, make_zip):
        refused(make(tmp_path / "bomb"), tmp_path, r"unpacks to 5,009 bytes, .* has room for 4,000; make room")


def test_no_archive(tmp_path):
    (tmp_path / "page.html").write_text("<html>Not found</html>")
    assert not is_archive(tmp_path / "page.html")
    refused(tmp_path / "page.html", tmp_path, "is no archive")
    with pytest.raises(DataError, match="does not exist"):
        unpack(tmp_path / "none", tmp_path / "out")


def test_a_file_and_a_folder_of_one_name(tmp_path):
    refused(make_tar(tmp_path / "odd.tar", {"a": b"1", "a/b": b"2"}), tmp_path, "cannot be unpacked")


@pytest.mark.parametrize(("name", "mode"), [("a.tar.gz", "w:gz"), ("a.tar.xz", "w:xz"), ("a.tar.bz2", "w:bz2")])
def test_flipped_bits_in_a_compressed_tar_are_found(tmp_path, name, mode):
    """The checksum stands at the end, behind the last member."""
    noise = np.random.default_rng(0).bytes(200_000)
    archive = make_tar(tmp_path / name, {"Task/a.bin": noise}, mode)
    content = bytearray(archive.read_bytes())
    content[100_000:100_050] = bytes(50)
    archive.write_bytes(content)
    refused(archive, tmp_path, "damaged|cannot be unpacked|no archive")
