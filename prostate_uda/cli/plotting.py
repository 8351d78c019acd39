"""``plot``: figures of a run and of a comparison."""

from pathlib import Path
from typing import Annotated

import typer

from prostate_uda.cli.apps import as_typed, console, plot_app, say
from prostate_uda.cli.comparing import split_names


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


@plot_app.command("noise")
def plot_noise(
    comparison: Annotated[Path, typer.Argument(help="Folder of a comparison: the --out of ablate noise.")],
    out: Annotated[Path | None, typer.Option(help="PNG, PDF or SVG (default: COMPARISON/noise.png).")] = None,
) -> None:
    """Dice and the error of the learned NTM against the rate of the noise that was injected into pseudo-labels."""
    from prostate_uda.recipes import plot_noise as recipe

    plotted = recipe(comparison, out, command=as_typed())
    say(f"{plotted.picture} and {plotted.numbers.name}: {plotted.runs} runs")


@plot_app.command("embedding")
def plot_embedding(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    out: Annotated[Path | None, typer.Option(help="PNG, PDF or SVG (default: RUN/pictures/embedding.png).")] = None,
    points: Annotated[int, typer.Option(help="Most pixels per domain and class.")] = 150,
    seed: Annotated[int, typer.Option(help="Of the drawing of pixels and of t-SNE.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Features of source and target before and after adaptation: t-SNE, and how well a classifier tells them apart."""
    from prostate_uda.display import RichProgress
    from prostate_uda.recipes import plot_embedding as recipe

    drawn = recipe(run, out, points=points, seed=seed, device=device, progress=RichProgress(console))
    told = ", ".join(f"{number:.2f} {when}" for when, number in drawn.separability.items())
    say(f"domain separability (0.5 is chance): {told}")
    say(f"{drawn.picture} and {drawn.numbers.name}")


@plot_app.command("cases")
def plot_cases(
    comparison: Annotated[Path, typer.Argument(help="Folder of a comparison: the --out of compare.")],
    out: Annotated[Path | None, typer.Option(help="PNG, PDF or SVG (default: COMPARISON/cases.png).")] = None,
    protocol: Annotated[str, typer.Option(help="One of the comparison's.")] = "paper",
    seed: Annotated[int, typer.Option(help="One of the comparison's.")] = 0,
    methods: Annotated[str | None, typer.Option(help="Rows of the table, with commas (default: all).")] = None,
    cases: Annotated[int, typer.Option(help="How many test cases, the first by their ids.")] = 4,
) -> None:
    """What source-only, the methods and the oracle found in the same test cases, beside the truth."""
    from prostate_uda.display import RichProgress
    from prostate_uda.recipes import plot_cases as recipe

    rows = None if methods is None else split_names(methods)
    progress = RichProgress(console)
    drawn = recipe(comparison, out, protocol=protocol, seed=seed, methods=rows, cases=cases, progress=progress)
    say(drawn.picture)
