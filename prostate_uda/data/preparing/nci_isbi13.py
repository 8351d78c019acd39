"""Floor 2: the NCI-ISBI 2013 challenge, from DICOM series and NRRD labels to cases.

What a case is, its label file says: the collections hold many patients more than the challenge. What is known to be odd
and is met here: ``_truth`` and ``_correctedLabels`` (case 0006) behind a label's name; series whose patient's id and
name disagree (0035); labels on another grid than their image (0055 has fewer slices, 0082 other pixels, many have other
axes), which :mod:`prostate_uda.data.preparing.placement` lays where they belong.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from prostate_uda.data.cache import content_hash
from prostate_uda.data.canonical import Part
from prostate_uda.data.dicom import Series, choose_among
from prostate_uda.data.preparing.convert import Gathered, Source
from prostate_uda.data.preparing.tcia import Listed
from prostate_uda.data.volumes import file_suffix
from prostate_uda.errors import DataError

Half = Literal["1.5t", "3t", "both"]
PREFIXES: Mapping[str, tuple[str, ...]] = {
    "1.5t": ("ProstateDx-",),
    "3t": ("Prostate3T-",),
    "both": ("ProstateDx-", "Prostate3T-"),
}
COLLECTIONS: Mapping[str, tuple[str, ...]] = {
    "1.5t": ("PROSTATE-DIAGNOSIS",),
    "3t": ("Prostate-3T",),
    "both": ("PROSTATE-DIAGNOSIS", "Prostate-3T"),
}
TEST = ("02", "03")
"""Leaderboard and test, the second field of an id: ``ProstateDx-02-0003``."""

PATIENT = re.compile(r"Prostate(?:Dx|3T)-(\d\d)-\d{4}")
CORRECTED = "_correctedLabels"
NAMED = re.compile(rf"({PATIENT.pattern})(?:_truth|{CORRECTED})?", re.IGNORECASE)


def find_labels(folders: Sequence[Path], half: Half) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The label of each case of a half, and what is odd about them.

    Args:
        folders: Searched at every depth. A corrected label goes before another of the same case.
        half: Which scanner's cases.

    Raises:
        DataError: The folders hold no label of that half, or two different ones of one case.
    """
    found: dict[str, list[Path]] = defaultdict(list)
    unknown = []
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        suffix = file_suffix(path)
        if not suffix or path.name.startswith("."):
            continue
        match = NAMED.fullmatch(path.name[: -len(suffix)])
        if match is None:
            unknown.append(path.name)
        elif match[1].startswith(PREFIXES[half]):
            found[match[1]].append(path)
    if not found:
        searched = ", ".join(str(folder) for folder in folders)
        raise DataError(f"no label named {' or '.join(PREFIXES[half])}… in {searched}; give the challenge's NRRD files")
    odd = [f"{len(unknown)} label files carry no case's name and were passed over: {', '.join(unknown)}"]
    return {case: _one_label(case, paths) for case, paths in found.items()}, tuple(odd if unknown else ())


def gather(
    series: Iterable[Series],
    labels: Mapping[str, Path],
    half: Half,
    *,
    named: Collection[str] = (),
    catalogue: Mapping[str, Listed] | None = None,
    missing: Mapping[str, str] | None = None,
    bare: bool = False,
) -> Gathered:
    """Join images and labels, patient by patient.

    Args:
        series: Every series there is, of any patient.
        labels: Case to label; see :func:`find_labels`.
        half: Which scanner's cases.
        named: SeriesInstanceUIDs of the challenge's manifests; they go before others of the same patient.
        catalogue: What TCIA says of each series; its patient goes before what the files say.
        missing: Patient to why his series could not be had.
        bare: Whether patients without a label are kept, to adapt to.

    Raises:
        DataError: No series of that half.
    """
    by_patient, odd = assign(series, catalogue or {})
    by_patient = {case: them for case, them in by_patient.items() if case.startswith(PREFIXES[half])}
    if not by_patient and not missing:
        raise DataError(f"no DICOM series of a patient {' or '.join(PREFIXES[half])}…; give the folder with the images")
    left_out = {case: f"label without image: {path.name}" for case, path in labels.items() if case not in by_patient}
    left_out |= {case: reason for case, reason in (missing or {}).items() if case not in by_patient}
    sources = []
    for case, them in sorted(by_patient.items()):
        if case not in labels and not bare:
            left_out[case] = "image without label: no case of the challenge; --unlabelled keeps it to adapt to"
            continue
        try:
            image = _chosen(case, them, named)
        except DataError as error:
            left_out[case] = str(error)
            continue
        sources.append(Source(case, _part(case), image, labels.get(case), doubts=odd.get(case, ())))
    return Gathered(tuple(sources), left_out)


def assign(
    series: Iterable[Series], catalogue: Mapping[str, Listed]
) -> tuple[dict[str, list[Series]], dict[str, tuple[str, ...]]]:
    """Whose each series is, and which were not clear.

    Where PatientID and PatientName disagree, TCIA's catalogue decides; without it the study's other series, then the
    folder's name, then PatientID.

    Returns:
        Patient to series, and patient to one line for each series that had to be decided.
    """
    listed = list(series)
    clear = {one.study: one.patient for one in listed if one.study and _agrees(one)}
    owned: dict[str, list[Series]] = defaultdict(list)
    odd: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for one in listed:
        patient, by = _owner(one, catalogue, clear)
        if not patient:
            continue
        owned[patient].append(one)
        if patient != one.patient or not _agrees(one):
            odd[patient] += (
                f"series {one.uid} has PatientID {one.patient!r} and PatientName {one.patient_name!r}: taken for "
                f"{patient}, by {by}",
            )
    return dict(owned), dict(odd)


def _owner(one: Series, catalogue: Mapping[str, Listed], clear: Mapping[str, str]) -> tuple[str, str]:
    """The patient of a series, and what decided; empty for a patient that is none of the challenge's collections."""
    if one.uid in catalogue:
        listed = catalogue[one.uid].patient
        return (listed if PATIENT.fullmatch(listed) else ""), "TCIA's catalogue"
    if not _agrees(one):
        if one.study in clear:
            return clear[one.study], "the other series of its study"
        folders = [part for part in reversed(one.folder.parts) if PATIENT.fullmatch(part)]
        if folders:
            return folders[0], "its folder's name"
    return (one.patient, "PatientID") if PATIENT.fullmatch(one.patient) else ("", "")


def _agrees(one: Series) -> bool:
    """Whether id and name do not name two patients of the collections."""
    is_id, name = PATIENT.fullmatch(one.patient), PATIENT.search(one.patient_name)
    return is_id is not None and (name is None or name[0] == one.patient)


def _chosen(case: str, series: Sequence[Series], named: Collection[str]) -> Series:
    """The patient's axial T2; among several the one that the manifests name."""
    within = [one for one in series if one.uid in named]
    return choose_among(within or series, Path(case))


def _part(case: str) -> Part:
    match = PATIENT.fullmatch(case)
    return "Ts" if match is not None and match[1] in TEST else "Tr"


def _one_label(case: str, paths: list[Path]) -> Path:
    corrected = [path for path in paths if CORRECTED.lower() in path.name.lower()]
    fitting = corrected or paths
    if len({content_hash(path) for path in fitting}) > 1:
        raise DataError(f"two labels of case {case!r}: {fitting[0]} and {fitting[1]}; keep the one to be used")
    return fitting[0]
