"""Floor 2: whether a DICOM file's elements fit into it: GDCM takes at once what one claims, up to 4 GiB of memory."""

import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from prostate_uda.errors import DataError

HARMLESS, USUAL = 64 * 2**20, 1024
"""Bytes that an element of a file that was cut short may claim, GDCM finds out by itself; and one of its first group,
which holds short texts."""

UNDEFINED = 0xFFFFFFFF
LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
"""Value representations whose length has four bytes, after two that mean nothing."""
PIXELS, ITEMS, META, SYNTAX = (0x7FE0, 0x0010), 0xFFFE, 0x0002, (0x0002, 0x0010)
OTHER_ORDERS = (b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99")
"""Transfer syntaxes that are big endian or compressed as a whole: their elements are not looked at."""
MOST = 200_000
"""Elements that are looked at; an enhanced image of some hundred frames has a tenth of them."""


class _Element(NamedTuple):
    tag: tuple[int, int]
    steps_in: bool
    length: int


def check_lengths(file: Path) -> None:
    """Refuse a file with an element that claims far more bytes than there are.

    The elements are walked through one after another, with those of sequences in between, whatever the depth. Where the
    first group is damaged, GDCM tries to read the file in every other way, and takes what each of them says.

    Args:
        file: DICOM, with or without a preamble, little endian.

    Raises:
        DataError: So it does.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        stream.seek(128)
        if stream.read(4) != b"DICM":
            stream.seek(0)
        for _ in range(MOST):
            element = _next(stream)
            if element is None or (element.tag == PIXELS and element.length == UNDEFINED):
                return
            if element.steps_in:
                continue
            left = size - stream.tell()
            if element.length > max(left, USUAL if element.tag[0] == META else HARMLESS):
                raise DataError(
                    f"{file}: element ({element.tag[0]:04x},{element.tag[1]:04x}) claims {element.length:,} bytes and "
                    f"the file has {size:,}: damaged or cut short; export the series again"
                )
            if element.tag == SYNTAX and stream.read(element.length).rstrip(b"\0 ") in OTHER_ORDERS:
                return
            if element.tag != SYNTAX:
                stream.seek(element.length, 1)


def _next(stream: BinaryIO) -> _Element | None:
    """The next element's head; None at the end."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    group, number, length = struct.unpack("<HHI", head)
    kind = head[4:6]
    if group != ITEMS and kind.isalpha() and kind.isupper():
        length = int.from_bytes(head[6:8], "little")
        if kind in LONG:
            length = int.from_bytes(stream.read(4), "little")
    sequence = kind == b"SQ" or length == UNDEFINED
    return _Element((group, number), group == ITEMS or sequence, length)
