"""Contact sheet: phantom scans beside real ones, to judge by eye whether the phantom earns the comparison.

Command: ``python benchmarks/phantom_sheet.py --out sheet.png --real /work/shared/data``.
"""

import argparse
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import SimpleITK
from nibabel import orientations
from numpy.typing import NDArray

from prostate_uda.data.phantom import PROTOCOLS, make_case

REAL = {"phantom-3t": "prostatex-siemens-3t/dicom", "phantom-1.5t": "prostate-mri-philips-3t-erc"}
Row = tuple[str, NDArray[np.float32], NDArray[np.uint8] | None, float]


def real_rows(folder: Path, count: int) -> list[Row]:
    """Up to ``count`` DICOM series below a folder as ``(x, y, z)`` arrays in LPS order."""
    rows: list[Row] = []
    for study in sorted(path for path in folder.iterdir() if path.is_dir())[:count]:
        for series in sorted({file.parent for file in study.rglob("*") if file.is_file()}):
            names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(series))
            if names:
                image = SimpleITK.ReadImage(names, SimpleITK.sitkFloat32)
                rows.append((study.name, SimpleITK.GetArrayFromImage(image).T, None, image.GetSpacing()[0]))
                break
    return rows


def phantom_rows(name: str, count: int, seed: int, size: str) -> list[Row]:
    """``count`` cases in LPS order, whatever orientation they are written in."""
    rows: list[Row] = []
    for index in range(count):
        case = make_case(PROTOCOLS[name], seed=seed, index=index, size="full" if size == "full" else "small")
        turn = orientations.ornt_transform(
            orientations.io_orientation(case.affine), orientations.axcodes2ornt(("L", "P", "S"))
        )
        image, label = (orientations.apply_orientation(array, turn) for array in (case.image, case.label))
        title = f"{name} {index}: {case.facts['gland_ml']:.0f} mL, {case.facts['rectum']}"
        rows.append((title, image, label, case.facts["spacing_mm"][0]))
    return rows


def draw(rows: list[Row], out: Path, columns: int, crop_mm: float | None) -> None:
    """One row per scan; the last column shows the labels where there are any."""
    figure, axes = plt.subplots(len(rows), columns, figsize=(3 * columns, 3.1 * len(rows)), squeeze=False)
    for axis_row, (title, image, label, pixel_mm) in zip(axes, rows, strict=True):
        heights = np.linspace(1, image.shape[2] - 2, columns).astype(int)
        half = image.shape[0] // 2 if crop_mm is None else min(image.shape[0] // 2, round(crop_mm / 2 / pixel_mm))
        middle = slice(image.shape[0] // 2 - half, image.shape[0] // 2 + half)
        for axis, z in zip(axis_row, heights, strict=True):
            axis.imshow(image[middle, middle, z].T, cmap="gray", vmin=0, vmax=np.percentile(image, 99.3))
            axis.set_title(f"{title} z{z}", fontsize=6)
            axis.axis("off")
        if label is not None:
            best = int(np.flatnonzero(np.any(label, axis=(0, 1))).mean())
            axis_row[-1].clear()
            axis_row[-1].imshow(image[middle, middle, best].T, cmap="gray", vmin=0, vmax=np.percentile(image, 99.3))
            for value, colour in ((1, "lime"), (2, "red")):
                axis_row[-1].contour(
                    np.equal(label[middle, middle, best].T, value), [0.5], colors=colour, linewidths=0.7
                )
            axis_row[-1].axis("off")
    figure.tight_layout(pad=0.3)
    figure.savefig(out, dpi=60)


def main() -> None:
    """Parse, gather rows, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--real", type=Path, default=None, help="folder with the real scans; left out, only phantoms")
    parser.add_argument("--cases", type=int, default=3, help="scans per kind")
    parser.add_argument("--columns", type=int, default=7)
    parser.add_argument("--size", choices=("small", "full"), default="small")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--crop", type=float, default=None, help="show only the central square of this many mm")
    options = parser.parse_args()
    rows: list[Row] = []
    for name, folder in REAL.items():
        if options.real is not None:
            rows += real_rows(options.real / folder, options.cases)
        rows += phantom_rows(name, options.cases, options.seed, options.size)
    draw(rows, options.out, options.columns, options.crop)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
