"""Floor 5: the paper's own figures, to stand beside ours where the domains are the same; nothing else is.

Source: Guo et al., CVPR 2021 (MetaCorrection), tables 1 to 4, as its slides print them. Figures are in points.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from prostate_uda.data.scene_classes import SCENE_CLASSES, SYNTHIA_16
from prostate_uda.recipes.comparison.scene_scores import MIOU, MIOU_13, underscored

PAPER = "Guo et al., CVPR 2021"
ELSEWHERE = "other splits, networks and preprocessing, so it is no row of this table"


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: As the paper has it.
        ours: The method here that it is, a name in ``METHODS``.
        mechanism: ``AL``, adversarial learning, ``ST``, self-training, or ``-``.
        figures: Measure to its figure, as a :class:`~prostate_uda.recipes.comparison.scoring.Scoring` names it.
    """

    name: str
    ours: str
    mechanism: str
    figures: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Published:
    """A table of the paper.

    Attributes:
        source: Where it is from.
        rows: In the paper's order.
        digits: Behind the point.
        beside: Measures whose published figure stands in our rows, too.
    """

    source: str
    rows: tuple[Row, ...]
    digits: int = 1
    beside: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """A sentence below our table."""
        return f"published: {self.source}; {ELSEWHERE}"


@dataclass(frozen=True)
class LabelledBy:
    """A row of table 4.

    Attributes:
        name: Of the method, as the paper has it.
        ours: The method here.
        labeller: Who makes the pseudo-labels, a method here; None where the row is the labeller's own.
        miou: mIoU.
        ahead: How far it is ahead of the labeller; None where the row is the labeller's own.
    """

    name: str
    ours: str
    labeller: str | None
    miou: float
    ahead: float | None


