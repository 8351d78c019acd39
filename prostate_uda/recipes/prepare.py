"""Floor 5: ``prepare``: a public data set or a hospital's folder becomes one canonical, checked layout.

Each of the three says what its inputs are, gathers cases and has them converted. What was done before is not done
again: downloads go on where they broke off, cases of the same content are kept.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from prostate_uda.data.canonical import REPORT
from prostate_uda.data.dicom import list_series
from prostate_uda.data.domains import get_domain
from prostate_uda.data.labels import ZONE_VALUES, parse_label_names
from prostate_uda.data.preparing import decathlon, folder, nci_isbi13, tcia
from prostate_uda.data.preparing.convert import Gathered, Source
from prostate_uda.data.preparing.download import Checksum
from prostate_uda.engines.observers import Progress, Silent
from prostate_uda.errors import DataError, SettingsError, UnknownNameError
from prostate_uda.recipes.fetching import Fetched, fetch_file, fetch_labels, fetch_series, unpack_named
from prostate_uda.recipes.workspace import Workspace, stamp, workspace


def prepare_decathlon(
    out: Path,
    *,
    archive: Path | None = None,
    mirror: str | None = None,
    checksum: Checksum | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Task05 of the Medical Segmentation Decathlon: channel 0 (T2) of every case.

    Args:
        out: The folder to fill.
        archive: ``Task05_Prostate.tar`` or the folder it unpacks to; downloaded where it is not given.
        mirror: Base address of a server that holds ``Task05_Prostate.tar``, in place of MONAI's.
        checksum: Of the archive, in place of the published one.
        progress: Shows how far it is.

    Returns:
        See :func:`summary`.

    Raises:
        DataError: The archive cannot be had, is another or damaged, or no case of it can be used.
        SettingsError: ``out`` is in use by something else.
    """
    progress, start = progress or Silent(), time.perf_counter()
    inputs = {"archive": None if archive is None else stamp([_existing(archive)])}
    with workspace(out, "decathlon") as space:
        if space.unchanged(inputs):
            return _nothing_to_do(space, progress, start)
        space.begin(inputs)
        wanted = checksum or decathlon.known_checksum()
        if archive is None:
            got = space.downloads / decathlon.ARCHIVE
            fetch_file(decathlon.address(mirror), got, wanted, progress)
        else:
            got = archive
            if archive.is_file() and wanted.of(archive) != wanted.value:
                space.warn(f"{archive.name} is not the published archive: its {wanted.kind} is not {wanted.value}")
        root = unpack_named(got, space.unpacked) if got.is_file() else got
        _convert_all(space, decathlon.gather(root), root, progress)
        return _finished(space, progress, start, came="https://medicaldecathlon.com, Task05_Prostate")


