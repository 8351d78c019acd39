"""Floor 2: the classes of driving scenes, their colours, and what the numbers of each data set's label files mean.

Inside, a scene's label holds Cityscapes' 19 train ids, 0 to 18, and IGNORE (255). Sources: Cityscapes,
``cityscapesscripts/helpers/labels.py`` (mcordts/cityscapesScripts: ids, train ids and colours); GTA5, Cityscapes' ids
in its palette files (Richter et al., ECCV 2016), read as ``dataset/gta5_dataset.py`` of wasidennis/AdaptSegNet does;
SYNTHIA, the table in the README of SYNTHIA-RAND-CITYSCAPES (Ros et al., CVPR 2016), to train ids as AdaptSegNet's and
ADVENT's followers do (``id_to_trainid`` of 19 classes; valeoai/DADA's ``synthia.py`` has the same pairs for its 16).
"""

from collections.abc import Mapping

from prostate_uda.maths.losses import IGNORE

SCENE_CLASSES: tuple[str, ...] = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)
"""Names by train id."""

COLOURS: tuple[tuple[int, int, int], ...] = (
    (128, 64, 128),
    (244, 35, 232),
    (70, 70, 70),
    (102, 102, 156),
    (190, 153, 153),
    (153, 153, 153),
    (250, 170, 30),
    (220, 220, 0),
    (107, 142, 35),
    (152, 251, 152),
    (70, 130, 180),
    (220, 20, 60),
    (255, 0, 0),
    (0, 0, 142),
    (0, 0, 70),
    (0, 60, 100),
    (0, 80, 100),
    (0, 0, 230),
    (119, 11, 32),
)
"""Cityscapes' colours by train id, ``(19, 3)``, 0 to 255."""

_EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_SYNTHIA = (3, 4, 2, 21, 5, 7, 15, 9, 6, 16, 1, 10, 17, 8, 18, 19, 20, 12, 11)

LICENSE_PLATE = 34
"""Cityscapes gives license plates -1, which no grey file holds; GTA5's files hold this."""


def _values(known: tuple[int, ...], total: int) -> dict[int, int]:
    """File value to train id: the place in ``known``, IGNORE for the other values below ``total``."""
    return {value: known.index(value) if value in known else IGNORE for value in range(total)}


TRAIN_VALUES: Mapping[int, int] = {**{number: number for number in range(len(SCENE_CLASSES))}, IGNORE: IGNORE}
"""Files with train ids, such as ``*_gtFine_labelTrainIds.png`` and those that we write."""

CITYSCAPES_VALUES: Mapping[int, int] = {**_values(_EVALUATED, 34), IGNORE: IGNORE}
"""``*_gtFine_labelIds.png``: ids 0 to 33; 255 is -1 (license plate) as 8 bits keep it."""

GTA5_VALUES: Mapping[int, int] = _values(_EVALUATED, LICENSE_PLATE + 1)
"""GTA5's label files: ids 0 to 34."""

SYNTHIA_VALUES: Mapping[int, int] = _values(_SYNTHIA, 23)
"""The first channel of SYNTHIA's ``GT/LABELS``: ids 0 to 22; void, parking slot, road work, lane marking drop out."""

SYNTHIA_ABSENT: tuple[int, ...] = (9, 14, 16)
"""Terrain, truck, train: SYNTHIA's table names them, its pictures hold none."""

SYNTHIA_16: tuple[int, ...] = tuple(number for number in range(len(SCENE_CLASSES)) if number not in SYNTHIA_ABSENT)
"""The train ids that are judged from SYNTHIA (mIoU)."""

SYNTHIA_13: tuple[int, ...] = tuple(number for number in SYNTHIA_16 if number not in (3, 4, 5))
"""The 16 without wall, fence and pole (mIoU*)."""
