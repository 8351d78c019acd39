"""One patient under many names, and folds that never part him."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prostate_uda.data.patients import check_leakage, folds, patient
from prostate_uda.errors import DataError, SettingsError


@pytest.mark.parametrize(
    "name",
    [
        "ProstateDx-01-0006",
        "prostatedx-01-0006",
        "ProstateDx-01-0006_correctedLabels",
        "ProstateDx-01-0006_truth.nrrd",
        "PROSTATEDX-01-0006_0000.nii.gz",
        " ProstateDx-01-0006_truth_seg ",
    ],
)
def test_many_names_of_one_patient(name):
    assert patient(name) == "prostatedx-01-0006"


@pytest.mark.parametrize("name", ["ProstateX-0000", "_seg", "case_0001", "p1.5"])
def test_what_belongs_to_a_name_stays(name):
    assert patient(name) == name.lower()


@given(st.text(min_size=1))
def test_a_patient_is_his_own_name(name):
    assert patient(patient(name)) == patient(name)


@pytest.mark.parametrize(
    "parts",
    [
        {"train": ["a", "b"], "test": ["c", "A"]},
        {"train": ["a_0000"], "test": ["a_truth"]},
        {"train": ["a", "b", "a"]},
        {"source train": ["a"], "target train": ["a"]},
    ],
)
def test_leaks_are_named(parts):
    with pytest.raises(DataError, match="may be listed once") as error:
        check_leakage(parts)
    assert "\n" not in str(error.value)


@given(st.sets(st.integers(0, 999), min_size=2, max_size=50), st.integers(2, 9), st.integers(0, 5))
def test_folds_hold_everyone_once(numbers, k, seed):
    ids = [f"case_{number:03}" for number in numbers]
    k = min(k, len(ids))
    drawn = folds(ids, k, seed)
    assert sorted(name for fold in drawn for name in fold) == sorted(ids)
    assert max(map(len, drawn)) - min(map(len, drawn)) <= 1
    assert drawn == folds(reversed(ids), k, seed)


def test_the_draw_is_the_seeds_alone():
    ids = [f"case_{number:02}" for number in range(7)]
    assert folds(ids, 3)[0] == ("case_02", "case_05", "case_06")
    assert folds(ids, 3, seed=1) != folds(ids, 3)


def test_folds_that_cannot_be():
    for k in (1, 4):
        with pytest.raises(SettingsError, match="allowed are 2 to 3"):
            folds(["a", "b", "c"], k)
    with pytest.raises(DataError, match="may be listed once"):
        folds(["a", "b", "B_seg"], 2)
