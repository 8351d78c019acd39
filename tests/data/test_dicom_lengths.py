"""Elements that claim more than there is: refused before GDCM takes the memory; all others pass."""

import struct
from pathlib import Path

import numpy as np
import pytest

from prostate_uda.data.dicom_lengths import HARMLESS, check_lengths
from prostate_uda.data.volumes import read_image
from prostate_uda.errors import DataError
from tests.conftest import MakeSeries


def element(tag: tuple[int, int], kind: bytes, value: bytes, length: int | None = None) -> bytes:
    """Explicit little endian; where the length is given it is a lie."""
    length = len(value) if length is None else length
    head = struct.pack("<HH", *tag) + kind
    long = kind in (b"OB", b"OW", b"SQ", b"UN")
    return head + (b"\0\0" + struct.pack("<I", length) if long else struct.pack("<H", length)) + value


def implicit(tag: tuple[int, int], value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HHI", *tag, len(value) if length is None else length) + value


ITEM, ITEM_END, SEQUENCE_END = ((0xFFFE, number) for number in (0xE000, 0xE00D, 0xE0DD))
UNDEFINED, LIE = 0xFFFFFFFF, 0xB0B0B0B0
META = element((2, 0x10), b"UI", b"1.2.840.10008.1.2.1\0")
PATIENT = element((0x10, 0x20), b"LO", b"anon")
WRONG = element((0x18, 0x9999), b"OB", b"abcd", LIE)


def sequence(inside: bytes, *, undefined: bool) -> bytes:
    item = implicit(ITEM, inside, UNDEFINED if undefined else None)
    item += implicit(ITEM_END, b"") if undefined else b""
    whole = element((8, 0x1140), b"SQ", item, UNDEFINED if undefined else None)
    return whole + (implicit(SEQUENCE_END, b"") if undefined else b"")


def written(path: Path, content: bytes, *, preamble: bool = True) -> Path:
    path.write_bytes((bytes(128) + b"DICM" if preamble else b"") + content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        META + WRONG + PATIENT,
        META + PATIENT + sequence(PATIENT, undefined=True) + WRONG,
        META + sequence(sequence(WRONG, undefined=True), undefined=False),
        META + sequence(PATIENT + WRONG, undefined=True) + PATIENT,
        implicit((0x10, 0x20), b"anon") + implicit((0x7FE0, 0x10), bytes(8), LIE),
    ],
)
@pytest.mark.parametrize("preamble", [True, False])
def test_a_claim_beyond_the_file_is_refused(content: bytes, preamble: bool, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"claims 2,964,369,584 bytes and the file has \d+: damaged"):
        check_lengths(written(tmp_path / "a.dcm", content, preamble=preamble))


def test_the_first_group_holds_short_texts(tmp_path: Path) -> None:
    file = written(tmp_path / "a.dcm", META + element((2, 0x13), b"SH", b"short", 6000) + PATIENT)
    with pytest.raises(DataError, match=r"element \(0002,0013\) claims 6,000 bytes and the file has \d+: damaged"):
        check_lengths(file)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        META + PATIENT + sequence(PATIENT, undefined=True) + element((0x7FE0, 0x10), b"OW", bytes(8)),
        META + element((0x7FE0, 0x10), b"OB", implicit(ITEM, b"") + implicit(ITEM, b"jpeg", LIE), UNDEFINED),
        META + element((0x7FE0, 0x10), b"OW", bytes(8), HARMLESS),
        element((2, 0x10), b"UI", b"1.2.840.10008.1.2.2\0") + WRONG,
        META + PATIENT[:5],
    ],
)
def test_all_others_pass(content: bytes, tmp_path: Path) -> None:
    check_lengths(written(tmp_path / "a.dcm", content))


def test_a_series_with_such_a_slice_is_refused(tmp_path: Path, make_series: MakeSeries) -> None:
    series = make_series(tmp_path / "series", np.arange(60, dtype=np.uint16).reshape(5, 4, 3))
    assert read_image(series).grid.shape == (5, 4, 3)
    path = series / "002.dcm"
    written(path, META + PATIENT + WRONG)
    with pytest.raises(DataError, match=r"002\.dcm: element .* claims"):
        read_image(series)


def test_real_series_pass(shared_data: Path) -> None:
    files = sorted(shared_data.rglob("*.dcm"))
    assert files
    for file in files[:: max(1, len(files) // 200)]:
        check_lengths(file)


def test_a_header_that_gdcm_stops_at_is_one_line(tmp_path: Path, make_series: MakeSeries) -> None:
    """SamplesPerPixel 2: found by libFuzzer; it was a traceback, and the end of all other scans."""
    series = make_series(tmp_path / "series", np.arange(100, dtype=np.uint16).reshape(5, 4, 5))
    path = series / "003.dcm"
    head = implicit((0x28, 2), struct.pack("<H", 1))
    content = path.read_bytes()
    assert content.count(head) == 1
    path.write_bytes(content.replace(head, head[:-2] + struct.pack("<H", 2)))
    with pytest.raises(DataError, match=r"series: a damaged DICOM file \(.*SamplesPerPixel.*\); export") as caught:
        read_image(series)
    assert "\n" not in str(caught.value)
