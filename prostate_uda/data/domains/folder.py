"""Floor 2: any folder of scans, as hospitals and challenges lay them out.

Images are files (NIfTI, NRRD, MHA) or one folder with DICOM per case; labels are files, matched by the case's id.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from prostate_uda.data.canonical import check_finished
from prostate_uda.data.dicom import dicom_folders, is_dicom, study_of
from prostate_uda.data.domains.base import Case, Domain, Found
from prostate_uda.data.volumes import file_suffix
from prostate_uda.errors import DataError

LABEL_SUFFIXES = ("_seg", "_label", "_labels", "_segmentation", "_truth", "_correctedLabels")
"""What a label's file name may carry behind the case's id."""

FIRST_CHANNEL, SECOND_CHANNEL = "_0000", "_0001"


class FolderDomain(Domain):
    """A folder of the user's own.

    Known layouts: ``imagesTr``, ``labelsTr`` (and ``imagesTs``, ``labelsTs``); ``images``, ``labels``; scans right in
    the root, labels beside them (``case_seg.nii.gz``) or in a folder given separately.
    """

    def find(self, root: Path | None, labels: Path | None = None) -> Found:
        """Find scans and match labels to them.

        Args:
            root: The folder.
            labels: A folder with labels, searched at every depth, in place of the layout's own.

        Raises:
            DataError: If a label matches no scan, two match one, the folder is one patient's study, or it was not
                prepared to the end.
        """
        if root is None:
            raise DataError(f"domain {self.name!r} needs its folder")
        check_finished(root)
        if (root / "imagesTr").is_dir():
            training = self._part(root / "imagesTr", labels or _existing(root / "labelsTr"), strict=labels is None)
            test = self._part(root / "imagesTs", labels or _existing(root / "labelsTs"), strict=labels is None)
            _match((*training, *test), self._files(labels) if labels else ())
            return Found((*training, *test), frozenset(case.id for case in test))
        if (root / "images").is_dir():
            return Found(self._part(root / "images", labels or _existing(root / "labels")))
        return Found(self._part(root, labels))

    def keeps(self, name: str) -> bool:
        """Whether a scan or label of that name belongs to the domain."""
        return bool(name)

    def _part(self, images: Path, labels: Path | None, *, strict: bool = True) -> tuple[Case, ...]:
        if not images.is_dir():
            return ()
        files, folders = self._images(images)
        beside: list[Path] = []
        if labels is None:
            files, beside = _labels_beside(files)
        given = self._files(labels) if labels else beside
        ids = _file_ids(files, {_bare(_stem(path)) for path in given})
        cases = [Case(name, path) for name, path in (*ids, *((folder.name, folder) for folder in folders))]
        return _match(sorted(cases, key=lambda case: case.id), given, strict=strict)

    def _images(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """Image files right in the folder, and folders that hold DICOM at any depth (or the folder itself)."""
        if any(is_dicom(path) for path in folder.iterdir()):
            return [], [folder.resolve()]
        entries = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and self.keeps(path.name)]
        files = [path for path in entries if path.is_file() and file_suffix(path)]
        folders = [path for path in entries if path.is_dir() and dicom_folders(path)]
        _check_studies(folder, folders)
        return files, folders

    def _files(self, folder: Path) -> list[Path]:
        """Every readable file at any depth that is not hidden and belongs to the domain, sorted."""
        named = (path for path in folder.rglob("*") if file_suffix(path) and not path.name.startswith("."))
        return sorted(path for path in named if self.keeps(path.name))


def _existing(folder: Path) -> Path | None:
    return folder if folder.is_dir() else None


def _stem(path: Path) -> str:
    return path.name[: len(path.name) - len(file_suffix(path))]


def _bare(name: str) -> str:
    """A label's name without the words it may carry behind the case's id."""
    for suffix in LABEL_SUFFIXES:
        if name.endswith(suffix) and len(name) > len(suffix):
            return _bare(name.removesuffix(suffix))
    return name


def _labels_beside(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """Part files into images and those that are named as the label of another file there."""
    stems = {_stem(path) for path in files}
    bare = {name.removesuffix(FIRST_CHANNEL) for name in stems}
    labels = [
        path
        for path in files
        if not _stem(path).endswith(FIRST_CHANNEL) and _bare(_stem(path)) != _stem(path) and _bare(_stem(path)) in bare
    ]
    return [path for path in files if path not in labels], labels


def _file_ids(files: list[Path], named: set[str]) -> list[tuple[str, Path]]:
    """Case ids of image files; nnU-Net's ``_0000`` is dropped where every file, or the file's label, says so.

    Raises:
        DataError: If files are several channels of one case.
    """
    stems = [_stem(path) for path in files]
    first = {stem.removesuffix(FIRST_CHANNEL) for stem in stems if stem.endswith(FIRST_CHANNEL)}
    second = {stem.removesuffix(SECOND_CHANNEL) for stem in stems if stem.endswith(SECOND_CHANNEL)}
    both = first & second
    if both and (len(both) > 1 or both & named):
        case = min(both)
        raise DataError(
            f"{files[0].parent} holds several channels of one case ({case}{FIRST_CHANNEL}, {case}{SECOND_CHANNEL}); "
            "keep the T2 files only"
        )
    every = len(first) == len(stems)
    ids = [
        name if every or (name in named and stem not in named) else stem
        for stem, name in ((stem, stem.removesuffix(FIRST_CHANNEL)) for stem in stems)
    ]
    return list(zip(ids, files, strict=True))


def _match(cases: Iterable[Case], labels: Iterable[Path], *, strict: bool = True) -> tuple[Case, ...]:
    """Give each case its label.

    Raises:
        DataError: If a label fits no case (where ``strict``) or a case fits two labels.
    """
    by_id = {case.id: case for case in cases}
    listed = list(cases)
    for label in labels:
        bare = _bare(_stem(label))
        name = next((name for name in (_stem(label), bare, bare.removesuffix(FIRST_CHANNEL)) if name in by_id), None)
        if name is None:
            if strict:
                raise DataError(f"{label} fits no image; name it as its image or image folder, or move it elsewhere")
            continue
        other = by_id[name].label
        if other is not None and other != label:
            raise DataError(f"two labels of case {name!r}: {other} and {label}; keep the one to be used")
        by_id[name] = replace(by_id[name], label=label)
    return tuple(by_id[case.id] if case.image == by_id[case.id].image else case for case in listed)


def _check_studies(root: Path, folders: list[Path]) -> None:
    """Refuse a root whose folders are the series of one patient, which would be taken for patients."""
    seen: dict[str, Path] = {}
    for folder in folders:
        study = study_of(folder)
        if study and study in seen:
            raise DataError(
                f"{seen[study].name} and {folder.name} in {root} are series of one study; give the folder above, with "
                "one folder per patient"
            )
        seen[study] = folder


FOLDER = FolderDomain(
    name="folder",
    title="your own scans: NIfTI, NRRD, MHA or DICOM folders; labels, where there are any, 1 = PZ, 2 = TZ",
    licence="yours",
)
