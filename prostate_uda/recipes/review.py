"""Floor 5: ``review``: a finished run's result on its target's scans, ready for a radiologist."""

from dataclasses import replace
from pathlib import Path

from prostate_uda.engines.observers import Progress
from prostate_uda.recipes.infer import Inferred, InferSettings, infer_named
from prostate_uda.recipes.plot_cases import shown_cases
from prostate_uda.recipes.recorded import check_same_image, read_finished, recorded_settings


def review(
    run: Path, out: Path | None = None, settings: InferSettings | None = None, *, progress: Progress | None = None
) -> Inferred:
    """Segment the scans that a run was judged on with its bundle, and write all that ``infer`` writes for a review.

    Args:
        run: Folder of a finished ``adapt``.
        out: By default ``RUN/review``.
        settings: Of the inference; a review is always written, and what is there of the same bundle kept.
        progress: Is told how far it is.

    Raises:
        CheckpointError: no finished run is there, or its bundle is damaged.
        SettingsError: a scan is not the one that the run read, or ``out`` cannot be written.
        DataError: a scan cannot be used.
    """
    record = read_finished(run)
    cases, part = shown_cases(recorded_settings(record.content["settings"]))
    for case in cases:
        check_same_image(case.image, f"target/{part}/{case.id}/image", run, record.content["hashes"])
    scans = {case.id: case.image for case in cases}
    chosen = replace(settings or InferSettings(), review=True, resume=True)
    return infer_named(scans, run, out or run / "review", chosen, progress=progress)
