"""``cite``."""

from typing import Annotated

import typer

from prostate_uda.cli.apps import app


@app.command()
def cite(
    methods: Annotated[list[str] | None, typer.Argument(metavar="[METHOD]...", help="`info` lists them.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Of every method.")] = False,
) -> None:
    """Print BibTeX: the toolkit's foundation, and the source of each method named."""
    from prostate_uda.recipes import cite as recipe

    typer.echo(recipe(methods or (), everything=everything))  # to be copied or piped: as it is, whatever the terminal
