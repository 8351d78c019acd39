"""Floor 2: GTA5, "Playing for Data" (Richter et al., ECCV 2016): ``images/00001.png`` and ``labels/00001.png``.

24,966 frames of a game, 1914 × 1052 pixels with a few of other sizes; labels are PNGs with a palette whose numbers are
Cityscapes' ids. Its own lists (``split.mat``, text files) are not read: it is a source, and its test part is drawn.
62 pairs are passed over, as others' loaders do: labels of another size, two black pictures.
"""

from prostate_uda.data.domains.scene_folders import SceneFolders
from prostate_uda.data.scene_classes import GTA5_VALUES

GTA5 = SceneFolders(
    name="gta5",
    title="GTA5, Playing for Data: driving scenes from a game, 19 classes",
    licence="research and education only",
    task="scenes",
    resize=(720, 1280),
    pictures="images",
    marks="labels",
    values=GTA5_VALUES,
    spoilt=frozenset(f"{frame:05d}" for frame in (15188, 17705, *range(20801, 20861))),
)
