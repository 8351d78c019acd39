"""Cases beside each other."""

from dataclasses import replace

import numpy as np
import pytest

from prostate_uda.data.checks import QUANTILES, Facts
from prostate_uda.data.cohorts import compare_cases, compare_places
from prostate_uda.data.findings import Finding, together
from prostate_uda.data.geometry import Grid
from prostate_uda.data.scanners import Scanner


def facts(name: str, *, offset: float = 0.0, spacing: float = 0.5, scanner: Scanner | None = None) -> Facts:
    return Facts(
        id=name,
        where=f"/x/{name}",
        grid=Grid((100, 100, 10), np.diag((-spacing, -spacing, 3.0, 1.0))),
        voxels=f"digest of {name}",
        quantiles=QUANTILES + offset,
        scanner=scanner or Scanner(),
    )


def cohort(prefix: str = "p", **more) -> list[Facts]:
    return [facts(f"{prefix}{number}", **more) for number in range(6)]


def checks(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(finding.level, finding.check, finding.where) for finding in findings]


def test_a_plain_cohort_is_in_order():
    assert compare_cases(cohort()) == []
    assert compare_cases([]) == []


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(facts("q"), voxels="digest of p1"), "same grey values as p1"),
        (replace(facts("q"), scanner=Scanner(study="1.2.3")), "same StudyInstanceUID as p1"),
        (facts("P1_0000"), "same patient by its name as p1"),
    ],
)
def test_the_same_patient_twice(other, words):
    cases = cohort()
    cases[1] = replace(cases[1], scanner=Scanner(study="1.2.3"))
    (finding,) = compare_cases([*cases, other])
    assert (finding.level, finding.check, finding.where) == ("error", "duplicate", other.id)
    assert words in finding.what


def test_one_spacing_unlike_the_others():
    assert checks(compare_cases([*cohort(), facts("q", spacing=1.0)])) == [("warning", "odd-spacing", "q")]


def test_few_cases():
    assert checks(compare_cases(cohort()[:2])) == [("warning", "few-cases", "all")]


def test_places_that_differ_and_places_that_do_not():
    here = cohort()
    (finding,) = compare_places(here, cohort("q", offset=0.3))
    assert (finding.level, finding.check) == ("ok", "shift")
    (finding,) = compare_places(here, cohort("q", offset=0.05))
    assert (finding.level, finding.check) == ("warning", "shift")
    assert "0.05 sd apart" in finding.what
    assert compare_places(here, []) == []


def test_headers_may_say_that_places_differ():
    one, two = Scanner("a", "SIEMENS", "Skyra", "3"), Scanner("b", "Philips Medical Systems", "Achieva", "1.5")
    here = [replace(case, scanner=replace(one, study=case.id)) for case in cohort()]
    there = [replace(case, scanner=replace(two, study=case.id)) for case in cohort("q", spacing=0.3)]
    (finding,) = compare_places(here, there)
    assert finding.level == "ok"
    assert "other scanners (Siemens Skyra, 3 T | Philips Achieva, 1.5 T)" in finding.what
    assert "other voxels (0.50 x 0.50 x 3.00 | 0.30 x 0.30 x 3.00 mm)" in finding.what


def test_shared_patients():
    there = cohort("q", offset=1.0)
    there[0] = replace(there[0], voxels="digest of p3")
    there[1] = facts("P2_truth", offset=1.0)
    found = checks(compare_places(cohort(), there))
    assert found[:2] == [("error", "shared-patient", "q0"), ("warning", "shared-patient", "P2_truth")]


def test_a_person_reads_one_line_for_many_cases():
    many = [Finding("warning", "volume", f"p{number}", f"{number} mL", "look") for number in range(9)]
    few = [Finding("error", "image", f"p{number}", "cut", "copy") for number in range(3)]
    other = Finding("error", "image", "p9", "NaN", "convert")
    lines = together([*many, *few, other])
    assert [line.where for line in lines] == ["p0", "p1", "p2", "p9", "9 times: p0, p1, p2, ..."]
    assert lines[-1].what == "0 mL (the first of 9)"
