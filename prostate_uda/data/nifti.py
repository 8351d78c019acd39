"""Floor 2: a NIfTI file's header, read by nibabel without a word to the terminal, in any number of threads.

nibabel mends what it doubts in a header and says so in its log and in warnings. Its own suppressor takes the log's
handlers away, which sends the lines to Python's last resort, standard error, and is undone by another thread's.
"""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import logger

from prostate_uda.errors import GeometryError

_OURS = threading.local()
_ONE_AT_A_TIME = threading.Lock()
"""Warnings are the whole process's; voxels are read later, by many threads at once."""


class _NotOurs(logging.Filter):
    """Passes over what nibabel says of a header that this thread reads here."""

    def filter(self, _: logging.LogRecord) -> bool:
        return not getattr(_OURS, "reading", False)


logger.addFilter(_NotOurs())


@contextmanager
def _silence() -> Iterator[None]:
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _OURS.reading = True
        try:
            yield
        finally:
            _OURS.reading = False


def load_nifti(path: Path) -> Any:  # noqa: ANN401  # nibabel has no types
    """Read a header; voxels are read when they are asked for.

    Args:
        path: A NIfTI-1 or NIfTI-2 file.

    Returns:
        nibabel's image.

    Raises:
        GeometryError: The header has codes for its orientation that mean nothing, and so none at all.
        ImageFileError: It is another kind of file. nibabel raises this and more over damaged files.
    """
    with _silence():
        image = nib.load(path)
        if not isinstance(image, nib.Nifti1Pair):
            raise ImageFileError(f"{path} is no NIfTI file")
        header = image.header
        if header["sform_code"] or header["qform_code"]:
            return image
        with image.file_map["image"].get_prepare_fileobj(mode="rb") as file:
            stored = type(header).from_fileobj(file, check=False)
    codes = int(stored["qform_code"]), int(stored["sform_code"])
    if any(codes):  # nibabel has set them to 0, and would guess where the voxels lie
        raise GeometryError(
            f"{path}: qform code {codes[0]} and sform code {codes[1]} in its header; 0 to 5 are allowed: damaged, copy "
            "or convert it again"
        )
    return image