_NAMES: Mapping[str, tuple[str, str]] = {
    "adaptsegnet": ("AdaptSegNet [40]", "AL"),
    "patch-align": ("PatchAlign [41]", "AL"),
    "ltir": ("LTIR [20]", "AL"),
    "cbst": ("CBST [51]", "ST"),
    "mrent": ("CRST [50]", "ST"),
    "maxsquare": ("MaxSquare [4]", "ST"),
    "mlsl": ("MLSL [17]", "ST"),
    "pycda": ("PyCDA [23]", "ST"),
    "intrada": ("IntraDA [30]", "ST"),
    "cag": ("CAG-UDA [46]", "ST"),
    "source-only": ("Source only", "-"),
    "dmlc": ("Ours (single DMLC)", "ST"),
    "metacorrection": ("Ours (MetaCorrection)", "ST"),
}
"""Our method to its name and mechanism in the paper. CRST is MRENT: the paper's table 4 says so of [50]."""
_TABLE_1 = """
adaptsegnet 86.5 36.0 79.9 23.4 23.3 23.9 35.2 14.8 83.4 33.3 75.6 58.5 27.6 73.7 32.5 35.4 3.9 30.1 28.1 42.4
patch-align 92.3 51.9 82.1 29.2 25.1 24.5 33.8 33.0 82.4 32.8 82.2 58.6 27.2 84.3 33.4 46.3 2.2 29.5 32.3 46.5
ltir 92.9 55.0 85.3 34.2 31.1 34.9 40.7 34.0 85.2 40.1 87.1 61.0 31.1 82.5 32.3 42.9 0.3 36.4 46.1 50.2
cbst 91.8 53.5 80.5 32.7 21.0 34.0 28.9 20.4 83.9 34.2 80.9 53.1 24.0 82.7 30.3 35.9 16.0 25.9 42.8 45.9
mrent 91.0 55.4 80.0 33.7 21.4 37.3 32.9 24.5 85.0 34.1 80.8 57.7 24.6 84.1 27.8 30.1 26.9 26.0 42.3 47.1
maxsquare 89.4 43.0 82.1 30.5 21.3 30.3 34.7 24.0 85.3 39.4 78.2 63.0 22.9 84.6 36.4 43.0 5.5 34.7 33.5 46.4
mlsl 89.0 45.2 78.2 22.9 27.3 37.4 46.1 43.8 82.9 18.6 61.2 60.4 26.7 85.4 35.9 44.9 36.4 37.2 49.3 49.0
pycda 90.5 36.3 84.4 32.4 28.7 34.6 36.4 31.5 86.8 37.9 78.5 62.3 21.5 85.6 27.9 34.8 18.0 22.9 49.3 47.4
intrada 90.6 37.1 82.6 30.1 19.1 29.5 32.4 20.6 85.7 40.5 79.7 58.7 31.1 86.3 31.5 48.3 0.0 30.2 35.8 46.3
cag 90.4 51.6 83.8 34.2 27.8 38.4 25.3 48.4 85.4 38.2 78.1 58.6 34.6 84.7 21.9 42.7 41.1 29.3 37.2 50.2
source-only 75.8 16.8 77.2 12.5 21.0 25.5 30.1 20.1 81.3 24.6 70.3 53.8 26.4 49.9 17.2 25.9 6.5 25.3 36.0 36.6
dmlc 92.5 55.1 85.9 36.9 32.4 34.7 41.4 37.0 85.3 37.8 87.4 62.7 31.8 84.5 36.8 48.2 2.2 34.3 47.3 51.2
metacorrection 92.8 58.1 86.2 39.7 33.1 36.3 42.0 38.6 85.5 37.8 87.6 62.8 31.7 84.8 35.7 50.3 2.0 36.8 48.0 52.1
"""
_TABLE_2 = """
adaptsegnet 84.3 42.7 77.5 - - - 4.7 7.0 77.9 82.5 54.3 21.0 72.3 32.2 18.9 32.3 - 46.7
patch-align 82.4 38.0 78.6 8.7 0.6 26.0 3.9 11.1 75.5 84.6 53.5 21.6 71.4 32.6 19.3 31.7 40.0 46.5
ltir 92.6 53.2 79.2 - - - 1.6 7.5 78.6 84.4 52.6 20.0 82.1 34.8 14.6 39.4 - 49.3
cbst 68.0 29.9 76.3 10.8 1.4 33.9 22.8 29.5 77.6 78.3 60.6 28.3 81.6 23.5 18.8 39.8 42.6 48.9
mrent 67.7 32.2 73.9 10.7 1.6 37.4 22.2 31.2 80.8 80.5 60.8 29.1 82.8 25.0 19.4 45.3 43.8 50.1
maxsquare 82.9 40.7 80.3 10.2 0.8 25.8 12.8 18.2 82.5 82.2 53.1 18.0 79.0 31.4 10.4 35.6 41.4 48.2
mlsl 59.2 30.2 68.5 22.9 1.0 36.2 32.7 28.3 86.2 75.4 68.6 27.7 82.7 26.3 24.3 52.7 45.2 51.0
pycda 75.5 30.9 83.3 20.8 0.7 32.7 27.3 33.5 84.7 85.0 64.1 25.4 85.0 45.2 21.2 32.0 46.7 53.3
intrada 84.3 37.7 79.5 5.3 0.4 24.9 9.2 8.4 80.0 84.1 57.2 23.0 78.0 38.1 20.3 36.5 41.7 48.9
cag 84.7 40.8 81.7 7.8 0.0 35.1 13.3 22.7 84.5 77.6 64.2 27.8 80.9 19.7 22.7 48.3 44.5 51.5
source-only 55.6 23.8 74.6 9.2 0.2 24.4 6.1 12.1 74.8 79.0 55.3 19.1 39.6 23.3 13.7 25.0 33.5 38.6
dmlc 92.3 53.0 80.2 7.7 2.8 26.9 11.4 8.1 83.1 85.2 58.9 20.5 85.5 35.9 21.0 41.8 44.6 52.1
metacorrection 92.6 52.7 81.3 8.9 2.4 28.1 13.0 7.3 83.5 85.0 60.1 19.7 84.8 37.2 21.5 43.9 45.1 52.5
"""


def _rows(text: str, measures: tuple[str, ...]) -> tuple[Row, ...]:
    """A line per method: our name, then a number or a dash per measure."""
    found = []
    for ours, *figures in map(str.split, text.strip().splitlines()):
        named = zip(measures, figures, strict=True)
        found.append(Row(_NAMES[ours][0], ours, _NAMES[ours][1], {key: float(one) for key, one in named if one != "-"}))
    return tuple(found)


