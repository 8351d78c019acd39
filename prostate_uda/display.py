"""Floor 6: what a person sees in the terminal; with the CLI the only place that knows rich."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Task as RichTask
from rich.table import Table

ZONES = ("PZ", "TZ", "WP", "WP_pooled")


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


class RichProgress:
    """Bars with speed, time left and losses; one plain line per task where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator[Bar]:
        """A bar that stays when it is full."""
        columns = (
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            Speed(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("[dim]{task.fields[values]}"),
        )
        with Progress(*columns, console=self.console) as progress:
            yield Bar(progress, progress.add_task(title, total=total, completed=done, values=""))

    def note(self, text: str) -> None:
        """A dim line."""
        self.console.print(f"[dim]{text}")


def results_table(results: Mapping[str, Mapping[str, float | None]], method: str) -> Table:
    """Dice in percent: source-only beside adapted, and where source-only came from."""
    table = Table(title="Dice on the target's test cases (mean over cases, %)", title_justify="left")
    table.add_column("")
    for zone in ZONES:
        table.add_column(zone.replace("_", " "), justify="right")
    for stage, name in (("source_only", "source only"), ("adapted", f"adapted ({method})")):
        table.add_row(name, *_cells(results[stage]))
    table.add_section()
    table.add_row("source only, on the source", *_cells(results["source_only_on_source"]), style="dim")
    return table


def scores_table(title: str, rows: Mapping[str, Mapping[str, float | None]]) -> Table:
    """Dice in percent, a row per name."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for zone in ZONES:
        table.add_column(zone.replace("_", " "), justify="right")
    for name, scores in rows.items():
        table.add_row(name, *_cells(scores))
    return table


def _cells(scores: Mapping[str, float | None]) -> list[str]:
    values = [scores.get(zone) for zone in ZONES]
    return ["-" if value is None or value != value else f"{100 * value:.1f}" for value in values]
