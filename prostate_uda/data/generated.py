"""Floor 2: data sets that are generated: written whole or not at all, once into the cache, and read from there."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prostate_uda.data.cache import cache_folder, remove_abandoned
from prostate_uda.errors import SettingsError

TEST_FIRST_INDEX = 10_000
"""Test cases count from here, so a test case is the same one however many cases there are to train on."""


def check_counts(train: int, test: int, things: str) -> None:
    """Refuse counts that cannot be.

    Args:
        train: Number of training cases.
        test: Number of test cases.
        things: What there are so many of.

    Raises:
        SettingsError: one is out of range.
    """
    if not 1 <= train <= TEST_FIRST_INDEX or test < 0:
        raise SettingsError(
            f"{train} training and {test} test {things}; allowed are 1 to {TEST_FIRST_INDEX} and 0 or more"
        )


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to fill that gets its name when all of it is there, and is gone where something went wrong.

    Args:
        out: The folder to make; it may exist if it is empty.

    Raises:
        SettingsError: ``out`` holds something, or did when the other was full.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"{out} exists and is not an empty folder; name a new folder, or remove this one")
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        work.chmod(0o755)
        yield work
        try:
            work.rename(out)
        except OSError as error:
            raise SettingsError(
                f"{out} could not be made ({error.strerror}); was it written by another run meanwhile?"
            ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def cached(kind: str, name: str, mark: str, write: Callable[[Path], object]) -> Path:
    """The data set of that name in the cache, written first where it is not there yet.

    Args:
        kind: Folder of the cache.
        name: Of the data set, with all that decides it.
        mark: A file that a whole one has.
        write: Writes it, whole or not at all.

    Raises:
        SettingsError: what ``write`` raises.
    """
    folder = cache_folder() / kind / name
    remove_abandoned(folder.parent)
    if (folder / mark).is_file():
        return folder
    try:
        write(folder)
    except SettingsError:
        if not (folder / mark).is_file():  # else another process finished the same set first
            raise
    return folder
