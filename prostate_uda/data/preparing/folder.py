"""Floor 2: a hospital's own folder, from any layout that the domain ``folder`` knows to cases."""

from collections.abc import Mapping
from pathlib import Path

from prostate_uda.data.dicom import Series, choose_series
from prostate_uda.data.domains.folder import FOLDER
from prostate_uda.data.preparing.convert import Gathered, Source
from prostate_uda.errors import DataError


def gather(images: Path, labels: Path | None, values: Mapping[int, int]) -> Gathered:
    """The cases of a folder; of a DICOM folder the axial T2 series.

    Args:
        images: The folder with the scans.
        labels: A folder with labels, where they do not lie in the layout's own place.
        values: What the labels' values mean, file to ours.

    Raises:
        DataError: There is no such folder, or its layout is ambiguous.
    """
    for folder in (images, labels):
        if folder is not None and not folder.is_dir():
            raise DataError(f"{folder} is not a folder; give the folder that holds the scans or the labels")
    found = FOLDER.find(images, labels)
    sources, left_out = [], {}
    for case in found.cases:
        try:
            image: Path | Series = choose_series(case.image) if case.image.is_dir() else case.image
        except DataError as error:
            left_out[case.id] = str(error)
            continue
        tested = case.id in found.declared_test
        sources.append(Source(case.id, "Ts" if tested else "Tr", image, case.label, values))
    return Gathered(tuple(sources), left_out)
