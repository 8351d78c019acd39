"""The command's skeleton: the typer applications that commands hang on, and the two consoles."""

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from prostate_uda import __version__
from prostate_uda.errors import ProstateUDAError

app = typer.Typer(
    help="Adapt prostate MRI segmentation from one scanner to another without a single target label.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
phantom_app = typer.Typer(help="Procedural prostate MRI.", no_args_is_help=True)
prepare_app = typer.Typer(help="Bring a data set into one checked layout.", no_args_is_help=True)
data_app = typer.Typer(help="Look at data.", no_args_is_help=True)
plot_app = typer.Typer(help="Figures of a run.", no_args_is_help=True)
app.add_typer(prepare_app, name="prepare")
app.add_typer(data_app, name="data")
app.add_typer(phantom_app, name="phantom")
app.add_typer(plot_app, name="plot")
console = Console()
complaints = Console(stderr=True)


def say(text: object, style: str | None = None) -> None:
    """Print a line as it is: a path may hold brackets, and is copied from the terminal whole."""
    console.print(str(text), style=style, markup=False, highlight=False, soft_wrap=True)


def as_typed() -> str:
    """The command as it was given, to be written down beside what it makes."""
    return shlex.join(["prostate-uda", *sys.argv[1:]])


@contextmanager
def one_voice() -> Iterator[None]:
    """Of torchrun's processes the first prints, and the first that fails says why; the others end without a word.

    A process that cannot go on takes the others' messages with it, so what they say then is a consequence.
    """
    from prostate_uda.recipes.processes import HEAD_START, ElsewhereError, first_to_tell, launched

    number, count = launched()
    console.quiet = number != 0
    try:
        yield
    except KeyboardInterrupt:
        complaints.quiet = console.quiet
        raise
    except Exception as error:
        if count > 1 and not first_to_tell():
            time.sleep(HEAD_START.total_seconds())
            raise typer.Exit(2 if isinstance(error, ProstateUDAError) else 1) from None
        if count > 1 and not isinstance(error, ElsewhereError):  # which names its process
            error.add_note(f"process {number}")
        raise


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    """Adapt prostate MRI segmentation from one scanner to another without a single target label."""
    if show:
        console.print(__version__)
        raise typer.Exit
