"""Floor 6: what no recipe can help: a name that no disk takes, a full disk, too little memory, Ctrl-C; in one line."""

import errno

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


def told(error: BaseException) -> str | None:
    """An error as the user reads it, in one line; None where it is a bug.

    Args:
        error: What came through.
    """
    if isinstance(error, ProstateUDAError):
        return ": ".join([*getattr(error, "__notes__", ()), str(error)])
    if isinstance(error, OSError):
        mend = PLACES.get(error.errno or 0)
        return None if mend is None else f"{error.filename or 'a file'}: {error.strerror}; {mend}"
    if isinstance(error, MemoryError) or any(words in str(error) for words in STARVED):
        return (
            "there is not enough memory; end other programs, or give a smaller --batch-size or --size (what is done is "
            "kept: adapt and infer go on with --resume)"
        )
    return None


def interrupted(ended: SystemExit) -> bool:
    """Whether a program ends because of Ctrl-C: typer turns a KeyboardInterrupt into an exit of its own."""
    cause: BaseException | None = ended
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None
