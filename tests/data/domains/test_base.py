from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prostate_uda.data.domains import DOMAINS, get_domain
from prostate_uda.data.domains.base import Case, split_cases
from prostate_uda.errors import DataError, SettingsError, UnknownNameError


def cases(labelled: int, unlabelled: int = 0) -> list[Case]:
    with_label = [Case(f"l{i:02}", Path(f"l{i}"), Path(f"label{i}")) for i in range(labelled)]
    return with_label + [Case(f"u{i:02}", Path(f"u{i}")) for i in range(unlabelled)]


def ids(part: tuple[Case, ...]) -> set[str]:
    return {case.id for case in part}


@given(
    labelled=st.integers(0, 12),
    unlabelled=st.integers(0, 12),
    seed=st.integers(0, 2**32),
    shuffle=st.randoms(use_true_random=False),
    role=st.sampled_from(["source", "target"]),
)
def test_splits_are_disjoint_and_repeatable(labelled, unlabelled, seed, shuffle, role):
    given_cases = cases(labelled, unlabelled)
    try:
        split = split_cases(given_cases, role=role, seed=seed)
    except DataError:
        assert (role == "source" and labelled < 2) or (role == "target" and labelled < 2 and unlabelled == 0)
        return
    shuffle.shuffle(given_cases)
    assert split_cases(given_cases, role=role, seed=seed) == split
    assert not ids(split.train) & ids(split.test)
    if role == "source":
        assert ids((*split.train, *split.test)) == {f"l{i:02}" for i in range(labelled)}
        assert split.train
        assert split.test
        assert all(case.label is not None for case in (*split.train, *split.test))
    else:
        assert ids((*split.train, *split.test)) == ids(tuple(given_cases))
        assert all(case.label is None for case in split.train)
        assert all(case.label is not None for case in split.test)


def test_seeds_draw_other_cases():
    drawn = {frozenset(ids(split_cases(cases(20), role="source", seed=seed).test)) for seed in range(5)}
    assert len(drawn) > 1


@pytest.mark.parametrize(("count", "share", "test"), [(32, 0.2, 6), (2, 0.2, 1), (5, 0.2, 1), (3, 0.9, 2)])
def test_source_holds_out_its_share(count, share, test):
    split = split_cases(cases(count), role="source", seed=0, holdout=share)
    assert (len(split.train), len(split.test)) == (count - test, test)


@pytest.mark.parametrize(
    ("labelled", "unlabelled", "train", "test"), [(8, 0, 6, 2), (3, 5, 5, 3), (0, 5, 5, 0), (2, 0, 1, 1)]
)
def test_target_tests_where_it_can(labelled, unlabelled, train, test):
    split = split_cases(cases(labelled, unlabelled), role="target", seed=0)
    assert (len(split.train), len(split.test)) == (train, test)


@pytest.mark.parametrize("role", ["source", "target"])
def test_a_declared_test_part_is_kept(role):
    split = split_cases(cases(6), role=role, seed=0, declared_test=frozenset({"l04", "l05"}))
    assert ids(split.test) == {"l04", "l05"}
    assert ids(split.train) == {"l00", "l01", "l02", "l03"}


def test_a_declared_test_part_without_labels_is_learned_from():
    split = split_cases(cases(3, 2), role="target", seed=0, declared_test=frozenset({"u00", "u01"}))
    assert ids(split.train) == {"u00", "u01"}
    assert ids(split.test) == {"l00", "l01", "l02"}


@pytest.mark.parametrize("holdout", [0, 1, -0.5, 2])
def test_shares_that_leave_nothing_are_refused(holdout):
    with pytest.raises(SettingsError, match="between 0 and 1"):
        split_cases(cases(4), role="source", seed=0, holdout=holdout)


def test_source_without_labels_says_which_flag():
    with pytest.raises(DataError, match=r"1 labelled of 4 cases.*--source-labels"):
        split_cases(cases(1, 3), role="source", seed=0)


def test_two_images_of_one_case():
    twice = [*cases(2), replace(cases(1)[0], image=Path("other"))]
    with pytest.raises(DataError, match="two images of one case 'l00'"):
        split_cases(twice, role="source", seed=0)


@pytest.mark.parametrize("name", ["decathlon", "nci-isbi13", "folder"])
@pytest.mark.parametrize("role", ["source", "target"])
def test_a_missing_root_names_its_flag(tmp_path, name, role):
    with pytest.raises(DataError, match=f"needs its folder; say where it is with --{role}-root"):
        get_domain(name).cases(None, role=role, seed=0)
    with pytest.raises(DataError, match=f"is not a folder.*--{role}-root"):
        get_domain(name).cases(tmp_path / "none", role=role, seed=0)
    with pytest.raises(DataError, match=f"is not a folder.*--{role}-labels"):
        get_domain(name).cases(tmp_path, tmp_path / "none", role=role, seed=0)


@pytest.mark.parametrize("name", ["nci-isbi13", "folder", "decathlon"])
def test_an_empty_folder_is_one_line(tmp_path, name):
    with pytest.raises(DataError) as error:
        get_domain(name).cases(tmp_path, role="target", seed=0)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_domain_lists_the_known():
    line = r"unknown domain 'promise12'; choose one of: cityscapes, decathlon, folder"
    with pytest.raises(UnknownNameError, match=line):
        get_domain("promise12")


@pytest.mark.parametrize("name", DOMAINS)
def test_registry_entries_agree_with_their_names(name):
    domain = DOMAINS[name]
    assert domain.name == name
    assert domain.title
    assert domain.licence
