"""Floor 5: one call of ``infer`` as each of its processes has it: scan after scan, the bad ones told, the rest done."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prostate_uda.data.cache import content_hash, files_hash, with_data
from prostate_uda.data.dicom import Series, choose_series
from prostate_uda.data.identities import Identity, identity_of
from prostate_uda.engines.observers import Progress
from prostate_uda.engines.scans import ScanSegmenter
from prostate_uda.errors import CheckpointError, DataError, ShapeError
from prostate_uda.recipes.bundle_reading import Bundle
from prostate_uda.recipes.identities import place, told
from prostate_uda.recipes.record import read_json, versions, write_json, writing
from prostate_uda.recipes.scan_names import KEPT, LABELS, RESULTS, readable
from prostate_uda.recipes.scan_results import Scan, write_results
from prostate_uda.review.dicom_seg import can_write_dicom_seg

ALL = (LABELS, *RESULTS)


@dataclass(frozen=True)
class Job:
    """One call.

    Attributes:
        scans: Name of the results to the scan.
        bundle: Where the segmenter comes from.
        out: Folder of the results.
        settings: What results depend on beside scan and bundle.
        segmenter: How.
        review: Whether more than label maps is written.
        resume: Whether what is done already is kept.
        psa: In ng/mL, by name.
    """

    scans: Mapping[str, Path]
    bundle: Bundle
    out: Path
    settings: Mapping[str, Any]
    segmenter: ScanSegmenter
    review: bool
    resume: bool
    psa: Mapping[str, float]

    @property
    def provenance(self) -> dict[str, Any]:
        """What a report says of how its results were made."""
        return {"bundle": self.bundle.identity(), "settings": dict(self.settings), "versions": versions()}

    def made_with(self, scan: Scan) -> dict[str, Any]:
        """All that a scan's results depend on, but for the machine.

        Raises:
            DataError: the scan cannot be read.
        """
        with readable(scan.image):
            content = files_hash(with_data(scan.image) if scan.series is None else scan.series.files)
        made_by = {name: value for name, value in versions().items() if name not in ("platform", "python")}
        dicom = self.review and scan.series is not None and can_write_dicom_seg()
        return {**self.provenance, "versions": made_by, "scan": content, "psa": scan.psa, "dicom": dicom}

    def place(self, name: str) -> Path:
        """Where a scan's record is kept."""
        return self.out / KEPT / f"{name}.json"

    def share(self, number: int, count: int, progress: Progress) -> None:
        """Segment every ``count``-th scan."""
        mine = list(self.scans)[number::count]
        with progress.task("segmenting", len(mine)) as task:
            for name in mine:
                self.segment(name, progress)
                task.advance()

    def segment(self, name: str, progress: Progress) -> None:
        """Segment one scan and keep its record; where it cannot be done, the record says why.

        Raises:
            DataError: it is the only scan.
            SettingsError: the results cannot be written.
        """
        image, before, who = self.scans[name], self._before(name), self._who(name)
        try:
            with readable(image):
                series = choose_series(image) if image.is_dir() else None
            scan = Scan(name, image, series, self.psa.get(name), who)
            made_with = self.made_with(scan)
            if self.resume and self._is_done(name, before, made_with):
                return
            if series is not None:
                progress.note(f"{name}: {scan.told(described(series))}")
            self._tell(name, "not finished", ALL)  # what an earlier record tells of is about to be replaced
            found = write_results(scan, self.segmenter, self.bundle, self.out, review=self.review)
        except (DataError, ShapeError) as error:
            if len(self.scans) == 1:
                self._undo(name, before)
                raise
            reason = told(str(error), who)
            progress.note(f"warning: {name} is left out: {reason}")
            self._remove(name, ALL)  # of an earlier scan, or half of this one's
            self._tell(name, reason)
            return
        for remark in found["remarks"]:
            progress.note(f"warning: {name}: {remark}")
        self._remove(name, [ending for ending in ALL if ending not in found["written"]])
        label = content_hash(self.out / f"{name}{LABELS}")
        self._keep(name, {**found, "path": place(image, who), "label": label, "made_with": made_with})

    def _before(self, name: str) -> dict[str, Any]:
        """An earlier call's record; empty where there is none, or it is damaged."""
        try:
            return read_json(self.place(name))
        except CheckpointError:
            return {}

    def _tell(self, name: str, failure: str, written: Sequence[str] = ()) -> None:
        """A record that says why there is no result, and which files may be there all the same."""
        image, who = self.scans[name], self._who(name)
        source = image.name if who is None else who.hidden(image.name)
        self._keep(
            name,
            {"case": name, "source": source, "path": place(image, who), "failure": failure, "written": list(written)},
        )

    def _who(self, name: str) -> Identity | None:
        """Whose scan it is; None where records may tell."""
        return None if self.settings["keep_identifiers"] else identity_of(self.scans[name], name)

    def _keep(self, name: str, record: Mapping[str, Any]) -> None:
        with writing(self.out):
            write_json(self.place(name), record)

    def _undo(self, name: str, before: Mapping[str, Any]) -> None:
        """Leave a scan that could not be segmented as it was before: what it had, or nothing."""
        if before:
            self._keep(name, before)
            return
        self._remove(name, ALL)
        self.place(name).unlink(missing_ok=True)
        with suppress(OSError):  # others' results lie there
            (self.out / KEPT).rmdir()

    def _remove(self, name: str, endings: Sequence[str]) -> None:
        """Results of ours: a file that is none of them has been refused before the work."""
        for ending in endings:
            with suppress(IsADirectoryError, PermissionError):
                (self.out / f"{name}{ending}").unlink(missing_ok=True)

    def _is_done(self, name: str, before: Mapping[str, Any], made_with: Mapping[str, Any]) -> bool:
        files = (self.out / f"{name}{ending}" for ending in before.get("written", ()))
        return before.get("made_with") == made_with and all(file.is_file() for file in files)


def described(series: Series) -> str:
    """``axial T2 series 't2_tse_tra' (19 images)``, or a warning where it is another contrast."""
    if series.other_contrast:
        return f"warning: series {series.name!r} is no T2 by its name; the labels mean nothing on it"
    kind = " ".join(["axial" if series.axial else "not axial", *["T2"] * series.t2])
    return f"{kind} series {series.name or series.uid!r} ({len(series.files)} images)"
