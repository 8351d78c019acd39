"""Floor 5: one call of ``infer`` as each of its processes has it: scan after scan, the bad ones told, the rest done."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prostate_uda.data.cache import files_hash, with_data
from prostate_uda.data.dicom import Series, choose_series
from prostate_uda.engines.observers import Progress
from prostate_uda.engines.scans import ScanSegmenter
from prostate_uda.errors import CheckpointError, DataError, ShapeError
from prostate_uda.recipes.bundle_reading import Bundle
from prostate_uda.recipes.record import FULL, read_json, versions, write_json, writing
from prostate_uda.recipes.scan_names import KEPT, LABELS, RESULTS
from prostate_uda.recipes.scan_results import Scan, write_results


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

    def place(self, name: str) -> Path:
        """Where a scan's record is kept."""
        return self.out / KEPT / f"{name}.json"

    def share(self, number: int, count: int, progress: Progress) -> None:
        """Segment every ``count``-th scan."""
        mine = list(self.scans)[number::count]
        with progress.task("segmenting", len(mine)) as task:
            for name in mine:
                with writing(self.out, FULL):
                    self.segment(name, progress)
                task.advance()

    def segment(self, name: str, progress: Progress) -> None:
        """Segment one scan and keep its record; where it cannot be done, the record says why.

        Raises:
            DataError: it is the only scan.
        """
        image, before = self.scans[name], True
        try:
            series = choose_series(image) if image.is_dir() else None
            scan = Scan(name, image, series, self.psa.get(name))
            made_with = {**self.provenance, "scan": _hash(scan), "psa": scan.psa}
            if self.resume and self._is_done(name, made_with):
                return
            if series is not None:
                progress.note(f"{name}: {described(series)}")
            before = self.place(name).is_file()
            self._tell(name, "not finished")  # what an earlier record tells of is about to be replaced
            found = write_results(scan, self.segmenter, self.bundle, self.out, review=self.review)
        except (DataError, ShapeError) as error:
            if len(self.scans) == 1:
                self._forget(name, before=before)
                raise
            reason = " ".join(str(error).split())
            progress.note(f"warning: {name} is left out: {reason}")
            self._remove(name, (LABELS, *RESULTS))  # they are not this scan's
            self._tell(name, reason)
            return
        self._remove(name, RESULTS if not self.review else ())
        write_json(self.place(name), {**found, "path": str(image.resolve()), "made_with": made_with})

    def _tell(self, name: str, failure: str) -> None:
        """A record that says why there is no result."""
        image = self.scans[name]
        told = {"case": name, "source": image.name, "path": str(image.resolve()), "failure": failure}
        write_json(self.place(name), told)

    def _forget(self, name: str, *, before: bool) -> None:
        """Leave nothing of a scan that could not be begun, where there was nothing before."""
        if before:
            return
        self.place(name).unlink(missing_ok=True)
        with suppress(OSError):  # others' results lie there
            (self.out / KEPT).rmdir()
            self.out.rmdir()

    def _remove(self, name: str, endings: tuple[str, ...]) -> None:
        for ending in endings:
            with suppress(IsADirectoryError, PermissionError):
                (self.out / f"{name}{ending}").unlink(missing_ok=True)

    def _is_done(self, name: str, made_with: Mapping[str, Any]) -> bool:
        try:
            before = read_json(self.place(name))
        except CheckpointError:
            return False
        files = (self.out / f"{name}{ending}" for ending in before.get("written", ()))
        return before.get("made_with") == made_with and all(file.is_file() for file in files)


def _hash(scan: Scan) -> str:
    """Of the files that are read.

    Raises:
        DataError: one cannot be.
    """
    try:
        return files_hash(with_data(scan.image) if scan.series is None else scan.series.files)
    except OSError as error:
        raise DataError(f"{scan.image} cannot be read ({error.strerror}); check its rights and its disk") from error


def described(series: Series) -> str:
    """``axial T2 series 't2_tse_tra' (19 images)``, or a warning where it is another contrast."""
    if series.other_contrast:
        return f"warning: series {series.name!r} is no T2 by its name; the labels mean nothing on it"
    kind = " ".join(["axial" if series.axial else "not axial", *["T2"] * series.t2])
    return f"{kind} series {series.name or series.uid!r} ({len(series.files)} images)"
