"""Floor 2: every case that can be found in a folder, even where its domain refuses it as a whole.

A domain stops at the first mistake, as it should before a run. Whoever looks for mistakes goes on: here, scans and
labels are matched once more, and whatever fits nothing is a finding.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from prostate_uda.data.dicom import dicom_folders, is_dicom, study_of
from prostate_uda.data.domains.base import Case, Domain
from prostate_uda.data.domains.folder import FIRST_CHANNEL, LABEL_SUFFIXES, SECOND_CHANNEL
from prostate_uda.data.findings import Finding, error
from prostate_uda.data.patients import patient
from prostate_uda.data.volumes import SUFFIXES, file_suffix
from prostate_uda.errors import DataError

LAYOUTS = (("imagesTr", "labelsTr"), ("imagesTs", "labelsTs"), ("images", "labels"))


def survey(domain: Domain, root: Path | None, labels: Path | None = None) -> tuple[list[Case], list[Finding]]:
    """Find cases; where the domain refuses the folder, say so and go on with what can be matched.

    Args:
        domain: Whose layout it is.
        root: The folder; None where the domain needs none.
        labels: The labels' folder, where they do not lie in the layout's own place.

    Returns:
        The cases sorted by id, and what is wrong with the folder.
    """
    for folder in (root, labels):
        if folder is not None and not folder.is_dir():
            return [], [error("folder", str(folder), "not a folder", "give the folder that holds the scans")]
    try:
        cases = list(domain.find(root, labels).cases)
    except DataError as wrong:
        found = [Finding.of(wrong, "layout", str(root))]
        if root is None:
            return [], found
        cases, more = _loosely(root, labels)
        found += [finding for finding in more if finding.where not in found[0].what]
    else:
        found = []
    if not cases:
        found.append(error("empty", str(root), *_why_empty(root)))
    return sorted(cases, key=lambda case: case.id), found


def _loosely(root: Path, labels: Path | None) -> tuple[list[Case], list[Finding]]:
    """Scans and labels matched by patient, in every layout we know."""
    cases: list[Case] = []
    found: list[Finding] = []
    present: list[tuple[Path, Path | None]] = [
        (root / images, root / theirs) for images, theirs in LAYOUTS if (root / images).is_dir()
    ]
    for images, theirs in present or [(root, None)]:
        given = labels or theirs
        scans, beside = _scans(images, alone=given is None)
        files = _files(given) if given is not None and given.is_dir() else beside
        here, more = _matched(scans, files)
        cases += here
        found += more
    if labels is not None and len(present) > 1:  # one folder of labels serves several of images
        taken = {case.label for case in cases}
        found = [finding for finding in found if finding.check != "lonely-label" or Path(finding.where) not in taken]
        found = list(dict.fromkeys(found))
    return cases, found


def _scans(folder: Path, *, alone: bool) -> tuple[list[Path], list[Path]]:
    """Images right in the folder and folders with DICOM; and, where labels lie beside them, the labels."""
    entries = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    if any(is_dicom(path) for path in entries):
        return [folder], []
    files = [path for path in entries if path.is_file() and file_suffix(path)]
    folders = [path for path in entries if path.is_dir() and dicom_folders(path)]
    studies = {_study(path) for path in folders} if len(folders) > 1 and not files else set()
    if len(studies) == 1 and studies != {""}:
        return [folder], []  # the series of one patient
    if not alone:
        return [*files, *folders], []
    known = {patient(path.name) for path in files if not _named_as_label(path)}
    labels = [path for path in files if _named_as_label(path) and patient(path.name) in known]
    return [path for path in [*files, *folders] if path not in labels], labels


def _study(folder: Path) -> str:
    """The study's UID; empty where the first file cannot be read, which is told when the case is."""
    try:
        return study_of(folder)
    except DataError:
        return ""


def _named_as_label(path: Path) -> bool:
    stem = path.name[: len(path.name) - len(file_suffix(path))]
    return stem.endswith(LABEL_SUFFIXES)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if file_suffix(path) and not path.name.startswith("."))


def _matched(scans: Iterable[Path], labels: Iterable[Path]) -> tuple[list[Case], list[Finding]]:
    found: list[Finding] = []
    cases: dict[str, Case] = {}
    scans = list(scans)
    firsts = {patient(path.name) for path in scans}
    for path in scans:
        name = path.name[: len(path.name) - len(file_suffix(path))]
        if name.endswith(SECOND_CHANNEL) and patient(name.removesuffix(SECOND_CHANNEL)) in firsts:
            found.append(error("channels", str(path), "a second channel beside the first", "keep the T2 files only"))
        elif patient(name) in cases:
            what = f"the same patient as {cases[patient(name)].image.name}"
            found.append(error("duplicate", str(path), what, "keep one image per patient"))
        else:
            cases[patient(name)] = Case(name.removesuffix(FIRST_CHANNEL), path)
    for label in labels:
        who = patient(label.name)
        if who not in cases:
            mend = "name it as its image or image folder, or move it elsewhere"
            found.append(error("lonely-label", str(label), "fits no image", mend))
        elif cases[who].label is not None:
            what = f"a second label of case {cases[who].id!r}"
            found.append(error("two-labels", str(label), what, "keep the one to be used"))
        else:
            cases[who] = replace(cases[who], label=label)
    return list(cases.values()), found


def _why_empty(root: Path | None) -> tuple[str, str]:
    """What lies there instead, and what to do."""
    mend = f"put {', '.join(SUFFIXES)} files or one DICOM folder per patient there"
    if root is None:
        return "no case", mend
    deeper = next((path for path in sorted(root.rglob("*")) if file_suffix(path) and path.parent != root), None)
    if deeper is not None:
        return f"no scan right in the folder, but {deeper.relative_to(root)}", "put the scans right into the folder"
    endings = Counter(path.suffix.lower() or "no ending" for path in root.rglob("*") if path.is_file())
    held = ", ".join(f"{count} x {ending}" for ending, count in endings.most_common(4)) or "nothing"
    return f"no scan; it holds {held}", mend
