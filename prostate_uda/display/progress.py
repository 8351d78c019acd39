"""Floor 6: bars of long work, or lines where the output is no terminal."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Task as RichTask
from rich.table import Column

from prostate_uda.engines.observers import Unit


class Speed(TextColumn):
    """Steps per second."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: RichTask) -> Any:  # noqa: ANN401  rich's own signature is wider
        """``3.2/s``, nothing before it is known."""
        self.text_format = f"{task.speed:.1f}/s" if task.speed else ""
        return super().render(task)


class Bar:
    """One bar; see :class:`prostate_uda.engines.observers.Task`."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self.progress, self.task = progress, task

    def advance(self, amount: int = 1, values: Mapping[str, float] | None = None) -> None:
        """Further, with the current losses."""
        told = "  ".join(f"{name} {value:.3f}" for name, value in (values or {}).items() if name != "loss")
        self.progress.update(self.task, advance=amount, values=told)


class Lines(Bar):
    """A bar for where there is no terminal: a line when it is done, and every ``EVERY`` seconds until then."""

    EVERY = 20.0

    def __init__(self, bar: Bar, console: Console) -> None:
        super().__init__(bar.progress, bar.task)
        self.console, self.told = console, monotonic()

    def advance(self, amount: int = 1, values: Mapping[str, float] | None = None) -> None:
        """Further, with the current losses."""
        super().advance(amount, values)
        (task,) = self.progress.tasks
        if task.finished or monotonic() - self.told >= self.EVERY:
            self.told = monotonic()
            count = f"{int(task.completed)}/{int(task.total or 0)}"
            line = f"{task.description:<26} {count:>9} {task.elapsed or 0:6.0f} s  {task.fields['values']}"
            self.console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)


class RichProgress:
    """Bars with speed, time left and losses; one plain line per task where there is no terminal."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self.console = console if not quiet else Console(quiet=True)

    @contextmanager
    def task(self, title: str, total: int, done: int = 0, *, unit: Unit = "") -> Iterator[Bar]:
        """A bar that stays when it is full; in a file or a pipe, a line now and then."""
        columns = (
            TextColumn("{task.description:<26}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=16),
            *((DownloadColumn(), TransferSpeedColumn()) if unit == "B" else (MofNCompleteColumn(), Speed())),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("[dim]{task.fields[values]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        )
        live = self.console.is_terminal
        with Progress(*columns, console=self.console, disable=not live, expand=True) as progress:
            bar = Bar(progress, progress.add_task(title, total=total, completed=done, values=""))
            yield bar if live else Lines(bar, self.console)

    def note(self, text: str) -> None:
        """A dim line."""
        self.console.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)
