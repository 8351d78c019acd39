"""Floor 2: driving scenes in two folders that mirror each other: pictures, and labels of the same names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prostate_uda.data.domains.base import Case, Domain, Found
from prostate_uda.errors import DataError


@dataclass(frozen=True, kw_only=True)
class SceneFolders(Domain):
    """A data set with one folder of pictures and one of labels.

    Args:
        pictures: Folder of the pictures, in the root.
        marks: Folder of the labels, in the root.
        values: What the label files' values mean: file value to train id, total.
        unpacked: Folder that the published archive unpacks to; the root may be this one or the one above it.
        labels_apart: Whether labels may lie in a folder of their own.
        spoilt: Names of pairs that the data set is known to have and nobody can use; they are passed over.
    """

    pictures: str
    marks: str
    values: Mapping[int, int] = field(compare=False)
    unpacked: str = ""
    labels_apart: bool = True
    spoilt: frozenset[str] = frozenset()

    def find(self, root: Path | None, labels: Path | None = None) -> Found:
        """Find the pictures and match labels to them by name; a picture without a label is an unlabelled case.

        Args:
            root: The data set's folder.
            labels: A folder with the labels, in place of the layout's own.

        Raises:
            DataError: The folder has another layout, a label has no picture, or labels are given apart where the
                domain takes none.
        """
        if root is None:
            raise DataError(f"domain {self.name!r} needs its folder")
        if labels is not None and not self.labels_apart:
            raise DataError(
                f"labels in {labels}; domain {self.name!r} takes one folder, its labels lie in {self.marks}"
            )
        folder = root / self.unpacked if (root / self.unpacked / self.pictures).is_dir() else root
        if not (folder / self.pictures).is_dir():
            raise DataError(
                f"{root} has no folder {self.pictures}; give the folder of {self.name!r} that holds {self.pictures} "
                f"and {self.marks}"
            )
        images, marks = (
            {path.stem: path for path in png_files(place) if path.stem not in self.spoilt}
            for place in (folder / self.pictures, labels or folder / self.marks)
        )
        return Found(matched(images, marks, self.values))


def png_files(folder: Path, pattern: str = "*.png") -> list[Path]:
    """PNG files of a folder by name, without hidden ones; none where there is no folder."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith(".") and path.is_file())


def matched(images: Mapping[str, Path], labels: Mapping[str, Path], values: Mapping[int, int]) -> tuple[Case, ...]:
    """Cases of the pictures, each with its label where there is one, sorted by id.

    Args:
        images: Pictures by case.
        labels: Label files by case.
        values: What the label files' values mean.

    Raises:
        DataError: A label has no picture.
    """
    lonely = sorted(set(labels) - set(images))
    if lonely:
        others = f" (and {len(lonely) - 1} others)" if len(lonely) > 1 else ""
        raise DataError(
            f"{labels[lonely[0]]}{others} fits no image named {lonely[0]!r}; unpack all images, or move the label away"
        )
    return tuple(Case(name, images[name], labels.get(name), values) for name in sorted(images))