def prepare_nci_isbi13(
    out: Path,
    *,
    dicom: Path | None = None,
    segmentations: Path | None = None,
    half: str = "1.5t",
    unlabelled: bool = False,
    mirror: str | None = None,
    nbia: str | None = None,
    checksums: Mapping[str, Checksum] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """NCI-ISBI 2013: the axial T2 series of the challenge's patients, and their labels on them.

    Args:
        out: The folder to fill.
        dicom: Folder with the DICOM series, in any layout; fetched from TCIA where it is not given.
        segmentations: The challenge's NRRD labels, as a zip or a folder with zips or files; fetched likewise.
        half: ``"1.5t"`` (ProstateDx, Philips with endorectal coil; read by the domain ``nci-isbi13``), ``"3t"``
            (Prostate3T, Siemens) or ``"both"`` (both read by ``folder``).
        unlabelled: Keep patients of the collection that are no case of the challenge, to adapt to.
        mirror: Base address of the manifests and label zips, in place of TCIA's.
        nbia: Base address of the series, in place of TCIA's.
        checksums: Of the label zips by name, in place of the published ones.
        progress: Shows how far it is.

    Returns:
        See :func:`summary`.

    Raises:
        DataError: Something cannot be had or is damaged, or no case can be used.
        SettingsError: ``out`` is in use by something else, or ``half`` is unknown.
    """
    progress, start = progress or Silent(), time.perf_counter()
    chosen = _half(half)
    given = {"dicom": dicom, "segmentations": segmentations}
    stamps = {name: None if path is None else stamp([_existing(path)]) for name, path in given.items()}
    inputs = {**stamps, "half": half, "unlabelled": unlabelled}
    with workspace(out, "nci-isbi13") as space:
        if space.unchanged(inputs):
            return _nothing_to_do(space, progress, start)
        space.begin(inputs)
        folders = _label_folders(space, segmentations, mirror, checksums, progress)
        labels, odd = nci_isbi13.find_labels(folders, chosen)
        if dicom is None:
            got = fetch_series(space.downloads, chosen, mirror=mirror, nbia=nbia, progress=progress)
        else:
            progress.note(f"reading the headers of every DICOM file in {dicom}")
            got = Fetched(list_series(dicom))
        for text in (*odd, *got.warnings):
            space.warn(text)
        gathered = nci_isbi13.gather(
            got.series, labels, chosen, named=got.named, catalogue=got.catalogue, missing=got.missing, bare=unlabelled
        )
        _convert_all(space, gathered, dicom or space.out, progress)
        reader = "nci-isbi13" if chosen == "1.5t" else "folder"
        came = "https://doi.org/10.7937/K9/TCIA.2015.zF0vlOPv"
        return _finished(space, progress, start, came=came, reader=reader)


def prepare_folder(
    out: Path,
    images: Path,
    *,
    labels: Path | None = None,
    label_names: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """A hospital's own scans, in any layout that the domain ``folder`` knows.

    Args:
        out: The folder to fill.
        images: The folder with the scans.
        labels: A folder with labels, where they do not lie in the layout's own place.
        label_names: What the labels' values mean, such as ``"1=TZ,2=PZ"``; by default 1 = PZ, 2 = TZ.
        progress: Shows how far it is.

    Returns:
        See :func:`summary`.

    Raises:
        DataError: The folder's layout is ambiguous, or no case can be used.
        SettingsError: ``out`` is in use by something else, or lies in ``images``.
    """
    progress, start = progress or Silent(), time.perf_counter()
    values = ZONE_VALUES if label_names is None else parse_label_names(label_names)
    given = [_existing(path) for path in (images, labels) if path is not None]
    if any(out.resolve().is_relative_to(path.resolve()) for path in given):
        raise SettingsError(f"{out} lies in the folder it is made from; name one elsewhere with --out")
    inputs = {"files": stamp(given), "values": {str(theirs): ours for theirs, ours in values.items()}}
    with workspace(out, "folder") as space:
        if space.unchanged(inputs):
            return _nothing_to_do(space, progress, start)
        space.begin(inputs)
        _convert_all(space, folder.gather(images, labels, values), images, progress)
        return _finished(space, progress, start, came=images.absolute().name)


def summary(space: Workspace, status: str, seconds: float) -> dict[str, Any]:
    """What there is to tell of a prepared folder.

    Returns:
        ``out domain status cases labelled test converted reused repaired left_out warnings seconds``; status is
        ``"prepared"`` or ``"unchanged"``; ``repaired`` and ``warnings`` are lines by case (``""`` for the whole),
        ``left_out`` a reason by case.
    """
    report = space.report or space.before
    cases = report["cases"]
    odd = {case: [*entry["doubts"], *entry["warnings"]] for case, entry in cases.items()}
    whole = {"": report["warnings"]} if report["warnings"] else {}
    return {
        "out": str(space.out),
        "domain": space.domain,
        "status": status,
        "cases": len(cases),
        "labelled": sum(entry["label"] is not None for entry in cases.values()),
        "test": sum(entry["part"] == "Ts" for entry in cases.values()),
        "converted": 0 if status == "unchanged" else len(cases) - space.reused,
        "reused": len(cases) if status == "unchanged" else space.reused,
        "repaired": {case: entry["repairs"] for case, entry in cases.items() if entry["repairs"]},
        "left_out": report["left_out"],
        "warnings": whole | {case: lines for case, lines in odd.items() if lines},
        "seconds": round(seconds, 2),
    }


def _half(name: str) -> nci_isbi13.Half:
    if name not in nci_isbi13.PREFIXES:
        raise UnknownNameError("half", name, nci_isbi13.PREFIXES)
    return cast("nci_isbi13.Half", name)


def _label_folders(
    space: Workspace,
    segmentations: Path | None,
    mirror: str | None,
    checksums: Mapping[str, Checksum] | None,
    progress: Progress,
) -> list[Path]:
    """Where the labels lie, unpacked."""
    if segmentations is None:
        archives = fetch_labels(space.downloads, mirror, checksums or tcia.LABEL_ARCHIVES, progress)
    elif segmentations.is_file():
        archives = [segmentations]
    else:
        archives = sorted(path for path in segmentations.rglob("*.zip") if not path.name.startswith("."))
    folders = [unpack_named(archive, space.unpacked) for archive in archives]
    return folders if segmentations is None or segmentations.is_file() else [segmentations, *folders]


def _convert_all(space: Workspace, gathered: Gathered, root: Path, progress: Progress) -> None:
    """Convert what is not done yet; a case that cannot be used is left out and named."""
    _check_ids(gathered.sources)
    space.report["left_out"] = dict(gathered.left_out)
    space.report["warnings"].extend(gathered.warnings)
    kept = []
    with progress.task("converting", len(gathered.sources)) as task:
        for source in gathered.sources:
            try:
                if not space.done(source, root):
                    space.convert(source, root)
                kept.append(source.id)
            except DataError as error:
                space.report["left_out"][source.id] = str(error)
            task.advance()
    left_out = space.report["left_out"]
    space.report["cases"] = {case: space.report["cases"][case] for case in kept}
    if not kept:
        space.save()
        if not left_out:
            raise DataError(f"{root} holds no case; put NIfTI, NRRD, MHA or DICOM there ('doctor' says more)")
        reason = next(iter(left_out.items()))
        raise DataError(f"none of {len(left_out)} cases can be used; {reason[0]}: {reason[1]}")


def _check_ids(sources: tuple[Source, ...]) -> None:
    """Refuse two cases that would be one file, on any system."""
    seen: dict[str, Source] = {}
    for source in sources:
        other = seen.setdefault(source.id.lower(), source)
        if other is not source:
            raise DataError(f"two images of one case: {other.files[0]} and {source.files[0]}; keep one image per case")


def _finished(
    space: Workspace, progress: Progress, start: float, *, came: str, reader: str | None = None
) -> dict[str, Any]:
    """Write the lists, tell what was odd and return the summary."""
    domain, reader = get_domain(space.domain), reader or space.domain
    space.finish(space.report["cases"], title=domain.title, licence=domain.licence, source=came, reader=reader)
    told = summary(space, "prepared", time.perf_counter() - start)
    for kind in ("repaired", "warnings"):
        for case, lines in told[kind].items():
            for line in lines:
                progress.note(f"{case or space.domain}: {line}")
    for case, reason in told["left_out"].items():
        progress.note(f"left out {case}: {reason}")
    return told


def _nothing_to_do(space: Workspace, progress: Progress, start: float) -> dict[str, Any]:
    progress.note(f"{space.out} is prepared already, from the same inputs; nothing to do ({space.out / REPORT})")
    return summary(space, "unchanged", time.perf_counter() - start)


def _existing(path: Path) -> Path:
    if not path.exists():
        raise DataError(f"{path} does not exist; check the path")
    return path
