"""Floor 2: SYNTHIA-RAND-CITYSCAPES (Ros et al., CVPR 2016): ``RGB/0000000.png`` and ``GT/LABELS/0000000.png``.

9,400 rendered scenes, 1280 × 760 pixels; labels are RGB PNGs of 16 bits, the class in the first channel and the
instance in the second. The archive unpacks to ``RAND_CITYSCAPES``. There is no official split.
"""

from prostate_uda.data.domains.scene_folders import SceneFolders
from prostate_uda.data.scene_classes import SYNTHIA_ABSENT, SYNTHIA_VALUES

SYNTHIA = SceneFolders(
    name="synthia",
    title="SYNTHIA-RAND-CITYSCAPES: rendered driving scenes, 16 of the 19 classes",
    licence="CC BY-NC-SA 3.0",
    task="scenes",
    resize=(760, 1280),
    absent=SYNTHIA_ABSENT,
    pictures="RGB",
    marks="GT/LABELS",
    values=SYNTHIA_VALUES,
    unpacked="RAND_CITYSCAPES",
    labels_apart=False,
)
