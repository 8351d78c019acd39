"""Floor 0: the one family of errors a user can cause.

Each message is one line that says what came, what is allowed and what to do. The doors print it and exit with
code 2; anything that is not a :class:`ProstateUDAError` is a bug and keeps its traceback (exit code 1).
"""

from collections.abc import Iterable


class ProstateUDAError(Exception):
    """A mistake in what the user gave us, told in one line."""


class UnknownNameError(ProstateUDAError):
    """A name that is in no registry.

    Args:
        kind: What was looked up, in the singular (``"method"``).
        name: The name that came.
        known: The names that are allowed.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"unknown {kind} {name!r}; choose one of: {', '.join(sorted(known))}")


class SettingsError(ProstateUDAError):
    """A setting outside its allowed range, or two settings that contradict each other."""


class DataError(ProstateUDAError):
    """A file or folder that cannot be used as image or label."""


class GeometryError(DataError):
    """Two images that should share a grid and do not, or an affine that no scanner writes."""


class ShapeError(ProstateUDAError):
    """A tensor whose shape is not the documented one."""


class CheckpointError(ProstateUDAError):
    """A checkpoint that is of another format, another network or another run."""
