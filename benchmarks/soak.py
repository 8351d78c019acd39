"""Memory and results of ``infer`` over many scans in one process, one in twenty of them bad.

    python benchmarks/soak.py [--scans 500] [--labels-only] [--out FILE]

The command runs as a user would run it, once, with all scans named; this script looks at its memory from outside,
after every scan, and at the end at its exit code, at every result and at ``failures.csv``. Scans are a few phantom
cases, each time with another contrast, noise, side, crop and kind of file; the network is small and untrained.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from tables import command, place

from prostate_uda.data.phantom import PROTOCOLS, write_dataset
from prostate_uda.data.preprocessing import WorkingGrid
from prostate_uda.data.volumes import read_image
from prostate_uda.networks import FinalLogits, build_network
from prostate_uda.recipes.bundle_folder import network_config, preprocessing_config, write_bundle
from prostate_uda.recipes.record import versions, write_json

BAD_EVERY = 20
WARM_UP = 0.1
"""Share of the scans after which memory counts: by then every kind of file has been read and written."""
GRID = WorkingGrid(1.5, 96)
NETWORK = "deeplab-small"
PAGE = os.sysconf("SC_PAGE_SIZE") / 2**20
POLL_S = 0.02


def main() -> int:
    """Write scans, run the command, look at what it left, write and print; 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=500)
    parser.add_argument("--labels-only", action="store_true", help="leave out maps, segmentations and the page")
    parser.add_argument("--work", type=Path, help="folder that keeps scans and results (default: a temporary one)")
    parser.add_argument("--out", type=Path, help="default: results/, or runs/ with fewer than 500 scans")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        good, bad = write_scans(work / "scans", given.scans)
        line = infer_line({**good, **bad}, write_untrained(work / "bundle"), work / "out", given.labels_only)
        start = time.monotonic()
        code, memory = watched(line, work / "out" / ".cases", work / "said.txt")
        seconds = time.monotonic() - start
        told = {**judged(work / "out", good, bad), "exit_code": code}
    found = {**told, **flatness(memory), "seconds_per_scan": round(seconds / given.scans, 3)}
    out = place("soak", given.out, quick=given.scans < 500)
    write_json(out, {"command": command("soak"), "versions": versions(), **found, "memory_mib": memory})
    for name, value in found.items():
        print(f"{name}: {value}")
    return int(bool(found["wrong"]) or code != 3)


def infer_line(scans: Mapping[str, Path], bundle: Path, out: Path, labels_only: bool) -> list[str]:
    """The command as typed, scans in the order of their names: bad ones stand among good ones."""
    paths = [str(scans[name]) for name in sorted(scans)]
    flags = [f"--bundle={bundle}", f"--out={out}", "--device=cpu", *["--labels-only"] * labels_only]
    return [sys.executable, "-m", "prostate_uda", "infer", *paths, *flags]


def watched(line: Sequence[str], records: Path, said: Path) -> tuple[int, list[float]]:
    """Exit code of a command, and its resident memory in MiB after each record that it has written."""
    memory: list[float] = []
    with said.open("w", encoding="utf-8") as file, subprocess.Popen(line, stdout=file, stderr=file) as process:
        statm = Path(f"/proc/{process.pid}/statm")
        while process.poll() is None:
            done = len(list(records.glob("*.json"))) if records.is_dir() else 0
            pages = statm.read_text(encoding="ascii").split()
            if done > len(memory) and len(pages) > 1 and int(pages[1]):
                memory += [round(int(pages[1]) * PAGE, 1)] * (done - len(memory))
            time.sleep(POLL_S)
        return process.returncode, memory


