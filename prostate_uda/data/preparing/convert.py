"""Floor 2: one case from wherever it lies into the canonical layout."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from prostate_uda.data.cache import content_hash, with_data
from prostate_uda.data.canonical import Part, image_name, label_name
from prostate_uda.data.dicom import Series
from prostate_uda.data.geometry import Grid
from prostate_uda.data.labels import PZ, TZ, ZONE_VALUES, pz_in_front
from prostate_uda.data.preparing.placement import Placed, place_label
from prostate_uda.data.volumes import Volume, read_image, read_label
from prostate_uda.data.writing import write_image, write_label
from prostate_uda.errors import DataError

VERSION = 1
"""Raised whenever the same source files are converted to something else; part of every source's digest."""


@dataclass(frozen=True)
class Source:
    """One case before it is converted.

    Args:
        id: Of the case; the name of its files.
        part: ``"Tr"``, or ``"Ts"`` for what the data set declares as test.
        image: A file or a DICOM series.
        label: A file, or None.
        values: What its values mean, file to ours.
        channel: Which channel of a 4D image is T2.
        doubts: What was odd about finding it.
    """

    id: str
    part: Part
    image: Path | Series
    label: Path | None = None
    values: Mapping[int, int] = field(default_factory=lambda: ZONE_VALUES)
    channel: int = 0
    doubts: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file the case is made of."""
        images = self.image.files if isinstance(self.image, Series) else with_data(self.image)
        return images if self.label is None else (*images, *with_data(self.label))

    def digest(self) -> str:
        """SHA-256 of the content of every file, of what the values mean and of :data:`VERSION`.

        Raises:
            DataError: A file cannot be read.
        """
        values = None if self.label is None else sorted(self.values.items())
        settings = (VERSION, self.part, self.channel, values)
        total = hashlib.sha256(repr(settings).encode())
        for file in self.files:
            try:
                with file.open("rb"):  # a missing file has a hash, too
                    total.update(content_hash(file).encode())
            except OSError as error:
                raise DataError(f"{file} cannot be read ({error.strerror}); check the path") from error
        return total.hexdigest()

    def origin(self, root: Path) -> dict[str, Any]:
        """The part of its entry in the report that says where it came from: ``source`` and ``doubts``.

        Args:
            root: Paths are relative to it where they lie below.
        """
        return {"source": self._paths(root), "doubts": list(self.doubts)}

    def _paths(self, root: Path) -> dict[str, Any]:
        told: dict[str, Any] = {"label": None if self.label is None else _short(self.label, root)}
        if isinstance(self.image, Series):
            series = self.image
            told |= {"image": _short(series.folder, root), "series": series.uid, "images": len(series.files)}
            return told | {"description": series.name}
        return told | {"image": _short(self.image, root)}


@dataclass(frozen=True)
class Gathered:
    """What an importer found.

    Args:
        sources: The cases to convert, sorted by id.
        left_out: What cannot be used, by case or file, and why.
        warnings: What is odd about the whole.
    """

    sources: tuple[Source, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def convert(source: Source, out: Path, root: Path) -> dict[str, Any]:
    """Write a case's image and label.

    Args:
        source: The case.
        out: The folder with the canonical layout.
        root: The sources' folder; paths in the report are relative to it.

    Returns:
        Its entry in the report: ``part image label source doubts source_sha256 grid volumes_ml repairs warnings
        sha256``.

    Raises:
        DataError: Image or label cannot be read, the label is empty, holds other values or lies elsewhere, or the
            slices are not axial. Nothing is written then.
    """
    image = read_image(source.image, source.channel)
    _ = image.grid.slice_axis
    placed = None if source.label is None else _placed(source.label, source.values, image)
    names = {"image": image_name(source.part, source.id), "label": label_name(source.part, source.id)}
    write_image(out / names["image"], image.array, image.grid.affine)
    if placed is not None:
        write_label(out / names["label"], placed.array, Volume(image.array, image.grid, out / names["image"]))
    written = [names["image"]] if placed is None else [*names.values()]
    return {
        **source.origin(root),
        "part": source.part,
        "image": names["image"],
        "label": None if placed is None else names["label"],
        "source_sha256": source.digest(),
        "grid": _told(image.grid),
        "volumes_ml": None if placed is None else _volumes(placed, image.grid),
        "repairs": [] if placed is None else list(placed.repairs),
        "warnings": [] if placed is None else list(placed.warnings),
        "sha256": checksums(out, written),
    }


def checksums(out: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each file."""
    return {name: content_hash(out / name) for name in names}


def _placed(path: Path, values: Mapping[int, int], image: Volume) -> Placed:
    """Read a label, lay it on its image and look at it."""
    label = read_label(path, values)
    if not label.array.any():
        raise DataError(f"{path} is empty: it holds background only; leave it out, or get it again")
    placed = place_label(label, image)
    odd = [f"the label has no {name}" for name, zone in (("PZ", PZ), ("TZ", TZ)) if not (placed.array == zone).any()]
    if pz_in_front(Volume(placed.array, image.grid, path)):
        odd.append("PZ lies in front of TZ: are the label values exchanged? (prepare folder takes --label-names)")
    return Placed(placed.array, placed.repairs, (*placed.warnings, *odd))


def _volumes(placed: Placed, grid: Grid) -> dict[str, float]:
    voxel = float(np.prod(grid.spacing)) / 1000
    return {name: round(float((placed.array == zone).sum()) * voxel, 3) for name, zone in (("PZ", PZ), ("TZ", TZ))}


def _told(grid: Grid) -> dict[str, Any]:
    return {
        "shape": list(grid.shape),
        "spacing_mm": [round(size, 6) for size in grid.spacing],
        "axes": grid.orientation,
        "origin_ras_mm": [round(float(value), 4) for value in grid.affine[:3, 3]],
    }


def _short(path: Path, root: Path) -> str:
    path, root = path.absolute(), root.absolute()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
