"""Fuzzes what reads headers: NIfTI, NRRD, MHA, a DICOM slice in its series, PNG pictures and labels.

    python -m tests.fuzz_headers [--minutes 10] [--engine atheris] [--seed 0] [--findings FOLDER]

With atheris (``pip install --target FOLDER atheris``, then ``PYTHONPATH=FOLDER``) libFuzzer changes small valid files,
led by the lines of nibabel, Pillow and our own readers that they reach; ITK's are not seen. Without it a plain
loop of random changes does. Each file has two ways to end: it is read, finite and of its grid's shape, or it is refused
with a ProstateUDAError of one line. Everything else is kept in a folder with the file that caused it, once for each
kind and line of code; a child process takes crashes and hangs, and is begun again. Exit code 1 where there was any.
"""

import argparse
import contextlib
import gzip
import hashlib
import logging
import random
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

ATHERIS = find_spec("atheris") is not None
if ATHERIS:
    import atheris

    watched = atheris.instrument_imports(include=["nibabel", "PIL", "prostate_uda.data"])
else:
    watched = contextlib.nullcontext()
with watched:
    import nibabel as nib
    import numpy as np
    import SimpleITK as sitk
    from PIL import Image

    from prostate_uda.data.scene_classes import SCENE_CLASSES
    from prostate_uda.data.scene_images import read_scene, read_scene_label, scene_size
    from prostate_uda.data.volumes import Volume, read_image
    from prostate_uda.errors import ProstateUDAError
    from tests.conftest import _series

HANG_S, LONGEST, TOLD_EVERY, SLICES = 30, 6000, 100, 5
MEMORY_MIB = 6144
"""GDCM takes as much memory as an element of a DICOM file claims to be long, 4 GiB at most, before it reads on."""
VALUES = {value: value for value in range(len(SCENE_CLASSES))} | {255: 255}


class WrongError(Exception):
    """A file that was read as something that it cannot be."""


def check_volume(volume: Volume) -> None:
    """What a volume promises."""
    if volume.array.dtype != np.float32 or volume.array.shape != volume.grid.shape:
        raise WrongError(f"{volume.array.dtype} {volume.array.shape} on {volume.grid}")
    if not np.isfinite(volume.array).all() or volume.array.min() == volume.array.max():
        raise WrongError("not finite, or constant")


def _volume(suffix: str) -> Callable[[Path, bytes], None]:
    def read(folder: Path, content: bytes) -> None:
        path = folder / f"fuzzed{suffix}"
        path.write_bytes(gzip.compress(content, 1) if suffix == ".nii.gz" else content)
        check_volume(read_image(path))

    return read


def _slice(folder: Path, content: bytes) -> None:
    """One of five slices, none at an end, is changed; the others are whole."""
    (folder / "series" / "003.dcm").write_bytes(content)
    volume = read_image(folder / "series")
    check_volume(volume)
    if volume.array.shape[2] != SLICES:
        raise WrongError(f"{volume.grid} of {SLICES} slices")


def _scene(folder: Path, content: bytes) -> None:
    path = folder / "fuzzed.png"
    path.write_bytes(content)
    picture = read_scene(path)
    if picture.dtype != np.uint8 or picture.shape != (*scene_size(path), 3):
        raise WrongError(f"a picture of {picture.dtype} {picture.shape}")


def _label(folder: Path, content: bytes) -> None:
    path = folder / "fuzzed_label.png"
    path.write_bytes(content)
    label = read_scene_label(path, VALUES)
    if label.dtype != np.uint8 or label.shape != scene_size(path) or not set(np.unique(label).tolist()) <= {*VALUES}:
        raise WrongError(f"a label of {label.dtype} {label.shape}")


KINDS: dict[str, Callable[[Path, bytes], None]] = {
    "nifti": _volume(".nii"),
    "nifti-gz": _volume(".nii.gz"),
    "nrrd": _volume(".nrrd"),
    "mha": _volume(".mha"),
    "dicom": _slice,
    "png": _scene,
    "label": _label,
}


def seeds(folder: Path) -> dict[str, list[bytes]]:
    """Small valid files of every kind; the series that one slice is changed of stays in the folder."""
    array = np.arange(100, dtype=np.int16).reshape(5, 4, SLICES)
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0))
    for suffix in (".nrrd", ".mha"):
        sitk.WriteImage(image, str(folder / f"seed{suffix}"), useCompression=False)
    series = _series(folder / "series", array.astype(np.uint16), affine=np.diag((-1.0, -1.0, 3.0, 1.0)))
    picture, label = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.uint8)
    for name, one in (("rgb", Image.fromarray(picture)), ("grey", Image.fromarray(label))):
        one.save(folder / f"{name}.png")
    Image.fromarray(label).convert("P").save(folder / "palette.png")
    sitk.WriteImage(sitk.GetImageFromArray(picture.astype(np.uint16), isVector=True), str(folder / "synthia.png"))
    pictures = [(folder / f"{name}.png").read_bytes() for name in ("rgb", "grey", "palette", "synthia")]
    niftis = [kind(array, np.diag((-1.0, -1.0, 3.0, 1.0))).to_bytes() for kind in (nib.Nifti1Image, nib.Nifti2Image)]
    return {
        "nifti": niftis,
        "nifti-gz": niftis,
        "nrrd": [(folder / "seed.nrrd").read_bytes()],
        "mha": [(folder / "seed.mha").read_bytes()],
        "dicom": [(series / "003.dcm").read_bytes()],
        "png": pictures,
        "label": pictures,
    }


