"""Picture of the review page on phantom cases, whose own labels were bent a little to stand for a prediction.

Command: ``python benchmarks/report_screenshot.py --out docs/pictures/report.png``. Needs playwright and a chromium.
"""

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from nibabel.orientations import aff2axcodes
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from scipy.ndimage import gaussian_filter, map_coordinates

from prostate_uda.data.phantom import PROTOCOLS, make_case
from prostate_uda.review.report_case import ReviewCase, render_case
from prostate_uda.review.report_page import report_page

UNSURE = ("unsure_border", "The network is unsure along much of the border (mean uncertainty 0.35; 0.30 is usual).")
EDGE = ("touches_border", "The prostate reaches the last slice: the apex or the base may be cut off.")
PARTS = ("components", "The label has 2 parts; the second has 0.3 mL.")
FLAGS = ((), (UNSURE, PARTS), (), (EDGE,), (UNSURE,), (), (UNSURE, EDGE, PARTS), ())


def bent(label: NDArray[np.uint8], spacing: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The label moved by a smooth random field of about 1.5 mm in plane, its borders rounded by as much."""
    fields = [gaussian_filter(rng.standard_normal(label.shape), 12 / spacing) for _ in range(2)]
    places = np.indices(label.shape, dtype=np.float64)
    for axis, field in enumerate(fields):
        places[axis] += 1.5 / spacing[axis] * field / field.std()
    shares = [gaussian_filter((label == zone).astype(np.float32), 1.0 / spacing) for zone in range(3)]
    return np.argmax([map_coordinates(share, places, order=1, mode="nearest") for share in shares], axis=0).astype(
        np.uint8
    )


def unsure(label: NDArray[np.uint8], spacing: NDArray[np.float64], reach_mm: float) -> NDArray[np.float32]:
    """High on the borders of the zones, in [0, 1]."""
    shares = [gaussian_filter((label == zone).astype(np.float32), reach_mm / spacing) for zone in (1, 2)]
    return np.asarray(np.clip(3.6 * np.max([share * (1 - share) for share in shares], axis=0), 0, 1))


def a_case(index: int, protocol: str) -> dict[str, Any]:
    """A phantom of full size, rendered."""
    made = make_case(PROTOCOLS[protocol], seed=3, index=index, size="full")
    spacing = np.linalg.norm(made.affine[:3, :3], axis=0)
    label = bent(made.label, spacing, np.random.default_rng(index))
    millilitres = {
        zone: float((label == value).sum() * spacing.prod() / 1000) for zone, value in (("PZ", 1), ("TZ", 2))
    }
    flags = FLAGS[index % len(FLAGS)]
    total = sum(millilitres.values())
    return render_case(
        ReviewCase(
            name=f"{protocol}_{index:03d}",
            image=made.image,
            label=label,
            uncertainty=unsure(label, spacing, 1.2 if UNSURE in flags else 0.6),
            spacing_mm=tuple(spacing),
            orientation="".join(aff2axcodes(made.affine)),
            measures={
                "WP_mL": total,
                "TZ_mL": millilitres["TZ"],
                "PZ_mL": millilitres["PZ"],
                "TZ_PZ_ratio": millilitres["TZ"] / millilitres["PZ"],
                "psa_density": (4.1 + index) / total,
                "uncertainty": 0.35 if UNSURE in flags else 0.24,
            },
            flags=flags,
            attention=len(flags),
            source=f"{protocol}_{index:03d}.nii.gz",
        )
    )


def use(page: Page) -> None:
    """Review some, then stop at a case with a comment."""
    page.fill("#reviewer", "A. Reader")
    page.keyboard.press("Enter")
    for key in "cjajaj":
        page.keyboard.press(key)
    for key in ("k", "k", "k", "e", "m"):
        page.keyboard.press(key)
    page.keyboard.type("Left apex: the peripheral zone runs 3 mm too far forward.")
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)


def main() -> None:
    """Render, open, press keys, take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--cases", type=int, default=len(FLAGS))
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    options = parser.parse_args()
    cases = [a_case(index, ("phantom-3t", "phantom-1.5t")[index % 2]) for index in range(options.cases)]
    with TemporaryDirectory() as folder, sync_playwright() as play:
        path = Path(folder) / "report.html"
        report_page(cases, title="Phantom zones for review", path=path, provenance={"labels": "bent phantom labels"})
        print(f"a page of {len(cases)} cases has {path.stat().st_size / 1000:.0f} kB")
        browser = play.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": options.width, "height": options.height})
        page.goto(path.as_uri())
        page.wait_for_selector("#stage[data-slice]")
        use(page)
        page.screenshot(path=options.out)
        browser.close()
    with Image.open(options.out) as picture:
        plain = picture.convert("RGB")
    plain.save(options.out, optimize=True)
    print(f"wrote {options.out}, {options.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
