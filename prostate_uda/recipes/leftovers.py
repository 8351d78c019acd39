"""Floor 5: what a killed process left half written is named as temporary, and is taken away here."""

import re
import shutil
from contextlib import suppress
from pathlib import Path

TEMPORARY = re.compile(r"\.(.+\.)?[0-9a-f]{32}(\..+)?|\..+\.partial")
"""Names that files and folders of ours have until they are whole: ``.run.json.partial``, ``.<32 hex digits>.nii.gz``,
``.bundle.<32 hex digits>``."""


def sweep(folder: Path, *, deep: bool) -> tuple[Path, ...]:
    """Remove what is named as temporary.

    Args:
        folder: Claimed by this process alone (:func:`~prostate_uda.recipes.record.claimed`): another one's file on its
            way would be lost. It may be missing.
        deep: Whether the folders in it are this process's, too.

    Returns:
        What was there, in the order of the names; what cannot be removed stays.
    """
    if not folder.is_dir():
        return ()
    found = [path for path in sorted(folder.rglob("*") if deep else folder.iterdir()) if TEMPORARY.fullmatch(path.name)]
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink(missing_ok=True)
    return tuple(found)
