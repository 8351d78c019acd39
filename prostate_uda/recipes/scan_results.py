"""Floor 5: one scan segmented: its files, and the record that the reports are made of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from prostate_uda import __version__
from prostate_uda.data.dicom import Series
from prostate_uda.data.identities import NOBODY, Identity
from prostate_uda.data.writing import write_label, write_shares
from prostate_uda.engines.scans import Prediction, ScanSegmenter
from prostate_uda.errors import DataError
from prostate_uda.metrics.gland import gland_measures
from prostate_uda.metrics.likeness import profile
from prostate_uda.recipes.bundle_reading import Bundle
from prostate_uda.recipes.identities import told
from prostate_uda.recipes.record import writing
from prostate_uda.recipes.scan_names import DICOM, LABELS, PROBABILITIES, SEGMENTS, UNCERTAINTY, readable
from prostate_uda.review.dicom_seg import Algorithm, can_write_dicom_seg, write_dicom_seg
from prostate_uda.review.quality import Findings, Flag, attention, flags_of, touched_borders
from prostate_uda.review.report_case import ReviewCase, render_case
from prostate_uda.review.seg_nrrd import write_seg_nrrd


@dataclass(frozen=True)
class Scan:
    """What is known of a scan before it is read.

    Attributes:
        name: Of its results.
        image: File or folder.
        series: Of a folder, the one that is taken.
        psa: Serum PSA in ng/mL, where it is known.
        who: Whose it is, which no record may tell; None where they may.
    """

    name: str
    image: Path
    series: Series | None
    psa: float | None
    who: Identity | None = NOBODY

    def told(self, text: str) -> str:
        """A text as a record may have it."""
        return text if self.who is None else self.who.hidden(text)


def write_results(scan: Scan, segmenter: ScanSegmenter, bundle: Bundle, out: Path, *, review: bool) -> dict[str, Any]:
    """Segment a scan and write what was found.

    Args:
        scan: Which.
        segmenter: How.
        bundle: Where the segmenter comes from.
        out: Folder of the results.
        review: Whether maps and segmentations for viewers are written, and the record has what the page shows.

    Returns:
        ``case``, ``source``, ``place``, ``measures``, ``flags``, ``attention``, ``written``, ``remarks`` and, where
        it is asked for, ``page``.

    Raises:
        DataError: the scan cannot be used.
        SettingsError: the results cannot be written.
    """
    with readable(scan.image):
        found = segmenter.predict(scan.series or scan.image)
    with writing(out):
        write_label(out / f"{scan.name}{LABELS}", found.label, found.volume)
        written, remarks = _write_review(scan, found, bundle, out) if review else ([], [])
    measures, flags = _judged(scan, found, segmenter, bundle, remarks)
    urgency = attention(flags, measures["uncertainty"])
    return {
        "case": scan.name,
        "source": _source(scan),
        "place": found.place,
        "measures": measures,
        "flags": [[flag.code, flag.text] for flag in flags],
        "attention": urgency,
        "written": [LABELS, *written],
        "remarks": remarks,
        "page": _page(scan, found, measures, flags, urgency) if review else None,
    }


def _judged(
    scan: Scan, found: Prediction, segmenter: ScanSegmenter, bundle: Bundle, remarks: Sequence[str]
) -> tuple[dict[str, float], tuple[Flag, ...]]:
    grid, label = found.volume.grid, torch.from_numpy(found.label)
    measures = gland_measures(label, grid.spacing, slice_axis=grid.slice_axis)
    gland = found.label > 0
    measures["uncertainty"] = float(found.uncertainty[gland].mean()) if gland.any() else math.nan
    if scan.psa is not None:
        measures["psa"] = scan.psa
        measures["psa_density"] = scan.psa / measures["WP_mL"] if measures["WP_mL"] > 0 else math.nan
    usual = bundle.training_scans()
    distance = usual.distance(profile(found.seen))
    if distance is not None:
        measures["unlikeness"] = distance
    findings = Findings(
        measures=measures,
        borders=touched_borders(found.label, grid.slice_axis),
        cut=found.cut,
        usual_uncertainty=usual.uncertainty if segmenter.doubt == "entropy" else None,
        distance=distance,
        remarks=(*_remarks(scan), *remarks),
    )
    return measures, flags_of(findings)


def _remarks(scan: Scan) -> tuple[str, ...]:
    if scan.series is not None and scan.series.other_contrast:
        return (scan.told(f"The series {scan.series.name!r} is no T2 by its name."),)
    return ()


def _write_review(scan: Scan, found: Prediction, bundle: Bundle, out: Path) -> tuple[list[str], list[str]]:
    """The files beside the label map, by their endings, and what could not be written."""
    write_shares(out / f"{scan.name}{UNCERTAINTY}", found.uncertainty, found.volume)
    classes = found.probabilities.permute(1, 2, 3, 0).numpy()
    write_shares(out / f"{scan.name}{PROBABILITIES}", classes, found.volume)
    write_seg_nrrd(out / f"{scan.name}{SEGMENTS}", found.label, found.volume.grid.affine)
    written, remarks = [UNCERTAINTY, PROBABILITIES, SEGMENTS], []
    if scan.series is not None and can_write_dicom_seg():
        identity = bundle.identity()
        made_by = f"{identity['name']} {identity['version']}".strip()
        algorithm = Algorithm(name="prostate-uda", version=__version__, description=made_by)
        path, affine = out / f"{scan.name}{DICOM}", found.volume.grid.affine
        try:
            write_dicom_seg(path, found.label, scan.series.files, affine=affine, algorithm=algorithm)
            written.append(DICOM)
        except DataError as error:  # the headers do not let anything refer to the series; the contours stand
            remarks.append(f"There is no DICOM SEG: {told(str(error), scan.who)}.")
    return written, remarks


def _page(
    scan: Scan, found: Prediction, measures: dict[str, float], flags: tuple[Flag, ...], urgency: float
) -> dict[str, Any]:
    grid = found.volume.grid
    return render_case(
        ReviewCase(
            name=scan.name,
            image=found.volume.array,
            label=found.label,
            uncertainty=found.uncertainty,
            spacing_mm=grid.spacing,
            orientation=grid.orientation,
            measures=measures,
            flags=[(flag.code, flag.text) for flag in flags],
            attention=urgency,
            source=_source(scan),
        )
    )


def _source(scan: Scan) -> str:
    """The file's name, or the folder's with the series that was taken."""
    if scan.series is None:
        return scan.image.name
    return scan.told(f"{scan.image.resolve().name}: {scan.series.name or scan.series.uid}")
