"""Floor 6: the command ``prostate-uda``. Flags become settings, one recipe runs, its result is printed.

Exit codes: 0 done, 1 a bug (with its traceback), 2 a mistake in what was given (one line), 130 interrupted.
"""

import logging
import os
import sys
from codecs import lookup
from io import TextIOWrapper

from rich.markup import escape

from prostate_uda.cli import adapting, data, plotting
from prostate_uda.cli.apps import app, complaints, console
from prostate_uda.errors import ProstateUDAError

__all__ = ["adapting", "app", "data", "main", "plotting"]


def main() -> None:
    """Run the command and turn the user's mistakes into one line and exit code 2."""
    if os.environ.get("RANK", "0") != "0":  # one of torchrun's processes: the first speaks for all
        console.quiet = complaints.quiet = True
    logging.getLogger("ignite").setLevel(logging.WARNING)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and lookup(stream.encoding).name == "ascii":
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # LANG=C, as PEP 540 has it
    try:
        app()
    except ProstateUDAError as error:
        complaints.print(f"[bold red]error:[/bold red] {escape(str(error))}", soft_wrap=True, highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        complaints.print("interrupted; the same command goes on from where it was (adapt: with --resume)")
        sys.exit(130)
