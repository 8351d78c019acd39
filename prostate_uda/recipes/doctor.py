"""Floor 5: ``doctor``: everything that is wrong with a folder, before a single step is trained on it."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from prostate_uda.data.checks import Examined, Facts, examine
from prostate_uda.data.cohorts import compare_cases, compare_places
from prostate_uda.data.domains import Case
from prostate_uda.data.domains.base import Role
from prostate_uda.data.findings import LEVELS, Finding, error, together, worst_first
from prostate_uda.data.reading import WORKERS
from prostate_uda.data.survey import survey
from prostate_uda.engines.observers import Progress, Silent
from prostate_uda.recipes.places import Place


@dataclass(frozen=True)
class Diagnosis:
    """What was looked at and what was found.

    Attributes:
        place: Its name.
        domain: As which it was read.
        cases: Number of cases found.
        readable: Of those, the number whose image can be read.
        labelled: Of those, the number with a label that can be used.
        findings: The worst first.
    """

    place: str
    domain: str
    cases: int
    readable: int
    labelled: int
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing stops or spoils a run."""
        return self.count("error") == 0

    def count(self, level: str) -> int:
        """The number of findings of a level."""
        return sum(finding.level == level for finding in self.findings)

    def table(self) -> tuple[Finding, ...]:
        """The findings for a person: one line where many cases have the same thing wrong."""
        return together(self.findings)

    def record(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {
            "place": self.place,
            "domain": self.domain,
            "cases": self.cases,
            "readable": self.readable,
            "labelled": self.labelled,
            "healthy": self.healthy,
            "counts": {level: self.count(level) for level in LEVELS},
            "findings": [finding.record() for finding in self.findings],
        }


def doctor(
    place: Place,
    *,
    against: Place | None = None,
    role: Role | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Look at every case of a place, then at the cases beside each other, then at a second place.

    Nothing is written, and nothing that is wrong with the data is raised: it is a finding.

    Args:
        place: What to look at.
        against: The other domain of an adaptation, to see whether they share patients or look alike.
        role: ``"source"`` where the place is to be learned from: then labels are needed.
        progress: Whoever shows how far it is.
    """
    progress = progress or Silent()
    cases, findings = survey(place.domain, place.root, place.labels)
    examined = _examine(place, cases, f"looking at {place.title}", progress)
    facts = _facts(examined)
    findings += [finding for seen in examined for finding in seen.findings]
    findings += compare_cases(facts)
    findings += _labels(cases, facts, role)
    if against is not None:
        others, more = survey(against.domain, against.root, against.labels)
        findings += [finding for finding in more if finding.level == "error"]
        findings += compare_places(facts, _facts(_examine(against, others, f"looking at {against.title}", progress)))
    findings += _in_order(examined)
    return Diagnosis(
        place=str(place.root or place.domain.name),
        domain=place.domain.name,
        cases=len(cases),
        readable=len(facts),
        labelled=sum(case.labelled for case in facts),
        findings=worst_first(findings),
    )


def _examine(place: Place, cases: Iterable[Case], title: str, progress: Progress) -> list[Examined]:
    named = place.named(tuple(cases))
    examined = []
    with progress.task(title, len(named)) as task, ThreadPoolExecutor(WORKERS) as pool:
        for seen in pool.map(lambda case: examine(case, place.domain.channel), named):
            examined.append(seen)
            task.advance()
    return examined


def _facts(examined: Iterable[Examined]) -> list[Facts]:
    return [seen.facts for seen in examined if seen.facts is not None]


def _labels(cases: list[Case], facts: list[Facts], role: Role | None) -> list[Finding]:
    """Whether there are labels enough for the role."""
    usable = sum(case.labelled for case in facts)
    bare = [case.id for case in cases if case.label is None]
    told = f"{usable} of {len(cases)} cases have a label that can be used"
    if role == "source" and usable < 2:
        what = f"{told}; a source needs 2 at least, one to learn from and one to test on"
        return [error("labels", "all", what, "give the labels' folder, or mend the errors above")]
    if role == "source" and bare:
        shown = ", ".join(bare[:6]) + (", ..." if len(bare) > 6 else "")
        return [
            Finding("warning", "labels", "all", f"{told}; without: {shown}", "these cases are left out of a source")
        ]
    return [Finding("ok", "labels", "all", told)] if cases else []


def _in_order(examined: list[Examined]) -> list[Finding]:
    """One line for all cases that nothing was found on."""
    good = [seen.facts for seen in examined if seen.facts is not None and not seen.findings]
    if not good:
        return []
    sizes = sorted({" x ".join(f"{size:.2f}" for size in facts.grid.spacing) for facts in good})
    shown = sizes[0] if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    glands = [facts.gland_ml for facts in good if facts.gland_ml is not None]
    volumes = f", glands of {min(glands):.0f} to {max(glands):.0f} mL" if glands else ""
    return [Finding("ok", "cases", "all", f"{len(good)} of {len(examined)} cases in order: {shown} mm{volumes}")]
