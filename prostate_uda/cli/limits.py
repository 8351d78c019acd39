"""Floor 6: what no recipe can help: a name that no disk takes, a full disk, too little memory, Ctrl-C; in one line."""

import errno
from collections.abc import Collection, Sequence

import typer
from typer.main import get_command

from prostate_uda.errors import ProstateUDAError

PLACES = {
    **dict.fromkeys((errno.ENAMETOOLONG, errno.ELOOP), "give another path"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "check whose it is and its rights"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room, or give another place"),
    errno.EROFS: "give a place that can be written",
    **dict.fromkeys((errno.EIO, errno.ESTALE), "see if its disk is there and whole"),
}
"""What a disk says that is no bug of ours, and what to do."""
STARVED = ("out of memory", "not enough memory", "allocate memory")
"""What torch says in a RuntimeError where Python has MemoryError."""


SMALLER = ("--batch-size", "--size")
"""Flags of which a smaller number needs less memory."""


def told(error: BaseException, flags: Collection[str] = ()) -> str | None:
    """An error as the user reads it, in one line; None where it is a bug.

    Args:
        error: What came through.
        flags: Those that the command has: advice names no other.
    """
    if isinstance(error, ProstateUDAError):
        return ": ".join([*getattr(error, "__notes__", ()), str(error)])
    if isinstance(error, OSError):
        mend = PLACES.get(error.errno or 0)
        return None if mend is None else f"{error.filename or 'a file'}: {error.strerror}; {mend}"
    if isinstance(error, MemoryError) or any(words in str(error) for words in STARVED):
        smaller = " or ".join(flag for flag in SMALLER if flag in flags)
        told = "there is not enough memory; end other programs" + (f", or give a smaller {smaller}" if smaller else "")
        return f"{told} (what is done is kept: go on with --resume)" if "--resume" in flags else told
    return None


def flags_of(app: typer.Typer, arguments: Sequence[str]) -> frozenset[str]:
    """The flags of the command that was typed; of a group, or of none, those that it has itself.

    Args:
        app: Whose commands.
        arguments: As typed, behind the program's name.
    """
    command = get_command(app)
    for word in arguments:
        command = getattr(command, "commands", {}).get(word, command)
    return frozenset(flag for parameter in command.params for flag in parameter.opts)


def interrupted(ended: BaseException) -> bool:
    """Whether a program ends because of Ctrl-C: itself, or an exit that typer has turned it into."""
    cause: BaseException | None = ended
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None
