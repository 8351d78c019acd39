from itertools import combinations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from prostate_uda.errors import DataError, GeometryError, ShapeError
from prostate_uda.review.segments import CATEGORY, PROSTATE, SEGMENTS, ZONES, checked_label, lps_affine

# Machado, Oliveira and Fernandes (2009), full severity, on linear RGB
DEFICIENCIES = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "none": np.eye(3),
}


def seen(color: tuple[int, int, int], matrix: object) -> np.ndarray:
    share = np.array(color) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    turned = np.clip(np.array(matrix) @ linear, 0, 1)
    return rgb2lab(np.where(turned <= 0.0031308, 12.92 * turned, 1.055 * turned ** (1 / 2.4) - 0.055))


def test_codes_are_those_of_the_dicom_standard():
    codes = pytest.importorskip("pydicom.sr.codedict").codes
    type_codes = (codes.cid6300.Prostate, codes.cid6300.PeripheralZoneOfTheProstate)
    for segment, code in zip(SEGMENTS, (*type_codes, codes.cid6300.TransitionZoneOfTheProstate), strict=True):
        assert (segment.code.value, segment.code.scheme) == (code.value, code.scheme_designator)
        assert segment.code.meaning == code.meaning
    assert CATEGORY.value == codes.SCT.BodyStructure.value
    assert CATEGORY.meaning == codes.cid7150.AnatomicalStructure.meaning


def test_zones_are_apart_and_the_prostate_is_both():
    label = np.array([0, 1, 2], dtype=np.uint8)
    assert [segment.mask(label).tolist() for segment in SEGMENTS] == [
        [False, True, True],
        [False, True, False],
        [False, False, True],
    ]
    assert sorted(value for zone in ZONES for value in zone.values) == sorted(PROSTATE.values)


@pytest.mark.parametrize("kind", DEFICIENCIES)
def test_colors_are_told_apart_by_everyone(kind):
    for one, other in combinations(SEGMENTS, 2):
        apart = deltaE_ciede2000(*(seen(segment.color, DEFICIENCIES[kind]) for segment in (one, other)))
        assert apart > (50 if PROSTATE not in (one, other) else 24), (one.name, other.name)


def test_a_label_is_checked():
    good = np.zeros((2, 3, 4), dtype=np.uint8)
    assert checked_label(good) is good
    for bad in (good[0], good.astype(np.int16), good[:0]):
        with pytest.raises(ShapeError, match="uint8 of shape"):
            checked_label(bad)
    with pytest.raises(DataError, match=r"with value 3, 255; allowed are 0 background, 1 PZ, 2 TZ"):
        checked_label(np.array([0, 3, 255], dtype=np.uint8).reshape(1, 1, 3))


def test_an_affine_is_turned_to_lps_and_back():
    affine = np.array([[2.0, 0, 0, 5], [0, 3, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]])
    assert np.array_equal(lps_affine(affine), [[-2, 0, 0, -5], [0, -3, 0, -6], [0, 0, 4, 7], [0, 0, 0, 1]])
    assert np.array_equal(lps_affine(lps_affine(affine)), affine)
    for bad in (np.eye(3), np.diag((1.0, 0, 1, 1)), np.full((4, 4), np.nan)):
        with pytest.raises(GeometryError, match="invertible 4 x 4"):
            lps_affine(bad)
