"""Floor 5: ``data show``: a contact sheet of one place or several, before and after normalization."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from monai.transforms.transform import Transform
from numpy.typing import NDArray

from prostate_uda.data.domains import Case
from prostate_uda.data.preprocessing import IMAGE, LABEL, LABEL_VALUES, as_acquired
from prostate_uda.engines.observers import Progress, Silent
from prostate_uda.errors import DataError, SettingsError, UnknownNameError
from prostate_uda.recipes.pipeline import open_store, remembering, teach
from prostate_uda.recipes.places import Place
from prostate_uda.recipes.record import writing
from prostate_uda.review.contact_page import can_write_pages, contact_page
from prostate_uda.review.contact_sheet import STORED, Seen, SheetRow, contact_sheet
from prostate_uda.review.views import View
from prostate_uda.transforms import NORMALIZATIONS

SAMPLES = 60_000
"""Voxels of the body that a histogram is made of, spread evenly."""

VAGUE = ("data", "dicom", "images", "imagestr", "nifti", "scans")
"""Folder names that say nothing of whose scans they hold."""


@dataclass(frozen=True)
class Shown:
    """What was written.

    Attributes:
        picture: ``sheet.png``.
        page: ``sheet.html``; None where jinja2 is missing.
        cases: Number of cases on the sheet.
        left_out: Cases that cannot be read, and why.
    """

    picture: Path
    page: Path | None
    cases: int
    left_out: Mapping[str, str]


def show(
    places: Sequence[Place],
    out: Path,
    *,
    normalize: Sequence[str] = ("zscore",),
    teacher: Place | None = None,
    limit: int = 6,
    slices: int = 1,
    progress: Progress | None = None,
) -> Shown:
    """Write ``sheet.png`` and ``sheet.html``.

    Args:
        places: Shown one below the other, each in its colour.
        out: Folder for the two files.
        normalize: Names in ``NORMALIZATIONS``, a column each beside the images as they are stored.
        teacher: Whose images a preset learns from; by default those of the first place, as a run's source would.
        limit: Most cases of each place, spread evenly through its ids; of the teacher, too.
        slices: Slices shown as they are stored, an odd number; the normalized columns show the middle one.
        progress: Whoever shows how far it is.

    Raises:
        UnknownNameError: No such normalization.
        SettingsError: No place, a limit below 1, or slices that have no middle.
        DataError: A place cannot be used, or no case of any can be read.
    """
    _check(places, normalize, limit, slices)
    progress = progress or Silent()
    presets = _presets(normalize, teacher or places[0], limit, progress)
    rows: list[SheetRow] = []
    facts: list[dict[str, str]] = []
    left_out: dict[str, str] = {}
    for place, name in zip(places, _names(places), strict=True):
        cases = _spread(place.cases(), limit)
        load = as_acquired(channel=place.domain.channel)
        with progress.task(f"showing {name}", len(cases)) as task:
            for case in cases:
                try:
                    row, fact = _row(case, name, load, presets, slices)
                except DataError as wrong:
                    left_out[case.id] = str(wrong)
                    progress.note(f"{case.id} is left out: {wrong}")
                else:
                    rows.append(row)
                    facts.append(fact)
                task.advance()
    if not rows:
        raise DataError(f"no case can be shown: {next(iter(left_out.values()))}")
    return _write(out, rows, facts, normalize, left_out, progress)


def _write(
    out: Path,
    rows: Sequence[SheetRow],
    facts: Sequence[Mapping[str, str]],
    normalize: Sequence[str],
    left_out: Mapping[str, str],
    progress: Progress,
) -> Shown:
    title = "Scans before and after normalization"
    picture, page = out / "sheet.png", out / "sheet.html"
    with writing(out):
        contact_sheet(rows, path=picture, title=title)
    legend = {STORED: "grey values as the file holds them, each case in its own window"}
    legend |= {name: NORMALIZATIONS[name].title for name in normalize}
    if can_write_pages():
        contact_page(picture, facts, path=page, title=title, legend=legend)
    else:
        progress.note("no HTML page: it needs jinja2; pip install jinja2")
    return Shown(picture, page if can_write_pages() else None, len(rows), dict(left_out))


def _check(places: Sequence[Place], normalize: Sequence[str], limit: int, slices: int) -> None:
    for name in normalize:
        if name not in NORMALIZATIONS:
            raise UnknownNameError("normalization", name, NORMALIZATIONS)
    if not places:
        raise SettingsError("no place to show; give a folder or a domain")
    if limit < 1 or slices < 1 or slices % 2 == 0:
        raise SettingsError(f"limit {limit}, slices {slices}; allowed are 1 or more cases and an odd number of slices")


def _names(places: Sequence[Place]) -> list[str]:
    """A name for each place; a folder's whose own says nothing, or not enough, also says where it lies."""
    titles = [place.title for place in places]
    return [
        f"{place.root.resolve().parent.name}/{title}"
        if place.root is not None and (titles.count(title) > 1 or title.lower() in VAGUE)
        else title
        for place, title in zip(places, titles, strict=True)
    ]


