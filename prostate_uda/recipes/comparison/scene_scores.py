"""Floor 5: driving scenes: IoU of the classes over the pixels of all test images together, and their mean (mIoU)."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from prostate_uda.data.domains import Domain
from prostate_uda.data.scene_classes import SCENE_CLASSES, SYNTHIA_13, SYNTHIA_16
from prostate_uda.engines.scenes import INTERSECTION, UNION, column
from prostate_uda.metrics import Interval, mean_iou
from prostate_uda.metrics.ratio_bootstrap import Judged, paired_iou_bootstrap
from prostate_uda.recipes.comparison.scoring import Cases, CaseScores, Measure, Scoring

MIOU, MIOU_13 = "mIoU", "mIoU_13"
_TITLES_19 = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic lgt", "traffic sgn", "veg.", "terrain", "sky"),
    *("person", "rider", "car", "truck", "bus", "train", "motor", "bike"),
)
_TITLES_16 = (
    *("road", "sidewalk", "building", "wall*", "fence*", "pole*", "light", "sign", "veg.", "sky"),
    *("person", "rider", "car", "bus", "mbike", "bike"),
)
"""The paper's abbreviations, of its tables 1 and 2."""


def underscored(name: str) -> str:
    """A class's name as tables have it: ``traffic_light``."""
    return name.replace(" ", "_")


class SceneScoring(Scoring):
    """Of driving scenes, as far as the source labels them: from SYNTHIA 16 classes, and mIoU* of 13.

    Args:
        source: The domain that is adapted from.
    """

    main = MIOU

    def __init__(self, source: Domain) -> None:
        self.classes = tuple(place for place in range(len(SCENE_CLASSES)) if place not in source.absent)
        known = [SCENE_CLASSES[place] for place in self.classes]
        self.names = tuple(map(underscored, known))
        self.columns = tuple(column(name, what) for what in (INTERSECTION, UNION) for name in known)
        as_synthia = self.classes == SYNTHIA_16
        titles = _TITLES_16 if as_synthia else [_TITLES_19[place] for place in self.classes]
        self.measures = {name: Measure(title=title) for name, title in zip(self.names, titles, strict=True)}
        self.measures |= {MIOU: Measure(title=MIOU, brief=True)}
        self.of = {MIOU: [*range(len(self.classes))]}
        """Of each mean, the places of its classes among ours."""
        self.units = (
            f"IoU in points, over the pixels of all test images; mIoU: mean over the {len(self.classes)} classes that "
            f"{source.name} labels, without those that no test image has and none was found to have."
        )
        if as_synthia:
            self.measures |= {MIOU_13: Measure(title="mIoU*", brief=True)}
            self.of |= {MIOU_13: [self.classes.index(place) for place in SYNTHIA_13]}
            self.units += " mIoU*: without the three that are marked."
        self.differences = tuple(self.of)
        self.main_told, self.resampled = MIOU, "the images of each seed"

    def of_cases(self, cases: Mapping[str, CaseScores]) -> dict[str, float]:
        """From the sums over images; a class that is in no image and was found in none has no IoU, nor a part in means.

        Images without a label are left out.
        """
        both, either = self._counts([*cases.values()]).sum(dim=0)
        iou = torch.where(either > 0, both / either.clamp_min(1), torch.nan)
        means = {name: mean_iou(iou, places) for name, places in self.of.items()}
        named = dict(zip(self.names, iou.tolist(), strict=True)) | means
        return {name: 100 * value for name, value in named.items()}

    def ahead(self, measure: str, ours: Cases, theirs: Cases, *, seed: int) -> Interval:
        """Of each seed the difference of the data set's mIoU, then the mean over seeds; images are resampled."""
        of = self.of[measure]
        pairs = [key for key in ours if key in theirs and self._labelled(ours[key]) and self._labelled(theirs[key])]
        judged = []
        for number in sorted({number for _, number, _ in pairs}):
            keys = [key for key in pairs if key[1] == number]
            mine, others = (self._counts([row[key] for key in keys])[..., of] for row in (ours, theirs))
            judged.append(Judged(tuple(scan for scan, _, _ in keys), mine, others))
        found = paired_iou_bootstrap(judged, generator=torch.Generator().manual_seed(seed))
        return Interval(*(100 * value for value in found))

    def _counts(self, cases: Sequence[CaseScores]) -> Tensor:
        """``(N, 2, C)`` float64, intersections and unions of the labelled images."""
        rows = [[row[name] for name in self.columns] for row in cases if self._labelled(row)]
        return torch.tensor(rows, dtype=torch.float64).view(-1, 2, len(self.classes))

    def _labelled(self, row: CaseScores) -> bool:
        return not any(math.isnan(row[name]) for name in self.columns)
