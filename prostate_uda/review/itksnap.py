"""Floor 2, review: ITK-SNAP's label descriptions.

The text is the one that ITK-SNAP writes and reads (``ColorLabelTable::SaveToFile`` of its source).
"""

from pathlib import Path

from prostate_uda.review.files import whole
from prostate_uda.review.segments import ZONES, Segment

_HEADER = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
# Fields:
#    IDX:   Zero-based index
#    -R-:   Red color component (0..255)
#    -G-:   Green color component (0..255)
#    -B-:   Blue color component (0..255)
#    -A-:   Label transparency (0.00 .. 1.00)
#    VIS:   Label visibility (0 or 1)
#    MSH:   Label mesh visibility (0 or 1)
#  LABEL:   Label description
################################################
    0     0    0    0        0  0  0    "Clear Label"
"""


def write_label_descriptions(path: Path) -> None:
    """Write names and colors of the label values for ITK-SNAP (Segmentation, Import label descriptions).

    Args:
        path: A text file; its folder is made where it is missing. Written whole or not at all.
    """
    lines = [_line(value, segment) for segment in ZONES for value in segment.values]
    with whole(path) as half:
        half.write_text(_HEADER + "".join(lines), encoding="utf-8")


def _line(value: int, segment: Segment) -> str:
    red, green, blue = segment.color
    return f'{value:5d} {red:5d} {green:4d} {blue:4d}        1  1  1    "{segment.name}"\n'
