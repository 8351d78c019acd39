"""Floor 5: ``infer``: scans in; label maps on the scans' own grids out, and all that a reviewer needs beside them."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import ignite.distributed as idist
import torch

from prostate_uda.data.dicom import choose_series
from prostate_uda.engines.inference import SliceStackInferer
from prostate_uda.engines.observers import Progress, Silent
from prostate_uda.engines.scans import Doubt, ScanSegmenter
from prostate_uda.errors import SettingsError
from prostate_uda.networks.folding import folded
from prostate_uda.recipes.bundle_reading import Bundle, check_of_scans, load_segmenter, open_bundle
from prostate_uda.recipes.identities import pseudonyms
from prostate_uda.recipes.leftovers import sweep
from prostate_uda.recipes.processes import is_first, processes, together
from prostate_uda.recipes.psa import read_psa
from prostate_uda.recipes.record import claimed, read_json, writing
from prostate_uda.recipes.reports import write_report
from prostate_uda.recipes.scan_job import Job
from prostate_uda.recipes.scan_names import KEPT, LABELS, check_places, named_scans
from prostate_uda.transforms import LabelZones

CPU_BATCH = 4
"""Slices per forward pass on a CPU: the fastest of 1, 4, 10 and 20 that were tried (docs/log.md)."""


@dataclass(frozen=True, kw_only=True)
class InferSettings:
    """How scans are segmented, and what is written.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` … .
        review: Whether maps, segmentations for viewers and ``report.html`` are written beside the label maps.
        flips: Whether each slice is also seen mirrored.
        keep_largest: See :class:`~prostate_uda.transforms.zones.LabelZones`.
        tz_inside: Likewise.
        doubt: Of what the uncertainty is: ``entropy``, or ``levels``, how far the network's levels disagree.
        follow: Whether the network's square follows a gland that is not in the middle of the scan.
        precision: ``float32`` or ``bf16``.
        batch_size: Slices per forward pass; 0 takes the bundle's on a GPU and :data:`CPU_BATCH` on a CPU.
        psa: Serum PSA in ng/mL of the only scan, or a CSV with the columns ``case`` and ``psa``.
        resume: Whether results that an interrupted run left, of the same scan, bundle and settings, are kept.
        keep_identifiers: Whether names of results and reports may tell whose scan it is: what a DICOM header says of
            the patient, and folders' names. Without it such a name becomes a pseudonym.

    Raises:
        SettingsError: a value that is not allowed.
    """

    device: str = "auto"
    review: bool = True
    flips: bool = False
    keep_largest: bool = False
    tz_inside: bool = False
    doubt: Doubt = "entropy"
    follow: bool = True
    precision: Literal["float32", "bf16"] = "float32"
    batch_size: int = 0
    psa: str | None = None
    resume: bool = False
    keep_identifiers: bool = False

    def __post_init__(self) -> None:
        if self.doubt not in ("entropy", "levels"):
            raise SettingsError(f"uncertainty {self.doubt!r}; choose entropy or levels")
        if self.precision not in ("float32", "bf16"):
            raise SettingsError(f"precision {self.precision!r}; choose float32 or bf16")
        if self.batch_size < 0:
            raise SettingsError(f"batch size {self.batch_size}; allowed is 1 or more, or 0 for a good one")

    def of_results(self) -> dict[str, Any]:
        """What a scan's results depend on."""
        told = asdict(self)
        told["uncertainty"] = told.pop("doubt")  # as the command has it
        return {name: value for name, value in told.items() if name not in ("device", "batch_size", "psa", "resume")}


@dataclass(frozen=True)
class Inferred:
    """What was written.

    Attributes:
        labels: A label map for each scan that could be segmented, in the order in which they were given.
        report: ``report.html``; None where it was not asked for.
        failures: Name of each other scan, and why.
    """

    labels: tuple[Path, ...]
    report: Path | None
    failures: Mapping[str, str]


def infer(
    images: Sequence[Path],
    bundle: Path,
    out: Path,
    settings: InferSettings | None = None,
    *,
    progress: Progress | None = None,
) -> Inferred:
    """Segment scans with the network, preprocessing and depth that a bundle holds.

    A scan that cannot be segmented is told in ``failures.csv``, and the others go on. Under ``torchrun`` each process
    takes every N-th scan.

    Args:
        images: NIfTI, NRRD or MHA files, folders of them, or DICOM series folders.
        bundle: A run's folder or its ``bundle/``.
        out: Gets for each scan ``NAME_zones.nii.gz`` (0 background, 1 PZ, 2 TZ) and, with ``review``, its maps, a
            segmentation for 3D Slicer and, of DICOM, a DICOM SEG; and the reports on all of them.
        settings: How.
        progress: Is told, also which series of a DICOM folder was taken; of several processes, what the first does.

    Raises:
        CheckpointError: no bundle there, or a damaged one.
        SettingsError: a result would be written over anything but an earlier one, or ``out`` cannot be written.
        DataError: a scan is not there, or the only one cannot be used.
    """
    check_of_scans(bundle)  # first: to one of driving scenes pictures are given, which are no scans
    return infer_named(named_scans(images), bundle, out, settings or InferSettings(), progress=progress)


def infer_named(
    scans: Mapping[str, Path], bundle: Path, out: Path, settings: InferSettings, *, progress: Progress | None = None
) -> Inferred:
    """As :func:`infer`, of scans whose results have names already."""
    with processes(settings.device) as device, ExitStack() as stack:
        told = progress if progress is not None and is_first() else Silent()
        with together():
            names = {name: name for name in scans} if settings.keep_identifiers else pseudonyms(scans, told)
            named = {names[name]: scan for name, scan in scans.items()}
            check_places(named, out)
            psa = {names[name]: value for name, value in read_psa(settings.psa, list(scans)).items()}
            job = _open(named, bundle, out, settings, device, psa)
        with together():
            if is_first():
                stack.enter_context(claimed(out / KEPT))
                for folder in (out, out / KEPT):
                    sweep(folder, deep=False)
        job.share(int(idist.get_rank()), int(idist.get_world_size()), told)
        with together():  # all are done
            pass
        if is_first():
            with writing(out):
                write_report(out, out / KEPT, job.provenance, page=settings.review)
    return _told(job)


def _open(
    scans: Mapping[str, Path],
    bundle: Path,
    out: Path,
    settings: InferSettings,
    device: torch.device,
    psa: Mapping[str, float],
) -> Job:
    if len(scans) == 1:  # there is nothing to go on with: it is told before anything is written
        _ = [choose_series(image) for image in scans.values() if image.is_dir()]
    opened = open_bundle(bundle)
    made = open_segmenter(opened, settings, device)
    return Job(scans, opened, out, settings.of_results(), made, settings.review, settings.resume, psa)


def open_segmenter(bundle: Bundle, settings: InferSettings, device: torch.device) -> ScanSegmenter:
    """A bundle's network as the settings want it used.

    Raises:
        CheckpointError: a file of the bundle is damaged.
    """
    segmenter = load_segmenter(bundle, device)
    batch = settings.batch_size or (CPU_BATCH if device.type == "cpu" else segmenter.inferer.batch_size)
    network = folded(segmenter.network)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch says 4D tensors alone
    return replace(
        segmenter,
        network=network,
        inferer=SliceStackInferer(segmenter.inferer.depth, batch, settings.flips),
        follow=settings.follow,
        doubt=settings.doubt,
        rules=LabelZones(settings.keep_largest, settings.tz_inside),
        precision=settings.precision,
    )


def _told(job: Job) -> Inferred:
    """What was written, as the records have it."""
    reasons = {name: read_json(job.place(name)).get("failure") for name in job.scans}
    failures = {name: str(reason) for name, reason in reasons.items() if reason}
    labels = tuple(job.out / f"{name}{LABELS}" for name in job.scans if name not in failures)
    return Inferred(labels, job.out / "report.html" if job.review and labels else None, failures)
