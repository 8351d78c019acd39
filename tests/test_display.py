"""What the terminal shows of a run on driving scenes."""

from io import StringIO

import pytest
from rich.console import Console

from prostate_uda.data.scene_classes import SCENE_CLASSES, SYNTHIA_ABSENT
from prostate_uda.display import run_table

ROW = {name: place / 100 for place, name in enumerate(SCENE_CLASSES)} | {"mIoU": 0.31, "mIoU_16": 0.32, "mIoU_13": 0.43}


def shown(source: str) -> dict[str, list[str]]:
    """First cell to the others."""
    results = {
        "source_only_on_source": dict(ROW),
        "source_only": {name: None if name in ("sky", "terrain") else value for name, value in ROW.items()},
        "adapted": {name: value + 0.1 for name, value in ROW.items()},
    }
    console = Console(width=140, file=StringIO(), record=True)
    console.print(run_table({"settings": {"method": "dmlc", "source": source}, "results": results}))
    lines = [[cell.strip() for cell in line.strip("│").split("│")] for line in console.export_text().splitlines()]
    return {cells[0]: cells[1:] for cells in lines if len(cells) == 5}


@pytest.mark.parametrize("source", ["gta5", "streets-render", "cityscapes"])
def test_all_classes_where_the_source_labels_all(source: str) -> None:
    rows = shown(source)
    assert list(rows) == [*SCENE_CLASSES, "mIoU"]
    assert rows["car"] == ["13.0", "13.0", "23.0", "+10.0"]
    assert rows["sky"] == ["10.0", "-", "20.0", "-"]
    assert rows["mIoU"] == ["31.0", "31.0", "41.0", "+10.0"]


def test_from_synthia_sixteen_classes_and_both_means() -> None:
    rows = shown("synthia")
    known = [name for place, name in enumerate(SCENE_CLASSES) if place not in SYNTHIA_ABSENT]
    assert len(known) == 16
    assert list(rows) == [*known, "mIoU", "mIoU* (13)"]
    assert rows["car"] == ["13.0", "13.0", "23.0", "+10.0"]
    assert rows["mIoU* (13)"] == ["43.0", "43.0", "53.0", "+10.0"]
