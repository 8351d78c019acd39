"""Cases for the review page, a page written from them, and that page opened in a browser."""

from pathlib import Path
from typing import Any

import numpy as np

from prostate_uda.review.report_case import ReviewCase, render_case
from prostate_uda.review.report_page import report_page

HOSTILE = "</script><img src=x onerror=\"document.title='hacked'\">"
SHAPE = (60, 40, 6)


def a_case(name: str, **changes: Any) -> dict[str, Any]:
    """LPS, 1 × 2 × 3 mm; dark but for the patient's left and front, where it is bright; a gland largest on slice 3."""
    image = np.full(SHAPE, 50, dtype=np.float32)
    image[40:, :10] = 150
    image[0, 0] = 0
    label = np.zeros(SHAPE, dtype=np.uint8)
    label[20:40, 14:26, 1:5] = label[20:40, 26, 2] = 1
    label[25:35, 14:20, 2:4] = 2
    made = {
        "image": image,
        "label": label,
        "uncertainty": (label == 1) * np.float32(0.6),
        "spacing_mm": (1.0, 2.0, 3.0),
        "orientation": "LPS",
        "measures": {"WP_mL": 41.26, "TZ_PZ_ratio": 0.5, "psa_density": None},
        "flags": [],
        "attention": 0.0,
        "source": f"{name}.nii.gz",
    }
    return render_case(ReviewCase(name=name, **(made | changes)))


def the_cases() -> list[dict[str, Any]]:
    """Three, in another order than they are shown in: hostile (attention 2), alpha, beta."""
    flags = [("high_entropy", "The network is unsure."), ("=1+1", f"A sentence with {HOSTILE}")]
    return [
        a_case("beta"),
        a_case("alpha", label=np.zeros(SHAPE, dtype=np.uint8), uncertainty=None),
        a_case(f"=hostile {HOSTILE}", flags=flags, attention=2.0, source=HOSTILE),
    ]


def write(path: Path, cases: list[dict[str, Any]], **changes: Any) -> str:
    report_page(cases, **({"title": "Report", "path": path, "provenance": {"model": "m"}} | changes))
    return path.read_text(encoding="utf-8")


class Opened:
    """A page that was opened from the disk, what it asked for and what it complained of."""

    def __init__(self, context: Any, path: Path) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(10_000)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.dialogs: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._agree)
        self.page.goto(path.as_uri())

    def _agree(self, dialog: Any) -> None:
        self.dialogs.append(dialog.type)
        dialog.accept()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).inner_text())

    def on_slice(self, number: int) -> None:
        self.page.wait_for_selector(f"#stage[data-slice='{number}']")

    def listed(self) -> list[str]:
        return list(self.page.locator("#cases li:visible .name").all_inner_texts())

    def saved(self, button: str) -> tuple[str, str]:
        with self.page.expect_download() as download:
            self.page.click(button)
        return download.value.suggested_filename, Path(download.value.path()).read_bytes().decode("utf-8")

    def grey_at(self, across_mm: float, down_mm: float) -> list[int]:
        """Colour of the canvas at a place of the slice."""
        script = """([x, y]) => {
          const canvas = document.getElementById("pixels"), box = document.getElementById("lines").viewBox.baseVal;
          const place = [(x - box.x) / box.width * canvas.width, (y - box.y) / box.height * canvas.height];
          const one = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
          one.drawImage(canvas, -Math.round(place[0]), -Math.round(place[1]));
          return [...one.getImageData(0, 0, 1, 1).data];
        }"""
        return list(self.page.evaluate(script, [across_mm, down_mm]))
