"""Floor 5: ``plot cases``: what the methods of a comparison found in the same cases, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prostate_uda.data.domains import Case, get_domain
from prostate_uda.data.labels import ZONE_VALUES, parse_label_names
from prostate_uda.data.reading import read_truth
from prostate_uda.data.volumes import check_same_grid, read_image, read_label
from prostate_uda.engines.observers import Progress, Silent
from prostate_uda.errors import CheckpointError, SettingsError, UnknownNameError
from prostate_uda.recipes.comparison.grid import ORACLE, SOURCE_ONLY, folder_name, row_order
from prostate_uda.recipes.comparison.queue import is_done
from prostate_uda.recipes.comparison.scores import CaseScores, read_cases
from prostate_uda.recipes.plot import picture_path, shortened
from prostate_uda.recipes.record import writing
from prostate_uda.recipes.recorded import check_same_image, read_finished, recorded_settings
from prostate_uda.recipes.settings import AdaptSettings
from prostate_uda.recipes.tasks import check_zones
from prostate_uda.recipes.world import target_cases
from prostate_uda.review.case_grid import TRUTH, GridCase, case_grid
from prostate_uda.review.pictures import StripCase


@dataclass(frozen=True)
class CasesPlotted:
    """What was written.

    Attributes:
        picture: The file.
        columns: Rows of the comparison that are its columns.
        cases: Cases that are its rows.
    """

    picture: Path
    columns: tuple[str, ...]
    cases: tuple[str, ...]


def plot_cases(
    comparison: Path,
    out: Path | None = None,
    *,
    protocol: str = "paper",
    seed: int = 0,
    methods: Sequence[str] | None = None,
    cases: int = 4,
    progress: Progress | None = None,
) -> CasesPlotted:
    """Draw a row per case: the slice, then source-only, the methods, the oracle and the truth on it.

    Args:
        comparison: Folder of ``compare``.
        out: ``.png``, ``.pdf`` or ``.svg`` to write; by default ``cases.png`` of the comparison.
        protocol: One of the comparison's.
        seed: Likewise.
        methods: Rows of the protocol's own, or their folders' names; by default all. Source-only is always there, and
            the oracle where the comparison has one; an unfinished one is left out where methods are named.
        cases: How many; the first by their ids, whatever came out.
        progress: Is told how far it is.

    Raises:
        SettingsError: ``out`` has another suffix or cannot be written, no case is asked for, or an image has changed.
        UnknownNameError: no such protocol, seed or method in the comparison.
        CheckpointError: no comparison there, or a run of it is not finished or damaged.
        DataError: an image or label cannot be used.
    """
    out = picture_path(out, comparison / "cases.png")
    if cases < 1:
        raise SettingsError(f"{cases} cases; allowed is 1 or more")
    folder = _seed_folder(comparison, protocol, seed)
    columns = _columns(folder, methods)
    found = {name: read_cases(folder / name) for name in columns}
    hashes = {name: read_finished(folder / name).content["hashes"] for name in columns}
    settings = recorded_settings(read_finished(folder / SOURCE_ONLY).content["settings"])
    check_zones(settings.source, "plot cases")
    shown, part = shown_cases(settings)
    shown, progress, rows = shown[:cases], progress or Silent(), []
    channel = get_domain(settings.target).channel
    with progress.task("reading predictions", len(shown)) as task:
        for case in shown:
            for name, known in hashes.items():
                check_same_image(case.image, f"target/{part}/{case.id}/image", folder / name, known)
            rows.append(_row(folder, case, channel, columns, found))
            task.advance()
    truth = [TRUTH] if any(TRUTH in row.case.labels for row in rows) else []
    title = f"{shortened(comparison.resolve().name)}: {settings.source} → {settings.target}, {protocol}, seed {seed}"
    with writing(out):
        case_grid(rows, columns=[*columns, *truth], title=title, path=out)
    return CasesPlotted(out, tuple(columns), tuple(case.id for case in shown))


def _seed_folder(comparison: Path, protocol: str, seed: int) -> Path:
    """Where the rows of a protocol and seed lie."""
    protocols = {path.parent.name for path in (comparison / "runs").glob("*/seed-*")}
    if not protocols:
        raise CheckpointError(f"{comparison} holds no comparison (runs/<protocol>/seed-<n>); give the --out of compare")
    if protocol not in protocols:
        raise UnknownNameError("protocol", protocol, protocols)
    seeds = {path.name.removeprefix("seed-"): path for path in (comparison / "runs" / protocol).glob("seed-*")}
    if str(seed) not in seeds:
        raise UnknownNameError("seed", str(seed), seeds)
    return seeds[str(seed)]


def _columns(folder: Path, methods: Sequence[str] | None) -> list[str]:
    """Names of the rows' folders: source-only, the methods, the oracle where there is one."""
    there = row_order(sorted(path.parent.name for path in folder.glob("*/run.json")))
    if SOURCE_ONLY not in there:
        raise CheckpointError(f"{folder} has no run of {SOURCE_ONLY}; go on with the comparison (compare)")
    wanted = there if methods is None else [folder_name(name) for name in methods]
    for name in wanted:
        if name not in there:
            raise UnknownNameError("row", name, there)
    inner = [name for name in dict.fromkeys(wanted) if name not in (SOURCE_ONLY, ORACLE)]
    ended = ORACLE in there and (methods is None or ORACLE in wanted or is_done(folder / ORACLE))
    return [SOURCE_ONLY, *inner, *([ORACLE] if ended else [])]


def shown_cases(settings: AdaptSettings) -> tuple[tuple[Case, ...], str]:
    """The target cases that the runs were judged on, and which part of the target they are."""
    split, _, _ = target_cases(settings)
    names, part = settings.target_label_names, "test" if split.test else "train"
    values = None if names is None else parse_label_names(names)
    cases = sorted(split.test or split.train, key=lambda case: case.id)
    return tuple(case if values is None else replace(case, values=values) for case in cases), part


def _row(
    folder: Path, case: Case, channel: int, columns: Sequence[str], found: Mapping[str, Mapping[str, CaseScores]]
) -> GridCase:
    volume = read_image(case.image, channel)
    labels, dice = {}, {}
    for name in columns:
        label = read_label(folder / name / "predictions" / "adapted" / f"{case.id}.nii.gz", ZONE_VALUES)
        check_same_grid(label, volume)
        labels[name] = label.array
        if case.id not in found[name]:
            raise CheckpointError(f"{folder / name / 'cases.csv'} has no {case.id}; bring it back as compare wrote it")
        dice[name] = found[name][case.id]["WP"]
    truth = read_truth(case, volume)
    if truth is not None:
        labels[TRUTH] = truth
    return GridCase(StripCase(volume.array, labels, volume.grid.spacing, volume.grid.orientation, case.id), dice)
