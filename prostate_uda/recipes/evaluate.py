"""Floor 5: ``evaluate``: label maps against label maps."""

from pathlib import Path
from typing import Any

from prostate_uda.data.labels import ZONE_VALUES, parse_label_names
from prostate_uda.data.volumes import check_same_grid, file_suffix, read_label
from prostate_uda.engines.evaluation import judge, mean_scores
from prostate_uda.engines.observers import Progress, Silent
from prostate_uda.errors import DataError
from prostate_uda.recipes.record import check_file_place, write_rows, writing

BUNDLE_SUFFIX = "_zones"
"""What ``monai.bundle run`` writes behind a scan's name."""


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
    predicted, true = _by_name(predictions), _by_name(labels)
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
        label = read_label(predicted[name], ZONE_VALUES)
        truth = read_label(true[name], values)
        check_same_grid(truth, label)
        rows.append({"case": name, **judge(label.array, truth.array, label.grid.spacing)})
    if out is not None:
        with writing(out):
            write_rows(out, rows)
    return rows, mean_scores(rows)


def _by_name(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the folder of the label maps")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if file_suffix(path) and not path.name.startswith("."):
            name = path.name[: -len(file_suffix(path))].removesuffix(BUNDLE_SUFFIX)
            other = found.setdefault(name, path)
            if other != path:
                raise DataError(f"{other} and {path} are both of {name!r}; keep one of them")
    return found
