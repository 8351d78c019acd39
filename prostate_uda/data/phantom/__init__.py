"""Floor 2: a procedural T2-weighted male pelvis on two scanners; nothing to download, labels always right.

``phantom-3t`` is a phased-array scan, ``phantom-1.5t`` one with an endorectal balloon coil. Read ``case.py`` first.
"""

from prostate_uda.data.phantom.case import PhantomCase, make_case
from prostate_uda.data.phantom.protocols import PROTOCOLS, Protocol, Size
from prostate_uda.data.phantom.writer import VERSION, write_dataset

__all__ = ["PROTOCOLS", "VERSION", "PhantomCase", "Protocol", "Size", "make_case", "write_dataset"]
