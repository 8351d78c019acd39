"""``plot ntm``."""

from pathlib import Path
from typing import Annotated

import typer

from prostate_uda.cli.apps import console, plot_app, say


@plot_app.command("ntm")
def plot_ntm(
    run: Annotated[Path, typer.Argument(help="A run's folder, finished or not.")],
    out: Annotated[Path | None, typer.Option(help="PNG, PDF or SVG (default: RUN/pictures/ntm.png).")] = None,
) -> None:
    """Noise transition matrices of metacorrection and dmlc: where they ended, and how they came there."""
    from prostate_uda.display import ntm_table
    from prostate_uda.recipes import plot_ntm as recipe

    plotted = recipe(run, out)
    console.print(ntm_table(plotted.levels, plotted.classes, plotted.last))
    say(plotted.picture)
