"""Headers that nibabel doubts: read in silence where the doubt changes nothing, refused where it would guess."""

import logging
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.imageglobals import logger

from prostate_uda.data.volumes import read_image
from prostate_uda.errors import GeometryError

AFFINE = np.diag((-1.5, -1.5, 3.0, 1.0))
QFORM, SFORM = 252, 254
"""Bytes of the two codes, int16."""


def patched(path: Path, codes: dict[int, int]) -> Path:
    """A volume whose header has other codes at these bytes."""
    image = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(5, 4, 3), AFFINE)
    image.set_qform(AFFINE, 1)
    content = bytearray(image.to_bytes())
    for at, code in codes.items():
        content[at : at + 2] = struct.pack("<h", code)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("codes", [{QFORM: 999}, {SFORM: -7}, {QFORM: 0, SFORM: 1}])
def test_one_good_code_is_enough_and_nothing_is_said(
    codes: dict[int, int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volume = read_image(patched(tmp_path / "a.nii", codes))
    assert np.allclose(volume.grid.affine, AFFINE)
    assert caplog.records == []


@pytest.mark.parametrize("codes", [{QFORM: 999, SFORM: 999}, {QFORM: 0, SFORM: -3}, {QFORM: 77, SFORM: 0}])
def test_codes_that_mean_nothing_are_no_orientation(codes: dict[int, int], tmp_path: Path) -> None:
    path = patched(tmp_path / "a.nii", codes)
    with pytest.raises(GeometryError, match=r"qform code -?\d+ and sform code -?\d+ in its header; 0 to 5"):
        read_image(path)


def test_no_code_at_all_is_a_choice_of_the_format(tmp_path: Path) -> None:
    assert read_image(patched(tmp_path / "a.nii", {QFORM: 0, SFORM: 0})).grid.spacing == (1.5, 1.5, 3.0)


def test_what_others_read_is_told_as_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = patched(tmp_path / "a.nii", {QFORM: 999})
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(read_image, [path] * 40))) == 40
    assert caplog.records == []
    filters = list(warnings.filters)
    with caplog.at_level(logging.WARNING):
        nib.load(path)
    assert "qform_code 999 not valid" in caplog.text
    assert logger.handlers
    assert warnings.filters == filters
