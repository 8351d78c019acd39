"""Floor 5: ``evaluate --corrected``: what a reviewer changed in the predictions, and how much work that was."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prostate_uda.data.cache import content_hash
from prostate_uda.data.geometry import Grid
from prostate_uda.data.labels import ZONE_VALUES, parse_label_names
from prostate_uda.data.slicer import placed
from prostate_uda.engines.observers import Progress, Silent
from prostate_uda.errors import DataError, SettingsError
from prostate_uda.metrics import assd, dice, hd95, summarize, volume_ml
from prostate_uda.metrics.editing import added_path_length, touched_slices
from prostate_uda.recipes.evaluate import label_maps, read_zones
from prostate_uda.recipes.record import check_file_place, read_json, write_rows, writing
from prostate_uda.recipes.scan_names import KEPT
from prostate_uda.recipes.verdicts import Verdict, find_verdicts, outdated_by, read_verdicts

UNCHANGED, CHANGED, REJECTED, WAITING = OUTCOMES = ("unchanged", "changed", "rejected", "waiting")
"""What became of a case; ``waiting``: to be corrected, and no corrected mask is there yet."""
ZONES = ("PZ", "TZ", "WP")
MEASURES = ("dice", "hd95_mm", "assd_mm", "apl_mm", "contour_mm", "apl_share", "added_mL", "removed_mL")
TOTALS = (*(f"{zone}_{what}" for what in ("apl_mm", "added_mL", "removed_mL") for zone in ZONES), "slices_touched")
NUMBERS = (*(f"{zone}_{what}" for zone in ZONES for what in MEASURES), "slices_touched")


@dataclass(frozen=True)
class Corrections:
    """What a review came to.

    Attributes:
        rows: A row per case that was reviewed: ``case``, ``outcome``, ``changed``, the reviewer's ``verdict``,
            ``comment``, ``reviewer`` and ``reviewed_at``, and the :data:`NUMBERS`, empty where nothing was compared.
        counts: ``cases`` and the number of each of the :data:`OUTCOMES`.
        means: Of each of the :data:`NUMBERS` over changed and unchanged cases; None where no case has it.
        totals: Of the :data:`TOTALS` over the same cases.
        apl_share: For each zone, the added path of all these cases over all their corrected contours.
    """

    rows: list[dict[str, Any]]
    counts: dict[str, int]
    means: dict[str, float | None]
    totals: dict[str, float]
    apl_share: dict[str, float | None]


@dataclass(frozen=True)
class CorrectionSettings:
    """How corrections are read and measured.

    Attributes:
        verdicts: The reviewer's JSON or CSV; None takes those that lie in the folder of corrected masks.
        label_names: What the corrected masks' label values mean, such as ``"1=TZ,2=PZ"``; by default 1 = PZ, 2 = TZ.
        tolerance_mm: A corrected contour this near to the predicted one is no added path.
    """

    verdicts: Path | None = None
    label_names: str | None = None
    tolerance_mm: float = 0.0


def corrections(
    predictions: Path,
    corrected: Path,
    settings: CorrectionSettings | None = None,
    *,
    out: Path | None = None,
    progress: Progress | None = None,
) -> Corrections:
    """Compare the masks that a reviewer corrected with the predictions they were made of.

    A case that was accepted and has no corrected mask is unchanged. A rejected case is counted apart: it is in no mean
    and no total, and has numbers where a mask was drawn for it all the same. A verdict on other contours than those
    that ``infer`` keeps there now is left out.

    Args:
        predictions: Folder of label maps as ``infer`` writes them.
        corrected: Folder of corrected masks, NIfTI, NRRD, MHA or Slicer's ``.seg.nrrd``, and of verdicts, if any.
        settings: See :class:`CorrectionSettings`.
        out: CSV to write, or None.
        progress: Is told of what could not be compared.

    Raises:
        CheckpointError: what ``infer`` keeps of a case is damaged.
        DataError: a folder is missing, a case has two files, no case was reviewed, a mask or the verdicts cannot be
            used, or a pair lies on different grids.
        SettingsError: the tolerance is no length, or the CSV cannot be written there.
    """
    settings, progress = settings or CorrectionSettings(), progress or Silent()
    if not 0 <= settings.tolerance_mm < float("inf"):
        raise SettingsError(f"a tolerance of {settings.tolerance_mm} mm; 0 or more is allowed")
    if out is not None:
        check_file_place(out)
    _check_folders(predictions, corrected)
    predicted, masks = label_maps(predictions, predicted=True), label_maps(corrected)
    said = _verdicts(predictions, corrected, settings.verdicts, progress)
    cases = sorted(set(predicted) & (set(masks) | set(said)))
    if not cases:
        told = f"no prediction in {predictions} has a corrected mask or a verdict in {corrected}"
        raise DataError(f"{told}; name masks like predictions")
    _check_unchanged(predictions, {case: predicted[case] for case in cases})
    _tell_alone(predicted, masks, said, progress)
    rows = []
    with progress.task("comparing", len(cases)) as task:
        for case in cases:
            rows.append(_row(case, predicted[case], masks.get(case), said.get(case), settings))
            task.advance()
    surprising = [row["case"] for row in rows if row["verdict"] == "accept" and row["changed"] is True]
    _note(progress, "accepted cases have a mask that differs, and count as changed", surprising)
    if out is not None:
        with writing(out):
            write_rows(out, rows)
    return _summed(rows)


def _check_folders(predictions: Path, corrected: Path) -> None:
    """Refuse what is no pair of a folder that ``infer`` wrote and one that a reviewer filled."""
    for folder in (predictions, corrected):
        if not folder.exists():
            raise DataError(f"{folder} does not exist; check the path")
    if (corrected / KEPT).is_dir():
        raise DataError(f"{corrected} is what infer wrote, no corrections; give the folder of the corrected masks")
    if predictions.is_dir() and not label_maps(predictions, predicted=True):
        raise DataError(f"{predictions} holds no label maps; give infer's --out, or RUN/predictions/adapted")


def _check_unchanged(predictions: Path, cases: Mapping[str, Path]) -> None:
    """Refuse a prediction that was corrected in place: compared with its correction it would look perfect."""
    for case, path in cases.items():
        record = predictions / KEPT / f"{case}.json"
        known = read_json(record).get("label") if record.is_file() else None
        if known and content_hash(path) != known:
            raise DataError(
                f"{path} was changed since infer wrote it, so it is no prediction any more; move it to the corrected "
                "masks, and segment the scan again"
            )


def compare_case(
    predicted: NDArray[np.uint8], corrected: NDArray[np.uint8], grid: Grid, tolerance_mm: float = 0.0
) -> dict[str, float]:
    """One case's :data:`NUMBERS`.

    Args:
        predicted: ``(X, Y, Z)`` labels, 1 = PZ, 2 = TZ.
        corrected: Likewise, on the same grid.
        grid: Where they lie.
        tolerance_mm: See :func:`prostate_uda.metrics.editing.added_path_length`.

    Raises:
        GeometryError: The grid is not axial.
    """
    before, after = (torch.from_numpy(np.ascontiguousarray(labels)) for labels in (predicted, corrected))
    numbers: dict[str, float] = {}
    for zone, (old, new) in zip(ZONES, zip(_zones(before), _zones(after), strict=True), strict=True):
        path = added_path_length(old, new, grid.spacing, slice_axis=grid.slice_axis, tolerance_mm=tolerance_mm)
        found = (
            float(dice(old, new)),
            float(hd95(old, new, grid.spacing)),
            float(assd(old, new, grid.spacing)),
            path.added_mm,
            path.contour_mm,
            path.share,
            volume_ml(new & ~old, grid.spacing),
            volume_ml(old & ~new, grid.spacing),
        )
        numbers |= {f"{zone}_{what}": number for what, number in zip(MEASURES, found, strict=True)}
    return {**numbers, "slices_touched": touched_slices(before, after, slice_axis=grid.slice_axis)}


def _row(
    case: str, prediction: Path, mask: Path | None, said: Verdict | None, settings: CorrectionSettings
) -> dict[str, Any]:
    said = said or Verdict("")
    told = {name: value for name, value in asdict(said).items() if name != "digest"}
    row: dict[str, Any] = {"case": case, "outcome": "", "changed": "", **told, **dict.fromkeys(NUMBERS, "")}
    if mask is not None or said.verdict == "accept":
        label = read_zones(prediction, ZONE_VALUES)
        values = ZONE_VALUES if settings.label_names is None else parse_label_names(settings.label_names)
        after = label if mask is None else placed(read_zones(mask, values), label)
        row["changed"] = bool((label.array != after.array).any())
        row |= compare_case(label.array, after.array, label.grid, settings.tolerance_mm)
    row["outcome"] = _outcome(said.verdict, row["changed"])
    return row


def _verdicts(predictions: Path, corrected: Path, given: Path | None, progress: Progress) -> dict[str, Verdict]:
    """Those on the contours that are there now; the others are told of."""
    outdated = outdated_by(predictions)
    said = find_verdicts(corrected, outdated) if given is None else read_verdicts(given)
    left = {case for case, one in said.items() if outdated(case, one)}
    _note(progress, "verdicts are on other contours than those there now and not counted; look at these again", left)
    return {case: one for case, one in said.items() if case not in left}


def _outcome(verdict: str, changed: object) -> str:
    if verdict == "reject":
        return REJECTED
    if changed == "":
        return WAITING
    return CHANGED if changed else UNCHANGED


def _zones(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    pz, tz = labels == 1, labels == 2
    return pz, tz, pz | tz


def _summed(rows: Sequence[dict[str, Any]]) -> Corrections:
    counted = [row for row in rows if row["outcome"] in (UNCHANGED, CHANGED)]
    means = {name: summarize([float(row[name]) for row in counted]) for name in NUMBERS}
    sums = {name: float(sum(row[name] for row in counted)) for name in (*TOTALS, *(f"{z}_contour_mm" for z in ZONES))}
    outcomes = [row["outcome"] for row in rows]
    return Corrections(
        rows=list(rows),
        counts={"cases": len(rows), **{outcome: outcomes.count(outcome) for outcome in OUTCOMES}},
        means={name: found.mean if found.n else None for name, found in means.items()},
        totals={name: sums[name] for name in TOTALS},
        apl_share={
            zone: sums[f"{zone}_apl_mm"] / sums[f"{zone}_contour_mm"] if sums[f"{zone}_contour_mm"] else None
            for zone in ZONES
        },
    )


def _tell_alone(
    predicted: Mapping[str, Path], masks: Mapping[str, Path], said: Mapping[str, Verdict], progress: Progress
) -> None:
    """Say what is in no row, and what is in one without numbers."""
    _note(progress, "corrected masks without a prediction are not compared", set(masks) - set(predicted))
    _note(progress, "verdicts on cases without a prediction are not counted", set(said) - set(predicted) - set(masks))
    _note(progress, "predictions were not reviewed and are not counted", set(predicted) - set(masks) - set(said))
    waiting = {case for case, one in said.items() if one.verdict == "correct"} & set(predicted) - set(masks)
    _note(progress, "cases are to be corrected and have no corrected mask yet", waiting)


def _note(progress: Progress, what: str, cases: Iterable[str]) -> None:
    if told := sorted(cases):
        progress.note(f"warning: {len(told)} {what}: {', '.join(told)}")