def flatness(memory: Sequence[float]) -> dict[str, Any]:
    """Mean memory of the first tenth after the warm-up and of the last tenth, in MiB, and how much of it has grown."""
    tenth, warm = max(1, len(memory) // 10), int(WARM_UP * len(memory))
    first, last = (float(np.mean(part)) for part in (memory[warm : warm + tenth], memory[-tenth:]))
    slope = float(np.polyfit(range(len(memory) - warm), memory[warm:], 1)[0]) if len(memory) > warm + 1 else 0.0
    told = {"first_tenth_mib": round(first, 1), "last_tenth_mib": round(last, 1), "highest_mib": max(memory)}
    return {**told, "growth_percent": round(100 * (last / first - 1), 2), "slope_kib_per_scan": round(1024 * slope, 2)}


def judged(out: Path, good: Mapping[str, Path], bad: Mapping[str, Path]) -> dict[str, Any]:
    """What is wrong with the results: a good scan without a label map on its grid, or a bad one that is not told."""
    wrong = []
    for name, scan in good.items():
        try:
            label, image = nib.load(out / f"{name}_zones.nii.gz"), read_image(scan)
            values = np.unique(np.asarray(label.dataobj))
            on_grid = label.shape == image.grid.shape and np.allclose(label.affine, image.grid.affine, atol=1e-3)
            wrong += [] if on_grid and set(values.tolist()) <= {0, 1, 2} else [f"{name}: another grid or value"]
        except Exception as error:  # noqa: BLE001  whatever it is, the label map is not as promised
            wrong.append(f"{name}: {type(error).__name__} {error}")
    with (out / "failures.csv").open(newline="", encoding="utf-8") as file:
        reasons = {row["case"]: row["reason"] for row in csv.DictReader(file)}
    wrong += [f"{name}: not told" for name in bad if len(reasons.get(name, "")) < 20]
    wrong += [f"{name}: told, and is good" for name in reasons if name in good]
    wrong += [f"{path.name}: left behind" for path in out.rglob(".*") if path.name not in (".cases", ".lock")]
    kinds = Counter(name.split("-")[-1] for name in bad)
    return {"good": len(good), "bad": len(bad), "kinds_of_bad": dict(kinds), "wrong": wrong, "reasons": reasons}


def write_untrained(out: Path) -> Path:
    """A bundle as ``adapt`` leaves it, with weights as they are drawn."""
    network = FinalLogits(
        build_network(NETWORK, in_channels=1, num_classes=3, generator=torch.Generator().manual_seed(0))
    )
    return write_bundle(
        out,
        network_config=network_config(NETWORK, in_channels=1),
        state_dict=network.state_dict(),
        preprocessing_config=preprocessing_config(GRID, "zscore"),
        depth=1,
        provenance={},
    )


def write_scans(folder: Path, count: int) -> tuple[dict[str, Path], dict[str, Path]]:
    """Good and bad scans by the names that their results will have; every twentieth is bad."""
    write_dataset(PROTOCOLS["phantom-1.5t"], folder / "phantoms", train=3, test=1, seed=0, size="small")
    images = [nib.load(path) for path in sorted((folder / "phantoms" / "imagesTr").iterdir())]
    good, bad = {}, {}
    for number in range(count):
        image = varied(images[number % len(images)], number)
        if number % BAD_EVERY == BAD_EVERY // 2:
            kind = list(BAD)[number // BAD_EVERY % len(BAD)]
            name = f"{number:04d}-{kind}"
            bad[name] = BAD[kind](folder / name, image)
        else:
            kind = list(GOOD)[number % len(GOOD)]
            name = f"{number:04d}-{kind}"
            good[name] = GOOD[kind](folder / name, image)
    return good, bad


def varied(image: nib.Nifti1Image, seed: int) -> nib.Nifti1Image:
    """Another contrast, noise and crop, and the other side in half of the cases."""
    rng = np.random.default_rng(seed)
    array = np.asarray(image.dataobj, dtype=np.float64)
    array = array[rng.integers(0, 8) :, rng.integers(0, 8) :, rng.integers(0, 3) :]
    array = 1000 * (array / array.max()) ** rng.uniform(0.7, 1.4) + rng.normal(0, 10, array.shape)
    return nib.Nifti1Image(array[:: rng.choice((-1, 1))].clip(0).astype(np.int16), image.affine)


def _nifti(path: Path, image: nib.Nifti1Image, suffix: str = ".nii.gz") -> Path:
    whole = path.with_name(path.name + suffix)
    nib.save(image, whole)
    return whole


def _itk_image(image: nib.Nifti1Image) -> sitk.Image:
    made = sitk.GetImageFromArray(np.asarray(image.dataobj).transpose(2, 1, 0))
    lps = np.diag((-1.0, -1.0, 1.0, 1.0)) @ image.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    made.SetSpacing(spacing.tolist())
    made.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    made.SetOrigin(lps[:3, 3].tolist())
    return made


def _itk(suffix: str) -> Callable[[Path, nib.Nifti1Image], Path]:
    def write(path: Path, image: nib.Nifti1Image) -> Path:
        whole = path.with_name(path.name + suffix)
        sitk.WriteImage(_itk_image(image), str(whole))
        return whole

    return write


def _dicom(path: Path, image: nib.Nifti1Image) -> Path:
    """A folder with a file per slice."""
    path.mkdir()
    volume, uid = _itk_image(image), f"1.2.826.0.1.3680043.2.1125.{path.name.partition('-')[0].lstrip('0') or 0}"
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in range(volume.GetDepth()):
        one = volume[:, :, k]
        tags = {"0008|0060": "MR", "0008|103e": "t2_tse_tra", "0010|0020": "phantom", "0020|0013": str(k + 1)}
        tags |= {"0008|0018": f"{uid}.3.{k + 1}", "0020|000e": f"{uid}.1", "0020|000d": f"{uid}.2"}
        tags["0020|0032"] = "\\".join(f"{v:.8f}" for v in volume.TransformIndexToPhysicalPoint((0, 0, k)))
        tags["0020|0037"] = "\\".join(f"{v:.8f}" for v in np.reshape(volume.GetDirection(), (3, 3))[:, :2].T.ravel())
        for tag, value in tags.items():
            one.SetMetaData(tag, value)
        writer.SetFileName(str(path / f"{k:03d}.dcm"))
        writer.Execute(one)
    return path


GOOD: Mapping[str, Callable[[Path, nib.Nifti1Image], Path]] = {
    "gz": _nifti,
    "nii": lambda path, image: _nifti(path, image, ".nii"),
    "nrrd": _itk(".nrrd"),
    "mha": _itk(".mha"),
    "dicom": _dicom,
}


def _bytes(path: Path, content: bytes, suffix: str = ".nii.gz") -> Path:
    whole = path.with_name(path.name + suffix)
    whole.write_bytes(content)
    return whole


def _cut(path: Path, image: nib.Nifti1Image) -> Path:
    whole = _nifti(path, image)
    return _bytes(path, whole.read_bytes()[: whole.stat().st_size // 2])


def _with(image: nib.Nifti1Image, change: Callable[[NDArray[Any]], NDArray[Any]]) -> nib.Nifti1Image:
    return nib.Nifti1Image(change(np.array(image.dataobj, dtype=np.float32)), image.affine)


def _not_a_number(array: NDArray[Any]) -> NDArray[Any]:
    array[0, 0, 0] = np.nan
    return array


def _gap(path: Path, image: nib.Nifti1Image) -> Path:
    """A series that has lost a slice."""
    sorted(_dicom(path, image).iterdir())[3].unlink()
    return path


def _no_slices(path: Path, _: nib.Nifti1Image) -> Path:
    path.mkdir()
    (path / "readme.txt").write_text("the scan is elsewhere", encoding="utf-8")
    return path


BAD: Mapping[str, Callable[[Path, nib.Nifti1Image], Path]] = {
    "cut": _cut,
    "magic": lambda path, image: _bytes(path, bytes(348) + image.to_bytes()[348:], ".nii"),
    "flat": lambda path, image: _nifti(path, _with(image, lambda array: array[..., 0])),
    "nan": lambda path, image: _nifti(path, _with(image, _not_a_number)),
    "text": lambda path, _: _bytes(path, b"<html>404 Not Found</html>"),
    "empty": lambda path, _: _bytes(path, b""),
    "bare": _no_slices,
    "gap": _gap,
    "constant": lambda path, image: _nifti(path, _with(image, np.ones_like)),
    "torn": lambda path, _: _bytes(path, b"NRRD0004\ntype: short\ndimension: 3\n", ".nrrd"),
    "sheared": lambda path, image: _nifti(path, nib.Nifti1Image(image.dataobj, image.affine + 0.7 * np.eye(4, k=1))),
}


if __name__ == "__main__":
    sys.exit(main())