class Told(logging.Handler):
    """Where Python sends lines that no handler takes, to the terminal in a user's process: a read says nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        """Not silent."""
        raise WrongError(f"said: {record.getMessage()}")


class Harness:
    """Reads files, counts how they end, and keeps what ends otherwise.

    Args:
        findings: Where that is kept.
        seed: Names the file with the counts.
    """

    def __init__(self, findings: Path, seed: int = 0) -> None:
        self.findings, self.ends, self.told = findings, Counter[str](), findings / f"ends-{seed}.txt"
        self.work = Path(tempfile.mkdtemp())
        self.seeds = seeds(self.work)

    def one(self, kind: str, content: bytes) -> None:
        """Read one file."""
        logging.lastResort = Told(logging.WARNING)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                KINDS[kind](self.work, content)
            self.ends[f"{kind}: read"] += 1
        except ProstateUDAError as error:
            if "\n" in str(error):
                self._keep(kind, content, error)
            self.ends[f"{kind}: refused"] += 1
        except Exception as error:  # noqa: BLE001  the finding
            self._keep(kind, content, error)
            self.ends[f"{kind}: wrong"] += 1
        if self.ends.total() % TOLD_EVERY == 0:  # libFuzzer ends a process without a word to Python
            lines = "".join(f"{count} {end}\n" for end, count in sorted(self.ends.items()))
            self.told.write_text(lines, encoding="utf-8")

    def _keep(self, kind: str, content: bytes, error: Exception) -> None:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).stem}-{last.lineno}-{type(error).__name__}"
        path = self.findings / f"{kind}-{place}"
        if not path.exists():
            path.write_bytes(content)
            told = "".join(traceback.format_exception(error))
            path.with_name(f"{path.name}.txt").write_text(told, encoding="utf-8", errors="replace")


def changed(content: bytes, rng: random.Random) -> bytes:
    """A few random changes: bits, bytes, numbers, pieces cut, doubled or moved."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randrange(len(data) or 1)
        size = rng.choice((1, 2, 4, 8))
        match rng.randrange(6):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                data[at : at + size] = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * size
            case 2:
                data[at : at + size] = rng.randbytes(size)
            case 3:
                del data[at : at + rng.randrange(64)]
            case 4:
                data[at:at] = data[at : at + rng.randrange(32)]
            case _:
                data[at : at + 1] = rng.choice((b"9", b"-", b"0", b"\n", b"e", b" "))
    return bytes(data[:LONGEST])


def plain_loop(harness: Harness, until: float, seed: int) -> None:
    """Random changes without any lead, until a time."""
    rng = random.Random(seed)
    while time.monotonic() < until:
        kind = rng.choice(list(KINDS))
        harness.one(kind, changed(rng.choice(harness.seeds[kind]), rng))


def led_loop(harness: Harness, seconds: float, seed: int) -> None:
    """Libfuzzer's loop, which does not return: the first byte of what it makes names the kind."""
    names, corpus = list(KINDS), harness.findings / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        for content in harness.seeds[name]:
            whole = bytes([number]) + content
            (corpus / hashlib.sha256(whole).hexdigest()[:16]).write_bytes(whole)

    def once(data: bytes) -> None:
        if data:
            harness.one(names[data[0] % len(names)], data[1:])

    limits = [f"-timeout={HANG_S}", f"-rss_limit_mb={MEMORY_MIB}", f"-max_len={LONGEST}", "-verbosity=0"]
    kept = f"-artifact_prefix={harness.findings}/"
    atheris.Setup(
        [sys.argv[0], *limits, kept, f"-max_total_time={int(seconds)}", f"-seed={seed + 1}", str(corpus)], once
    )
    atheris.Fuzz()


def child(findings: Path, seconds: float, engine: str, seed: int) -> None:
    """The part that may crash."""
    harness = Harness(findings, seed)
    if engine == "atheris":
        led_loop(harness, seconds, seed)
    else:
        plain_loop(harness, time.monotonic() + seconds, seed)


def kept_in(findings: Path) -> Iterator[Path]:
    """Files that ended otherwise, crashed or hung."""
    return (path for path in sorted(findings.iterdir()) if path.is_file() and path.suffix != ".txt")


def main() -> int:
    """Begin the child until time is up; 1 where there are findings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--engine", choices=("atheris", "plain"), default="atheris" if ATHERIS else "plain")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--findings", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.findings.mkdir(parents=True, exist_ok=True)
    if given.child:
        child(given.findings, 60 * given.minutes, given.engine, given.seed)
        return 0
    end, seed = time.monotonic() + 60 * given.minutes, given.seed
    while (left := end - time.monotonic()) > 1:
        flags = [f"--minutes={left / 60}", f"--engine={given.engine}", f"--seed={seed}", f"--findings={given.findings}"]
        child_line = [sys.executable, "-m", "tests.fuzz_headers", "--child", *flags]
        with subprocess.Popen(child_line) as process:
            try:
                code = str(process.wait(left + 2 * HANG_S))
            except subprocess.TimeoutExpired:  # starved of processor time, or hung where libFuzzer cannot look
                process.kill()
                code = "none: time is up"
        sys.stdout.write(f"{given.engine}, seed {seed}, exit code {code}\n")
        seed += 1
    ends = Counter[str]()
    for path in given.findings.glob("ends-*.txt"):
        for line in path.read_text(encoding="utf-8").splitlines():
            count, _, name = line.partition(" ")
            ends[name] += int(count)
    sys.stdout.write("".join(f"{name} {count}\n" for name, count in sorted(ends.items())))
    found = list(kept_in(given.findings))
    sys.stdout.write("".join(f"finding: {path}\n" for path in found) + f"{len(found)} findings\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
