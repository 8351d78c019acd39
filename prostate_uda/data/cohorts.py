"""Floor 2: cases beside each other: who is there twice, who differs from the rest, and whether two places differ."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from prostate_uda.data.checks import Facts
from prostate_uda.data.findings import Finding, error, warning
from prostate_uda.data.patients import patient

FEW_CASES = 5
ODD_SPACING = 1.5
"""A voxel side this many times longer or shorter than the median one is told."""

OTHER_SPACING = 1.2
ALIKE = 0.1
"""Standard deviations that two places' intensities must be apart, whatever the spread within them."""


def compare_cases(cases: Sequence[Facts]) -> list[Finding]:
    """What cases of one place say together: repeated scans, odd spacing, too few of them.

    Args:
        cases: Those that could be read.
    """
    found = _repeated(cases)
    if 0 < len(cases) < FEW_CASES:
        what = f"only {len(cases)} can be read; a network learns little from them and a score on them says little"
        found.append(warning("few-cases", "all", what, "add cases"))
    return [*found, *_odd_spacing(cases)]


def compare_places(here: Sequence[Facts], there: Sequence[Facts]) -> list[Finding]:
    """Whether two places share patients, and whether there is anything to adapt to.

    Intensities are compared after z-score, by the mean distance between the places' mean quantiles, against the spread
    of the cases within each place. Places look alike where the first is below the second and the headers name neither
    other scanners nor other voxels.

    Args:
        here: Cases of one place that could be read.
        there: Those of the other.
    """
    if not here or not there:
        return []
    return [*_shared(here, there), *_look(here, there)]


def _repeated(cases: Sequence[Facts]) -> list[Finding]:
    found = []
    seen: dict[tuple[str, str], Facts] = {}
    for case in cases:
        for kind, key in _identities(case):
            other = seen.setdefault((kind, key), case)
            if other is not case:
                what = f"{_SAME[kind]} as {other.id} ({other.where})"
                found.append(error("duplicate", case.id, what, "keep one of them, or one would be tested on the other"))
                break
    return found


_SAME = {
    "voxels": "the same grey values",
    "study": "the same StudyInstanceUID",
    "patient": "the same patient by its name",
}


def _identities(case: Facts) -> list[tuple[str, str]]:
    kinds = [("voxels", case.voxels), ("study", case.scanner.study), ("patient", patient(case.id))]
    return [(kind, key) for kind, key in kinds if key]


def _odd_spacing(cases: Sequence[Facts]) -> list[Finding]:
    if len(cases) < 3:
        return []
    sizes = np.array([sorted(case.grid.spacing) for case in cases])
    usual = np.median(sizes, axis=0)
    found = []
    for case, size in zip(cases, sizes, strict=True):
        if np.max(np.maximum(size / usual, usual / size)) > ODD_SPACING:
            shown, others = (" x ".join(f"{side:.2f}" for side in sides) for sides in (size, usual))
            what = f"voxels of {shown} mm where most have {others} mm"
            found.append(
                warning("odd-spacing", case.id, what, "see if it is the same protocol and the header is right")
            )
    return found


def _shared(here: Sequence[Facts], there: Sequence[Facts]) -> list[Finding]:
    found = []
    known = {identity: case for case in here for identity in _identities(case)}
    for case in there:
        match = next(((kind, known[kind, key]) for kind, key in _identities(case) if (kind, key) in known), None)
        if match is None:
            continue
        kind, other = match
        what = f"{_SAME[kind]} as {other.id} of the other place ({other.where})"
        mend = "leave one of them out: what was learned from would be tested on"
        if kind == "patient":
            mend = "if it is one patient, leave one out; if two hospitals use one number, rename"
            found.append(warning("shared-patient", case.id, what, mend))
        else:
            found.append(error("shared-patient", case.id, what, mend))
    return found


def _look(here: Sequence[Facts], there: Sequence[Facts]) -> list[Finding]:
    first, second = (np.stack([case.quantiles for case in cases]) for cases in (here, there))
    apart = float(np.abs(first.mean(axis=0) - second.mean(axis=0)).mean())
    within = float(np.mean([np.abs(part - part.mean(axis=0)).mean() for part in (first, second)]))
    told = f"intensities after z-score are {apart:.2f} sd apart between the places and {within:.2f} within them"
    reasons = _differences(here, there)
    if apart > max(ALIKE, within) or reasons:
        return [Finding("ok", "shift", "both", "; ".join([told, *reasons]))]
    mend = "see what a network trained on the one makes of the other before adapting anything"
    return [warning("shift", "both", f"they look alike: {told}; there may be nothing to adapt", mend)]


def _differences(here: Sequence[Facts], there: Sequence[Facts]) -> list[str]:
    """What the headers say against it: quantiles alone do not see where in the image a coil is bright."""
    reasons = []
    scanners = [_scanner(cases) for cases in (here, there)]
    if all(scanners) and scanners[0] != scanners[1]:
        reasons.append(f"other scanners ({scanners[0]} | {scanners[1]})")
    sizes = [np.median([sorted(case.grid.spacing) for case in cases], axis=0) for cases in (here, there)]
    if np.max(np.maximum(sizes[0] / sizes[1], sizes[1] / sizes[0])) > OTHER_SPACING:
        shown = [" x ".join(f"{side:.2f}" for side in size) for size in sizes]
        reasons.append(f"other voxels ({shown[0]} | {shown[1]} mm)")
    return reasons


def _scanner(cases: Sequence[Facts]) -> str:
    """The commonest scanner; empty where no header says."""
    titles = Counter(case.scanner.title for case in cases)
    return titles.most_common(1)[0][0]
