"""Floor 4: what a long job tells the outside while it runs."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol

Unit = Literal["", "B"]
"""What a bar counts: pieces, or bytes."""


class Task(Protocol):
    """One bar."""

    def advance(self, amount: int = 1, values: Mapping[str, float] | None = None) -> None:
        """So much further; the current losses beside it."""


class Progress(Protocol):
    """Whoever shows progress: the doors with rich, a notebook with its own, or nobody."""

    def task(self, title: str, total: int, done: int = 0, *, unit: Unit = "") -> AbstractContextManager[Task]:
        """A piece of work of known length that begins now, ``done`` of it already there, counted in ``unit``."""

    def note(self, text: str) -> None:
        """One line of news."""


class Silent:
    """Shows nothing."""

    @contextmanager
    def task(self, title: str, total: int, done: int = 0, *, unit: Unit = "") -> Iterator["Silent"]:  # noqa: ARG002
        """A bar nobody sees."""
        yield self

    def advance(self, amount: int = 1, values: Mapping[str, float] | None = None) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
