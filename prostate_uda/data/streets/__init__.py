"""Floor 2: procedural street scenes in two looks; nothing to download, labels always right.

``streets-render`` looks like a game, ``streets-photo`` like a camera in another town. Read ``case.py`` first.
"""

from prostate_uda.data.streets.case import StreetScene, make_scene
from prostate_uda.data.streets.looks import LOOKS, SHAPES, Look, Size
from prostate_uda.data.streets.writer import DESCRIPTION, VERSION, write_dataset

__all__ = ["DESCRIPTION", "LOOKS", "SHAPES", "VERSION", "Look", "Size", "StreetScene", "make_scene", "write_dataset"]