_CLASSES = tuple(map(underscored, SCENE_CLASSES))
_DICE = {
    ("source only", "source-only", "-"): (28.48, 52.57, 47.56),
    ("CBST", "cbst", "ST"): (38.22, 70.14, 64.31),
    ("MaxSquare", "maxsquare", "ST"): (37.45, 69.61, 63.34),
    ("MRENT", "mrent", "ST"): (40.82, 72.39, 67.68),
    ("DMLC, single level", "dmlc", "ST"): (42.03, 74.09, 69.38),
    ("MetaCorrection", "metacorrection", "ST"): (43.25, 74.31, 70.87),
}
TABLES: Mapping[tuple[str, str], Published] = {
    ("gta5", "cityscapes"): Published(
        source=f"{PAPER}, table 1",
        rows=_rows(_TABLE_1, (*_CLASSES, MIOU)),
        beside=(MIOU,),
    ),
    ("synthia", "cityscapes"): Published(
        source=f"{PAPER}, table 2",
        rows=_rows(_TABLE_2, (*(_CLASSES[place] for place in SYNTHIA_16), MIOU, MIOU_13)),
        beside=(MIOU, MIOU_13),
    ),
    ("decathlon", "nci-isbi13"): Published(
        source=f"{PAPER}, table 3",
        rows=tuple(Row(*row, dict(zip(("PZ", "TZ", "WP"), dice, strict=True))) for row, dice in _DICE.items()),
        digits=2,
    ),
}
"""By source and target. Not every mean is that of its row's classes, which are given to a tenth. Further off than their
rounding allows (0.1) are, in table 1, MLSL (49.0; the mean is 48.88), IntraDA (46.3; 45.78) and CAG-UDA (50.2; 50.09).
Rounded from other digits, perhaps, are DMLC in table 1 (51.2; 51.27) and in table 2 MaxSquare's mIoU (41.4; 41.49) and
CBST's mIoU* (48.9; 48.85). Whether table 3's WP is the union's or the pooled one, the paper does not say."""

LABELLERS: Mapping[str, str] = {"adaptsegnet": "AdaptSegNet", "ltir": "LTIR", "source-only": "Source"}
"""Method here to what table 4's column of pseudo-labels calls it, in the table's order."""
LABELLED_PAIR, LABELLED_SOURCE = ("gta5", "cityscapes"), f"{PAPER}, table 4"
LABELLED: tuple[LabelledBy, ...] = (
    LabelledBy("AdaptSegNet [40]", "adaptsegnet", None, 42.4, None),
    LabelledBy("Self-training (MRENT [50])", "mrent", "adaptsegnet", 45.1, 2.7),
    LabelledBy("Self-training (Threshold [51])", "threshold", "adaptsegnet", 44.4, 2.0),
    LabelledBy("Self-training (Uncertainty [48])", "uncertainty", "adaptsegnet", 46.1, 3.7),
    LabelledBy("Ours (single DMLC)", "dmlc", "adaptsegnet", 45.9, 3.5),
    LabelledBy("Ours (MetaCorrection)", "metacorrection", "adaptsegnet", 47.3, 4.9),
    LabelledBy("LTIR [20]", "ltir", None, 50.2, None),
    LabelledBy("Self-training (MRENT [50])", "mrent", "ltir", 50.6, 0.4),
    LabelledBy("Ours (single DMLC)", "dmlc", "ltir", 51.2, 1.0),
    LabelledBy("Ours (MetaCorrection)", "metacorrection", "ltir", 52.1, 1.9),
    LabelledBy("Source only", "source-only", None, 36.6, None),
    LabelledBy("Self-training (MRENT [50])", "mrent", "source-only", 39.6, 3.0),
    LabelledBy("Ours (single DMLC)", "dmlc", "source-only", 43.8, 7.2),
    LabelledBy("Ours (MetaCorrection)", "metacorrection", "source-only", 44.5, 7.9),
)
"""Table 4. Its AdaptSegNet is table 1's."""
