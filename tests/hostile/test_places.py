"""Where results go and files come from: places that are full, forbidden, of a strange name or no place at all."""

import ctypes
import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.hostile.conftest import Command, flags, leftovers
from tests.hostile.faults import save, scan, zones

LONG = "a" * 300
ODD = "a b [x] 'q' é ß ø #1"


@contextmanager
def disk_with_room_for(size: int) -> Iterator[None]:
    """No file grows beyond ``size`` bytes: the kernel says so as it says that a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def rights() -> Iterator[None]:
    """Rights count, as they do for everybody but root."""
    libc, header = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(0x20080522, 0)
    before, without = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    assert libc.capget(header, before) == 0
    without[:] = before[:]
    without[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, without) == 0
    yield
    assert libc.capset(header, before) == 0


@contextmanager
def closed(path: Path, mode: int) -> Iterator[None]:
    path.chmod(mode)
    try:
        yield
    finally:
        path.chmod(0o700)


TOO_LONG = {
    "adapt": lambda pair, run, long: ("adapt", *flags(pair), f"--out={long}"),
    "adapt --resume": lambda pair, run, long: ("adapt", *flags(pair), f"--out={long}", "--resume"),
    "adapt --source-root": lambda pair, run, long: ("adapt", *flags(pair, source_root=long), f"--out={pair / 'out'}"),
    "adapt --start-from": lambda pair, run, long: ("adapt", *flags(pair, start_from=long), f"--out={pair / 'out'}"),
    "infer": lambda pair, run, long: ("infer", pair / "target" / "images", f"--bundle={run}", f"--out={long}"),
    "infer IMAGE": lambda pair, run, long: ("infer", long, f"--bundle={run}", f"--out={pair / 'out'}"),
    "infer --bundle": lambda pair, run, long: (
        "infer",
        pair / "target" / "images",
        f"--bundle={long}",
        f"--out={pair / 'out'}",
    ),
    "review": lambda pair, run, long: ("review", run, f"--out={long}", "--device=cpu"),
    "review RUN": lambda pair, run, long: ("review", long),
    "evaluate": lambda pair, run, long: (
        "evaluate",
        pair / "source" / "labels",
        pair / "source" / "labels",
        f"--out={long}",
    ),
    "evaluate LABELS": lambda pair, run, long: ("evaluate", pair / "source" / "labels", long),
    "prepare folder": lambda pair, run, long: ("prepare", "folder", pair / "source", f"--out={long}"),
    "prepare IMAGES": lambda pair, run, long: ("prepare", "folder", long, f"--out={pair / 'out'}"),
    "prepare decathlon": lambda pair, run, long: ("prepare", "decathlon", f"--archive={long}", f"--out={pair / 'out'}"),
    "doctor": lambda pair, run, long: ("doctor", long),
    "phantom make": lambda pair, run, long: ("phantom", "make", "phantom-3t", f"--out={long}", "--train=1", "--test=1"),
}


@pytest.mark.parametrize("name", TOO_LONG)
def test_a_name_that_no_disk_takes(pair_of_all: Path, finished: Path, command: Command, name: str) -> None:
    told = command(*TOO_LONG[name](pair_of_all, finished, pair_of_all / LONG)).complaint
    assert re.search(r"File name too long\)?; |run\.json cannot be read as JSON; give the folder of a run", told), told
    assert LONG in told
    assert not (pair_of_all / "out").exists()


def test_names_with_spaces_signs_and_other_alphabets(pair: Path, tmp_path: Path, command: Command) -> None:
    """From the scans to the table, every file and folder has such a name."""
    odd = tmp_path / ODD
    for path in sorted(pair.rglob("*.nii.gz")):
        place = odd / path.parent.relative_to(pair)
        place.mkdir(parents=True, exist_ok=True)
        path.rename(place / f"{ODD} {path.name}")
    run = odd / "run"
    done = command("adapt", *flags(odd), f"--out={run}")
    assert done.code == 0, done.err
    image = min((odd / "target" / "images").iterdir())
    name = image.name.removesuffix(".nii.gz")
    assert command("infer", image, f"--bundle={run}", f"--out={odd / 'out'}", "--device=cpu").code == 0
    assert (odd / "out" / f"{name}_zones.nii.gz").is_file()
    assert command("review", run, "--device=cpu").code == 0
    told = command("evaluate", run / "predictions" / "adapted", odd / "target" / "labels", f"--out={odd / 'cases.csv'}")
    assert told.code == 0, told.err
    assert ODD in (odd / "cases.csv").read_text(encoding="utf-8")
    assert command("prepare", "folder", odd / "target", f"--out={odd / 'prepared'}").code == 0
    assert (odd / "prepared" / "imagesTr" / image.name).is_file()


@pytest.mark.usefixtures("rights")
def test_a_file_that_may_not_be_read(finished: Path, tmp_path: Path, command: Command) -> None:
    image, label = save(tmp_path / "in" / "a.nii.gz", scan()), save(tmp_path / "labels" / "a.nii.gz", zones())
    with closed(image, 0), closed(label, 0):
        told = command("evaluate", tmp_path / "labels", tmp_path / "labels").complaint
        assert re.search(r"labels/a\.nii\.gz.*Permission denied", told), told
        told = command("prepare", "folder", tmp_path / "in", f"--out={tmp_path / 'prepared'}").complaint
        assert re.search(r"in/a\.nii\.gz cannot be read .*Permission denied", told), told
        told = command("infer", image, f"--bundle={finished}", f"--out={tmp_path / 'out'}", "--device=cpu").complaint
        assert re.search(r"in/a\.nii\.gz cannot be read .*Permission denied", told), told
    assert not list(tmp_path.rglob("*_zones.nii.gz"))


@pytest.mark.usefixtures("rights")
def test_a_scan_that_adapt_may_not_read(pair: Path, tmp_path: Path, command: Command) -> None:
    with closed(pair / "target" / "images" / "target0.nii.gz", 0):
        told = command("adapt", *flags(pair), f"--out={tmp_path / 'run'}").complaint
    assert re.search(r"target0\.nii\.gz.*Permission denied", told), told
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("rights")
def test_a_folder_that_may_not_be_read_or_written(tmp_path: Path, command: Command) -> None:
    save(tmp_path / "labels" / "a.nii.gz", zones())
    labels, place = tmp_path / "labels", tmp_path / "closed"
    save(place / "a.nii.gz", scan())
    with closed(place, 0):
        told = command("evaluate", place, labels).complaint
        assert re.search(r"closed: Permission denied; check whose it is and its rights", told), told
        assert "Permission denied" in command("doctor", place).complaint
    with closed(place, 0o555):
        told = command("evaluate", labels, labels, f"--out={place / 'cases.csv'}").complaint
        assert "cases.csv cannot be written (Permission denied); make room, or give another place" in told
        told = command("prepare", "folder", labels, f"--out={place / 'out'}").complaint
        assert "out cannot be written (Permission denied)" in told
        told = command("phantom", "make", "phantom-3t", f"--out={place / 'out'}", "--train=1", "--test=1").complaint
        assert "cannot be written (Permission denied)" in told
    assert [path.name for path in place.iterdir()] == ["a.nii.gz"]


def test_a_pipe_is_no_scan(finished: Path, tmp_path: Path, command: Command) -> None:
    """Nobody writes into it: whoever reads it waits."""
    pipe = tmp_path / "labels" / "a.nii.gz"
    save(tmp_path / "true" / "a.nii.gz", zones())
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    for typed in (
        ("infer", pipe, f"--bundle={finished}", f"--out={tmp_path / 'out'}", "--device=cpu"),
        ("evaluate", pipe.parent, tmp_path / "true"),
    ):
        assert "a.nii.gz is no plain file; give a NIfTI, NRRD or MHA file, or a DICOM" in command(*typed).complaint


@pytest.mark.parametrize("place", ["/proc/run", "/dev/null", "/dev/null/run"])
def test_what_is_no_place_for_results(pair_of_all: Path, finished: Path, command: Command, place: str) -> None:
    images = pair_of_all / "target" / "images"
    for typed in (
        ("infer", images, f"--bundle={finished}", f"--out={place}", "--device=cpu"),
        ("prepare", "folder", images, f"--out={place}"),
        ("evaluate", pair_of_all / "source" / "labels", pair_of_all / "source" / "labels", f"--out={place}"),
        ("adapt", *flags(pair_of_all), f"--out={place}"),
    ):
        told = command(*typed).complaint
        assert re.search("cannot be written|is already in use|is a file|No such file|Not a directory", told), told
    assert Path("/dev/null").is_char_device()


FULL = r"cannot be written \(File too large\); make room, or give another place"


def test_a_full_disk_stops_infer_and_leaves_nothing_half(
    pair_of_all: Path, finished: Path, tmp_path: Path, command: Command
) -> None:
    typed = (
        "infer",
        pair_of_all / "target" / "images",
        f"--bundle={finished}",
        f"--out={tmp_path / 'out'}",
        "--device=cpu",
    )
    with disk_with_room_for(1000):
        told = command(*typed).complaint
    assert re.search(FULL, told), told
    assert not leftovers(tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.html"))
    assert command(*typed, "--resume").code == 0


def test_a_full_disk_stops_prepare_and_the_next_call_goes_on(
    pair_of_all: Path, tmp_path: Path, command: Command
) -> None:
    typed = ("prepare", "folder", pair_of_all / "source", f"--out={tmp_path / 'out'}")
    with disk_with_room_for(6000):
        told = command(*typed).complaint
    assert re.search(FULL, told), told
    assert not [path for path in (tmp_path / "out").rglob("*.nii.gz") if path.stat().st_size > 6000]
    assert command(*typed).code == 0


def test_a_full_disk_stops_evaluate(tmp_path: Path, command: Command) -> None:
    for case in range(12):
        save(tmp_path / "labels" / f"case{case}.nii.gz", zones())
    labels = tmp_path / "labels"
    with disk_with_room_for(400):  # enough for the complaint, which is kept in a file, too
        told = command("evaluate", labels, labels, f"--out={tmp_path / 'cases.csv'}").complaint
    assert re.search(FULL, told), told
    assert list(tmp_path.iterdir()) == [labels]


def test_a_full_disk_stops_adapt_and_it_goes_on(
    pair_of_all: Path, finished: Path, tmp_path: Path, command: Command
) -> None:
    with disk_with_room_for(50_000):  # the record fits, no checkpoint does
        told = command("adapt", *flags(pair_of_all), f"--out={tmp_path / 'run'}").complaint
    assert re.search("make room", told), told
    done = command("adapt", *flags(pair_of_all), f"--out={tmp_path / 'run'}", "--resume")
    assert done.code == 0, done.err
    assert not leftovers(tmp_path / "run")
    same = [(out / "cases.csv").read_text(encoding="utf-8") for out in (tmp_path / "run", finished)]
    assert same[0] == same[1]


@pytest.mark.parametrize(
    "mirror",
    ["", "http://", "ftp://x", "file:///etc", "http://[::1", "http://x:y", "http://x:99999", f"https://{LONG}.org"],
)
def test_a_mirror_that_is_no_address(tmp_path: Path, command: Command, mirror: str) -> None:
    told = command("prepare", "decathlon", f"--mirror={mirror}", f"--out={tmp_path / 'out'}").complaint
    assert re.search("is no address to download from; allowed are http:// and https:// with a server", told), told
    assert not list((tmp_path / "out").glob("*/*"))


@pytest.mark.parametrize("mirror", ["http://localhost/a b", "http://localhost/ü", "http://localhost/\n"])
def test_a_mirror_with_signs_that_no_address_holds(tmp_path: Path, command: Command, mirror: str) -> None:
    told = command("prepare", "nci-isbi13", f"--mirror={mirror}", f"--out={tmp_path / 'out'}").complaint
    assert "has a sign that no address may hold; write it as %20 and so on" in told
