"""Floor 5: ``evaluate``: label maps against label maps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prostate_uda.data.labels import ZONE_VALUES, parse_label_names
from prostate_uda.data.slicer import SEGMENTATION_SUFFIX, is_segmentation, placed, read_segmentation
from prostate_uda.data.volumes import Volume, check_same_grid, file_suffix, read_label
from prostate_uda.engines.evaluation import judge, mean_scores
from prostate_uda.engines.observers import Progress, Silent
from prostate_uda.errors import DataError
from prostate_uda.recipes.record import check_file_place, write_rows, writing

BUNDLE_SUFFIX = "_zones"
"""What ``infer`` and ``monai.bundle run`` write behind a scan's name."""
COMPANIONS = ("_uncertainty", "_probabilities")
"""What ``infer`` writes beside the zones; no label maps."""


def evaluate(
    predictions: Path,
    labels: Path,
    *,
    label_names: str | None = None,
    out: Path | None = None,
    progress: Progress | None = None,
) -> tuple[list[dict[str, Any]], dict[str, float | None]]:
    """Judge every prediction that has a truth of the same name.

    Args:
        predictions: Folder of label maps as ``infer`` and ``adapt`` write them.
        labels: Folder of the truth.
        label_names: What the truth's label values mean, such as ``"1=TZ,2=PZ"``; by default 1 = PZ, 2 = TZ.
        out: CSV to write, or None.
        progress: Is told of what could not be judged.

    Returns:
        A row per case, and the means over the cases.

    Raises:
        DataError: a folder is missing, a case has two files, no name is in both, or a pair lies on different grids.
        SettingsError: the CSV cannot be written there.
    """
    if out is not None:
        check_file_place(out)
    values = ZONE_VALUES if label_names is None else parse_label_names(label_names)
    predicted, true = label_maps(predictions, predicted=True), label_maps(labels)
    both = sorted(set(predicted) & set(true))
    if not both:
        raise DataError(f"no file name is in both {predictions} and {labels}; name predictions and labels alike")
    for what, alone in (
        ("labels without a prediction", sorted(set(true) - set(predicted))),
        ("predictions without a label", sorted(set(predicted) - set(true))),
    ):
        if alone:
            (progress or Silent()).note(f"warning: {len(alone)} {what} are not judged: {', '.join(alone)}")
    rows = []
    for name in both:
        label = read_zones(predicted[name], ZONE_VALUES)
        truth = read_zones(true[name], values)
        if is_segmentation(true[name]):  # Slicer saves no more than what is labelled
            truth = placed(truth, label)
        check_same_grid(truth, label)
        rows.append({"case": name, **judge(label.array, truth.array, label.grid.spacing)})
    if out is not None:
        with writing(out):
            write_rows(out, rows)
    return rows, mean_scores(rows)


def label_maps(folder: Path, *, predicted: bool = False) -> dict[str, Path]:
    """A folder's label maps by case; ``NAME``, ``NAME_zones`` and ``NAME_zones.seg`` are of one case.

    Where a case has a ``NAME_zones`` file, ``infer``'s other maps of it are no label maps.

    Args:
        folder: Where they lie.
        predicted: Whether ``infer`` wrote it, so that a ``.seg.nrrd`` says again what its NIfTI says; in a
            reviewer's folder the two may differ.

    Raises:
        DataError: no such folder, or a case has two files.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the folder of the label maps")
    stems = {path: _stem(path) for path in sorted(folder.iterdir()) if file_suffix(path) and path.name[0] != "."}
    zoned = {stem.removesuffix(BUNDLE_SUFFIX) for stem in stems.values() if stem.endswith(BUNDLE_SUFFIX)}
    skipped = {f"{case}{companion}" for case in zoned for companion in COMPANIONS}
    plain = {stem for path, stem in stems.items() if not is_segmentation(path)}
    found: dict[str, Path] = {}
    for path, stem in stems.items():
        if stem in skipped or (predicted and is_segmentation(path) and stem in plain):
            continue
        name = stem.removesuffix(BUNDLE_SUFFIX)
        other = found.setdefault(name, path)
        if other != path:
            raise DataError(f"{other} and {path} are both of {name!r}; keep one of them")
    return found


def read_zones(path: Path, values: Mapping[int, int]) -> Volume:
    """A label map, 1 = PZ and 2 = TZ; a ``.seg.nrrd`` says itself what its values mean.

    Args:
        path: The file.
        values: What other files' values mean: theirs to ours.

    Raises:
        DataError: it cannot be read, or holds other values.
    """
    return read_segmentation(path) if is_segmentation(path) else read_label(path, values)


def _stem(path: Path) -> str:
    suffix = SEGMENTATION_SUFFIX if is_segmentation(path) else file_suffix(path)
    return path.name[: -len(suffix)]
