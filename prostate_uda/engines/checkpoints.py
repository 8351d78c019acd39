"""Floor 4: one file that holds a state, written whole or not at all."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from prostate_uda.errors import CheckpointError

FORMAT = 1


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors, numbers and strings under a format version, through a temporary name.

    Args:
        path: Where; its folder is made.
        content: What ``torch.load(weights_only=True)`` can read back.

    Raises:
        CheckpointError: it cannot be written; what was there before is still there, and nothing is left half done.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"format": FORMAT, **content}, partial)
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch's own writer knows RuntimeError alone
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise CheckpointError(
            f"{path} cannot be written ({' '.join(str(error).split())[:120]}); make room or allow writing, and resume"
        ) from error


def load(path: Path, device: torch.device | str = "cpu", *, mmap: bool = False) -> dict[str, Any]:
    """Read what :func:`save` wrote; nothing but data is unpickled.

    Args:
        path: Of the file.
        device: Where its tensors go.
        mmap: Leave them on disk until they are looked at; for who wants to know what a checkpoint is of.

    Raises:
        CheckpointError: no such file, not a checkpoint, or of another format.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; give the folder of a finished run")
    try:
        content = torch.load(path, map_location=device, mmap=mmap, weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path} is not a readable checkpoint ({type(error).__name__}); delete it and resume"
        ) from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise CheckpointError(
            f"{path} has checkpoint format {found}, this version reads {FORMAT}; upgrade prostate-uda"
        )
    return dict(content)
