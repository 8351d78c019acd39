"""Every figure of the paper's tables that we print, against the slides they were read from."""

import inspect
import re
from fractions import Fraction
from pathlib import Path

import pytest

from prostate_uda.data.scene_classes import SCENE_CLASSES, SYNTHIA_13, SYNTHIA_16
from prostate_uda.methods import METHODS
from prostate_uda.recipes.comparison import published
from prostate_uda.recipes.comparison.published import LABELLED, LABELLERS, TABLES
from prostate_uda.recipes.comparison.scene_scores import underscored

SLIDES = Path(__file__).resolve().parents[4] / "shared" / "seeds" / "metacorrection-slides.txt"
NAMES = [underscored(name) for name in SCENE_CLASSES]
SPELLING = {"Ucertainty": "Uncertainty", "\N{EN DASH}": "-", "\N{EM DASH}": "-"}
"""What the slides misspell, and how they write that there is nothing."""


def slides_table(number: int) -> list[list[str]]:
    """Rows below the caption, cells without marks."""
    if not SLIDES.is_file():
        pytest.skip(f"no slides at {SLIDES}")
    text = SLIDES.read_text(encoding="utf-8")
    for wrong, right in SPELLING.items():
        text = text.replace(wrong, right)
    below = text[text.index(f"Table {number}. ") :].partition("\n#")[0]
    rows = [line.split("\t") for line in below.splitlines() if "\t" in line]
    return [[re.sub(r"</?[bu]>", "", cell).strip() for cell in row] for row in rows]


@pytest.mark.parametrize(
    ("number", "source", "measures"),
    [
        (1, "gta5", [*NAMES, "mIoU"]),
        (2, "synthia", [*(NAMES[place] for place in SYNTHIA_16), "mIoU", "mIoU_13"]),
    ],
)
def test_tables_of_scenes(number: int, source: str, measures: list[str]) -> None:
    theirs = [row for row in slides_table(number) if row[0] not in ("", "Methods")]
    ours = TABLES[source, "cityscapes"]
    assert ours.source.endswith(f"table {number}")
    assert [row.name for row in ours.rows] == [row[0] for row in theirs]
    assert len(theirs) == 13
    for row, (_, mechanism, *figures) in zip(ours.rows, theirs, strict=True):
        assert row.mechanism == mechanism
        told = [f"{row.figures[name]:.1f}" if name in row.figures else "-" for name in measures]
        assert told == figures[: len(measures)]
        assert not any(figures[len(measures) :])


NOT_THE_MEAN = {
    ("gta5", "mlsl", "mIoU"): (49.0, 48.88),
    ("gta5", "intrada", "mIoU"): (46.3, 45.78),
    ("gta5", "cag", "mIoU"): (50.2, 50.09),
    ("gta5", "dmlc", "mIoU"): (51.2, 51.27),
    ("synthia", "maxsquare", "mIoU"): (41.4, 41.49),
    ("synthia", "cbst", "mIoU_13"): (48.9, 48.85),
}
"""The figures of the paper that are not the mean of the row's classes, and that mean."""


def test_means_are_of_the_classes_but_for_those_that_are_named() -> None:
    of = {"gta5": {"mIoU": range(19)}, "synthia": {"mIoU": SYNTHIA_16, "mIoU_13": SYNTHIA_13}}
    found, compared = {}, 0
    for source, means in of.items():
        for row in TABLES[source, "cityscapes"].rows:
            for name, places in means.items():
                if name in row.figures:
                    compared += 1
                    tenths = sum(round(10 * row.figures[NAMES[place]]) for place in places)
                    mean = Fraction(tenths, 10 * len(places))
                    if abs(mean - Fraction(round(10 * row.figures[name]), 10)) > Fraction(1, 20):
                        found[source, row.ours, name] = row.figures[name], round(float(mean), 2)
    assert compared == 13 + 11 + 13
    assert found == NOT_THE_MEAN
    told = inspect.getsource(published)
    for printed, mean in NOT_THE_MEAN.values():
        assert re.search(rf"\({printed}; [a-z ]*{mean:.2f}\)", told)


def test_the_table_of_prostates() -> None:
    theirs = {row[0]: row[1:] for row in slides_table(3) if row[0] != "Method"}
    names = {
        "cbst": "CBST [51]",
        "mrent": "MRENT [50]",
        "maxsquare": "MaxSquare [4]",
        "source-only": "Source only",
        "dmlc": "Ours (single DMLC)",
        "metacorrection": "Ours (MetaCorrection)",
    }
    ours = TABLES["decathlon", "nci-isbi13"].rows
    assert {names[row.ours] for row in ours} == theirs.keys()
    for row in ours:
        mechanism, *dice = theirs[names[row.ours]]
        assert [row.mechanism, *(f"{row.figures[zone]:.2f}" for zone in ("PZ", "TZ", "WP"))] == [
            mechanism,
            *dice,
        ]


def test_the_table_of_pseudo_labels() -> None:
    theirs = [row for row in slides_table(4) if row[0] != "Method"]
    told = [
        [
            row.name,
            "-" if row.labeller is None else LABELLERS[row.labeller],
            f"{row.miou:.1f}",
            "-" if row.ahead is None else f"{row.ahead:.1f}",
        ]
        for row in LABELLED
    ]
    assert told == theirs


def test_every_row_is_a_method_here_once() -> None:
    for table in TABLES.values():
        assert {row.ours for row in table.rows} <= METHODS.keys()
        assert len({row.ours for row in table.rows}) == len(table.rows)
    pairs = [(row.ours, row.labeller) for row in LABELLED]
    assert len({*pairs}) == len(pairs)
    assert {name for pair in pairs for name in pair if name} <= METHODS.keys()
