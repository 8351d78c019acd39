"""``compare`` and ``ablate``: their flags are their own and those of ``adapt`` that all runs share."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from prostate_uda.cli.adapting import adapt, read_options
from prostate_uda.cli.apps import app, as_typed, console, say
from prostate_uda.errors import SettingsError

if TYPE_CHECKING:
    from prostate_uda.recipes import Variant

GRIDS_OWN = frozenset(
    {"out", "method", "option", "augment", "warm_up", "pseudo_threshold", "label_noise", "seed", "start_from", "resume"}
)
"""Flags of ``adapt`` that are the grid's to decide."""
SOME_FAILED = 3


def with_training_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command's ``**training`` the flags that ``adapt`` has, but for the grid's own."""
    own = [value for value in inspect.signature(command).parameters.values() if value.kind is not value.VAR_KEYWORD]
    theirs = [value for name, value in inspect.signature(adapt).parameters.items() if name not in GRIDS_OWN]
    command.__signature__ = inspect.Signature([*own, *theirs])  # type: ignore[attr-defined]  # what typer reads
    return command


class ListingMethods(TyperCommand):
    """A command whose help names the methods there are now; they are looked up when help is asked for, not before."""

    def format_help(self, *arguments: Any, **more: Any) -> None:  # noqa: ANN401  typer's copy of click is private
        """Help, with the registry's names behind ``--methods``."""
        from prostate_uda.methods import METHODS

        for parameter in self.params:
            if parameter.name == "methods" and isinstance(parameter, TyperOption):
                parameter.help = f"{parameter.help} Methods: {', '.join(METHODS)}."
        super().format_help(*arguments, **more)


Out = Annotated[Path, typer.Option(help="Folder of the comparison; what is done there is not done again.")]
Seeds = Annotated[str, typer.Option(help="A list of numbers.")]
Protocols = Annotated[str, typer.Option(help="paper (plain augmentation), strong (acquisition augmentation), or both.")]
Jobs = Annotated[int | None, typer.Option(help="Runs at once (default: 1; slurm: all that can be).")]
Launch = Annotated[str, typer.Option(help="local, or slurm: runs as jobs of a cluster.")]
Slurm = Annotated[
    list[str] | None, typer.Option(help="Of the jobs: timeout_min=600, slurm_partition=gpu, gpus_per_node=1 …")
]


@app.command(cls=ListingMethods)
@with_training_flags
def compare(
    out: Out,
    methods: Annotated[
        str, typer.Option(help="all, or a list; with settings of its own: 'name?option=value&option=value'.")
    ] = "all",
    seeds: Seeds = "0,1,2",
    protocols: Protocols = "paper,strong",
    jobs: Jobs = None,
    launcher: Launch = "local",
    slurm: Slurm = None,
    **training: Any,  # noqa: ANN401  adapt's flags
) -> None:
    """Every method on every seed under both protocols: runs what is missing, and writes the table of all.

    The oracle alone learns from the target's labels. Exit code 3 where some runs failed: the others are in the table.
    """
    _compare(read_variants(methods), out, seeds, protocols, (launcher, jobs, slurm), training)


@app.command()
@with_training_flags
def ablate(
    what: Annotated[
        str,
        typer.Argument(
            help="recommended, levels, alpha, gamma, rounds, meta-set, pseudo-labels, noise, or of it noise-symmetric, "
            "noise-asymmetric or noise-boundary."
        ),
    ],
    out: Out,
    seeds: Seeds = "0,1,2",
    protocols: Protocols = "paper,strong",
    jobs: Jobs = None,
    launcher: Launch = "local",
    slurm: Slurm = None,
    **training: Any,  # noqa: ANN401  adapt's flags
) -> None:
    """An ablation of metacorrection: the rows of a comparison differ in one setting; for the rest see compare."""
    from prostate_uda.recipes import ablation

    _compare(ablation(what, training["source"]), out, seeds, protocols, (launcher, jobs, slurm), training)


@app.command("rank")
def rank_command(
    comparison: Annotated[Path, typer.Argument(help="The --out of compare.")],
    out: Annotated[Path | None, typer.Option(help="JSON to write (default: COMPARISON/rank.json).")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Order a comparison's networks without target labels; where there are labels, say how right that order is."""
    from prostate_uda.display import RichProgress, rank_tables
    from prostate_uda.recipes import rank

    command, progress = as_typed(), RichProgress(console)
    for table in rank_tables(rank(comparison, out, device=device, command=command, progress=progress)):
        console.print(table)
    say(out or comparison / "rank.json")


def _compare(
    variants: "tuple[Variant, ...]",
    out: Path,
    seeds: str,
    protocols: str,
    launch: tuple[str, int | None, list[str] | None],
    training: dict[str, Any],
) -> None:
    """Flags become settings, the recipe runs, its table is printed."""
    from prostate_uda.display import RichProgress, comparison_tables
    from prostate_uda.recipes import AdaptSettings, CompareSettings, pick_launcher
    from prostate_uda.recipes import compare as recipe

    progress = RichProgress(console)
    spacing = training.pop("spacing")
    settings = CompareSettings(
        common=AdaptSettings(method="source-only", spacing_mm=spacing, **training),
        variants=variants,
        seeds=read_seeds(seeds),
        protocols=tuple(part.strip() for part in protocols.split(",")),
    )
    name, jobs, options = launch
    launcher = pick_launcher(name, jobs, read_options(options or [], "--slurm", "timeout_min=600"), out, progress)
    command = as_typed()
    table = recipe(settings, out, launcher=launcher, command=command, progress=progress)
    console.print(comparison_tables(table, console.width))
    say(f"{out}: table.json, .csv, .md, .tex, .html, runs/")
    for folder, why in table["failed"].items():
        say(f"failed: {folder}: {why}", style="red")
    if table["failed"]:
        raise typer.Exit(SOME_FAILED)


def split_names(text: str) -> list[str]:
    """``"dmlc,metacorrection?level_weights=[0,1]"`` as names: a comma in brackets is an option's."""
    return [name.strip() for name in re.split(r",(?![^\[]*\])", text)]


def read_variants(text: str) -> "tuple[Variant, ...]":
    """``"dmlc,metacorrection?ntm_mode=learned&epsilon=0.1"`` as rows; ``all`` among them is every method."""
    from prostate_uda.recipes import Variant, every_method

    found: list[Variant] = []
    for name in split_names(text):
        method, _, query = name.partition("?")
        if name == "all":
            found += every_method()
        else:
            options = read_options(query.split("&"), "--methods", "'dmlc?epsilon=0.1'") if query else {}
            found.append(Variant(name, method, options))
    return tuple(found)


def read_seeds(text: str) -> tuple[int, ...]:
    """``"0,1,2"`` as numbers.

    Raises:
        SettingsError: something else.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError(f"--seeds {text!r}; allowed are whole numbers with commas, such as 0,1,2") from error
