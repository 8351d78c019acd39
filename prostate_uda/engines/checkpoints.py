"""Floor 4: one file that holds a state, written whole or not at all."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from prostate_uda.data.cache import load_whole
from prostate_uda.data.files import synced
from prostate_uda.errors import CheckpointError

FORMAT = 1
OF_THE_DISK = ("inline_container", "PytorchStreamWriter", "Parent directory", "file write failed")
"""What torch's own writer says in a RuntimeError, where Python has OSError; of a device it says other things."""


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors, numbers and strings under a format version, through a temporary name.

    Args:
        path: Where; its folder is made.
        content: What ``torch.load(weights_only=True)`` can read back.

    Raises:
        CheckpointError: it cannot be written; what was there before is still there, and nothing is left half done.
        RuntimeError: a tensor cannot be copied from its device, or something else that no room on a disk mends.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"format": FORMAT, **content}, partial)
        synced(partial)
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if not isinstance(error, OSError) and not any(words in str(error) for words in OF_THE_DISK):
            raise
        raise CheckpointError(
            f"{path} cannot be written ({' '.join(str(error).split())[:120]}); make room or allow writing, and resume"
        ) from error


def load(path: Path, *, mmap: bool = False) -> dict[str, Any]:
    """Read what :func:`save` wrote, to the CPU; nothing but data is unpickled, and the file's checksums are looked at.

    Args:
        path: Of the file.
        mmap: Leave tensors on disk, unread, until they are looked at; for who wants to know what a checkpoint is of.

    Raises:
        CheckpointError: no such file, not a checkpoint, or of another format.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; give the folder of a finished run")
    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True) if mmap else load_whole(path)
    except Exception as error:
        raise CheckpointError(
            f"{path} is not a readable checkpoint ({type(error).__name__}); delete it and resume"
        ) from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        mend = "upgrade prostate-uda" if isinstance(found, int) and found > FORMAT else "delete it and resume"
        raise CheckpointError(f"{path} has checkpoint format {found}, this version reads {FORMAT}; {mend}")
    return dict(content)
