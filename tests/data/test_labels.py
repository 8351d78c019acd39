"""Label values by name, and the one anatomical fact that tells PZ from TZ."""

from pathlib import Path

import numpy as np
import pytest

from prostate_uda.data.geometry import Grid
from prostate_uda.data.labels import parse_label_names, pz_in_front, values_by_name
from prostate_uda.data.volumes import Volume
from prostate_uda.errors import DataError


@pytest.mark.parametrize(
    ("names", "values"),
    [
        ({"0": "background", "1": "PZ", "2": "TZ"}, {0: 0, 1: 1, 2: 2}),  # Decathlon
        ({"1": "TZ", "2": "PZ"}, {0: 0, 1: 2, 2: 1}),  # Prostate158
        ({"1": "peripheral zone", "2": "central gland"}, {0: 0, 1: 1, 2: 2}),  # NCI-ISBI 2013
        ({1: "TZ and AFS", 2: "Peripheral_Zone", 7: "Background"}, None),
    ],
)
def test_values_by_name(names, values):
    if values is None:
        with pytest.raises(DataError, match="exactly one value"):
            values_by_name(names)
    else:
        assert values_by_name(names) == values


@pytest.mark.parametrize(
    "names", [{"1": "PZ"}, {"1": "PZ", "2": "PZ"}, {"1": "PZ", "2": "lesion"}, {"a": "PZ", "2": "TZ"}]
)
def test_what_is_no_pair_of_zones(names):
    with pytest.raises(DataError) as error:
        values_by_name(names)
    assert "\n" not in str(error.value)


def test_names_as_the_command_takes_them():
    assert parse_label_names("1=TZ, 2=PZ") == {0: 0, 1: 2, 2: 1}
    for text in ("", "1", "1=,2=TZ", "TZ=1,PZ=2"):
        with pytest.raises(DataError):
            parse_label_names(text)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("swapped", [False, True])
def test_pz_in_front(flip, swapped):
    """Front is where the patient's is, not where the array's is."""
    array = np.zeros((6, 10, 2), np.uint8)
    affine = np.diag((1.0, 1.0, 3.0, 1.0))  # RAS: y runs to the front
    array[2:4, 2:4] = 2 if swapped else 1
    array[2:4, 6:8] = 1 if swapped else 2
    if flip:
        array, affine = array[:, ::-1].copy(), np.diag((1.0, -1.0, 3.0, 1.0))
    label = Volume(array, Grid(array.shape, affine), Path("label.nii.gz"))
    assert pz_in_front(label) == swapped


def test_a_label_without_a_zone_says_nothing():
    array = np.ones((4, 4, 2), np.uint8)
    assert not pz_in_front(Volume(array, Grid(array.shape, np.eye(4)), Path("x.nii.gz")))