def _presets(names: Sequence[str], teacher: Place, limit: int, progress: Progress) -> dict[str, Transform]:
    """Each preset, taught where it learns."""
    store = open_store()
    taught = {
        name: teach(name, _spread(teacher.cases(), limit), store, progress, channel=teacher.domain.channel)
        for name in dict.fromkeys(names)
    }
    return {name: remembering(name, learned, store) for name, learned in taught.items()}


def _spread(cases: Sequence[Case], limit: int) -> list[Case]:
    if len(cases) <= limit:
        return list(cases)
    return [cases[int(place)] for place in np.linspace(0, len(cases) - 1, limit).round()]


def _row(
    case: Case, place: str, load: Compose, presets: Mapping[str, Transform], slices: int
) -> tuple[SheetRow, dict[str, str]]:
    entry: dict[str, object] = {IMAGE: case.image}
    if case.label is not None:
        entry |= {LABEL: case.label, LABEL_VALUES: case.values}
    data = load(entry)
    stored = _array(data[IMAGE])
    label = None if case.label is None else _array(data[LABEL]).astype(np.uint8)
    across, down, up = (float(size) for size in data[IMAGE].pixdim)
    view = View.of(stored, {} if label is None else {"truth": label}, (across, down, up), "LPS")
    shown = _some(view.spread(slices), slices)
    body = np.flatnonzero(stored > min(0.0, float(stored.min())))
    body = body[:: max(1, body.size // SAMPLES)]
    columns = {STORED: _seen(stored, shown, body)}
    for name, preset in presets.items():
        columns[name] = _seen(_array(preset({IMAGE: data[IMAGE].clone()})[IMAGE]), shown, body)
    row = SheetRow(
        title=case.id,
        place=place,
        spacing_mm=(across, down),
        columns=columns,
        labels=() if label is None else tuple(label[:, :, index] for index in shown),
        centre=_centre(label),
        note=f"slice {shown[len(shown) // 2] + 1} of {stored.shape[2]}",
    )
    return row, _facts(row, stored, label, (across, down, up))


def _facts(
    row: SheetRow, stored: NDArray[np.float32], label: NDArray[np.uint8] | None, size: tuple[float, float, float]
) -> dict[str, str]:
    low, middle, high = np.percentile(row.columns[STORED].body, (1, 50, 99))
    gland = "" if label is None else f"{np.isin(label, (1, 2)).sum() * np.prod(size) / 1000:.0f}"
    return {
        "case": row.title,
        "place": row.place,
        "voxels": " x ".join(map(str, stored.shape)),
        "mm": " x ".join(f"{side:.2f}" for side in size),
        "gland, mL": gland,
        "grey values 1 / 50 / 99 %": f"{low:.4g} / {middle:.4g} / {high:.4g}",
    }


def _some(shown: Sequence[int], count: int) -> list[int]:
    """As many slices as there are columns for; the last is repeated where a stack has fewer."""
    return [*shown, *[shown[-1]] * (count - len(shown))]


def _centre(label: NDArray[np.uint8] | None) -> tuple[float, float] | None:
    """Middle of the gland in the plane; None without one."""
    if label is None or not np.isin(label, (1, 2)).any():
        return None
    x, y = (np.flatnonzero(np.isin(label, (1, 2)).any(axis=axes)) for axes in ((1, 2), (0, 2)))
    return float(x[0] + x[-1] + 1) / 2, float(y[0] + y[-1] + 1) / 2


def _seen(array: NDArray[np.float32], shown: Sequence[int], body: NDArray[np.int64]) -> Seen:
    return Seen(tuple(array[:, :, index].copy() for index in shown), array.reshape(-1)[body])


def _array(tensor: torch.Tensor) -> NDArray[np.float32]:
    plain = tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor
    array: NDArray[np.float32] = plain[0].float().contiguous().numpy()
    return array
