"""Picture of the review page, as ``review`` wrote it of a run on the phantom, with three verdicts given.

    prostate-uda adapt --source phantom-3t --target phantom-1.5t --method recommended --out runs/rec
    prostate-uda review runs/rec
    python benchmarks/report_screenshot.py runs/rec/review/report.html --out docs/pictures/report.png

Needs playwright and a chromium.
"""

import argparse
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright


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
    """Open, press keys, take the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="report.html")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    options = parser.parse_args()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": options.width, "height": options.height})
        page.goto(options.report.resolve().as_uri())
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
