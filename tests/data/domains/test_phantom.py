"""The phantom as a domain: generated once, found again, split by role."""

import os
import time

import pytest

from prostate_uda.data.cache import ABANDONED_S, CACHE_VARIABLE
from prostate_uda.data.domains.phantom import PHANTOM_3T, PHANTOM_15T, PhantomSettings
from prostate_uda.errors import DataError

FEW = PhantomSettings(train=2, test=1, seed=3)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        yield folder


def test_generates_once_and_reuses(cache):
    done = []
    domain = PHANTOM_3T.configured(FEW, progress=done.append)
    first = domain.cases(None, role="source", seed=0)
    (written,) = cache.rglob("dataset.json")
    stamp = written.stat().st_mtime_ns
    second = domain.cases(None, role="source", seed=0)
    assert first == second
    assert done == [1, 2, 3]
    assert written.stat().st_mtime_ns == stamp
    assert (cache / "phantom" / "phantom-3t-small-seed3-2+1-v1").is_dir()


def test_what_a_killed_process_left_goes_after_a_day(cache):
    name, other = ".phantom-3t-small-seed3-2+1-v1-abc", ".phantom-3t-small-seed9-2+1-v1-xyz"
    for folder in (cache / "phantom" / name, cache / "phantom" / other):
        (folder / "imagesTr").mkdir(parents=True)
    before = time.time() - ABANDONED_S - 60
    os.utime(cache / "phantom" / name, (before, before))
    PHANTOM_3T.configured(FEW).generate()
    assert not (cache / "phantom" / name).exists()
    assert (cache / "phantom" / other / "imagesTr").is_dir()  # of a process that is at work, for all we know


def test_roles(cache):
    domain = PHANTOM_15T.configured(FEW)
    source, target = (domain.cases(None, role=role, seed=0) for role in ("source", "target"))
    assert [case.id for case in target.train] == ["phantom-1.5t_00000", "phantom-1.5t_00001"]
    assert [case.id for case in target.test] == ["phantom-1.5t_10000"]
    assert all(case.label is None for case in target.train)
    assert all(case.label is not None and case.label.is_file() for case in (*source.train, *source.test, *target.test))


def test_a_root_is_read_and_must_be_this_scanner(cache):
    root = PHANTOM_3T.configured(FEW).generate()
    assert len(PHANTOM_3T.cases(root, role="source", seed=0).train) == 2
    with pytest.raises(DataError, match="holds phantom-3t"):
        PHANTOM_15T.cases(root, role="source", seed=0)
    with pytest.raises(DataError, match=r"dataset\.json"):
        PHANTOM_3T.cases(cache, role="source", seed=0)
