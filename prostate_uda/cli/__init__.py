"""Floor 6: the command ``prostate-uda``. Flags become settings, one recipe runs, its result is printed.

Exit codes: 0 done, 1 a bug (with its traceback), 2 a mistake in what was given or a limit of the machine (one line),
3 some runs of ``compare`` or scans of ``infer`` failed (the others are done), 130 interrupted.
"""

import logging
import sys
from codecs import lookup
from io import TextIOWrapper

from rich.markup import escape

from prostate_uda.cli import adapting, citing, comparing, data, evaluating, inferring, limits, plotting
from prostate_uda.cli.apps import app, complaints
from prostate_uda.errors import ProstateUDAError

__all__ = ["adapting", "app", "citing", "comparing", "data", "evaluating", "inferring", "main", "plotting"]


def main() -> None:
    """Run the command and turn the user's mistakes, and what his machine lacks, into one line and exit code 2."""
    try:
        _ready()
        app()
    except (ProstateUDAError, OSError, MemoryError, RuntimeError) as error:
        told = limits.told(error, limits.flags_of(app, sys.argv[1:]))
        if told is None:
            raise
        complaints.print(f"[bold red]error:[/bold red] {escape(told)}", soft_wrap=True, highlight=False)
        sys.exit(2)
    except (SystemExit, KeyboardInterrupt) as ended:
        if not limits.interrupted(ended):
            raise
        told = "interrupted; the same command goes on from where it was (adapt and infer: with --resume)"
        complaints.print(told, soft_wrap=True)
        sys.exit(130)


def _ready() -> None:
    """What no command says twice, and a terminal that takes every letter."""
    logging.getLogger("ignite").setLevel(logging.CRITICAL)  # it tells every error that goes through it, beside us
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and lookup(stream.encoding).name == "ascii":
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # LANG=C, as PEP 540 has it
