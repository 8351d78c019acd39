"""Floor 6: the command ``prostate-uda``. Flags become settings, one recipe runs, its result is printed.

Exit codes: 0 done, 1 a bug (with its traceback), 2 a mistake in what was given (one line), 130 interrupted.
"""

import json
import logging
import sys
from codecs import lookup
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from prostate_uda import __version__
from prostate_uda.errors import ProstateUDAError, SettingsError

app = typer.Typer(
    help="Adapt prostate MRI segmentation from one scanner to another without a single target label.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
phantom_app = typer.Typer(help="Procedural prostate MRI.", no_args_is_help=True)
app.add_typer(phantom_app, name="phantom")
console = Console()
complaints = Console(stderr=True)

Folder = Annotated[Path | None, typer.Option(show_default=False)]


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    """Adapt prostate MRI segmentation from one scanner to another without a single target label."""
    if show:
        console.print(__version__)
        raise typer.Exit


@app.command()
def adapt(
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    source: Annotated[str, typer.Option(help="Labelled domain; `info` lists them.")] = "phantom-3t",
    target: Annotated[str, typer.Option(help="Unlabelled domain.")] = "phantom-1.5t",
    source_root: Annotated[Path | None, typer.Option(help="Folder of the source's files.")] = None,
    target_root: Annotated[Path | None, typer.Option(help="Folder of the target's files.")] = None,
    source_labels: Annotated[Path | None, typer.Option(help="Folder of labels not beside the images.")] = None,
    target_labels: Annotated[Path | None, typer.Option(help="Likewise; read by the final evaluation only.")] = None,
    source_label_names: Annotated[str | None, typer.Option(help="Label values, such as 1=TZ,2=PZ.")] = None,
    target_label_names: Annotated[str | None, typer.Option(help="Likewise [default: 1=PZ,2=TZ].")] = None,
    method: Annotated[str, typer.Option(help="How to adapt; `info` lists the methods.")] = "metacorrection",
    option: Annotated[list[str] | None, typer.Option("--set", help="A setting of the method, name=value.")] = None,
    network: Annotated[str, typer.Option(help="`info` lists the networks.")] = "deeplab-small",
    weights: Annotated[Path | None, typer.Option(help="ImageNet ResNet state dict (.pth).")] = None,
    depth: Annotated[int, typer.Option(help="Adjacent slices seen: 1 is 2D, 3 or 5 is 2.5D.")] = 1,
    spacing: Annotated[float | None, typer.Option(help="In-plane mm [default: 1.5 phantoms, 0.8 scans].")] = None,
    size: Annotated[int | None, typer.Option(help="In-plane pixels [default: 96 phantoms, 192 scans].")] = None,
    normalize: Annotated[str, typer.Option(help="Intensity normalization.")] = "zscore",
    augment: Annotated[str, typer.Option(help="Training augmentation.")] = "plain",
    source_steps: Annotated[int, typer.Option(help="Steps of source training.")] = 600,
    predictor_steps: Annotated[int, typer.Option(help="Steps of the domain predictor.")] = 150,
    steps: Annotated[int, typer.Option(help="Steps of each round.")] = 300,
    rounds: Annotated[int, typer.Option(help="Rounds of pseudo-labels and adaptation.")] = 1,
    batch_size: Annotated[int, typer.Option(help="Slices per domain and step.")] = 8,
    algorithm: Annotated[str, typer.Option(help="adam or sgd.")] = "adam",
    learning_rate: Annotated[float, typer.Option(help="Of source training.")] = 2e-3,
    adapt_rate: Annotated[float, typer.Option(help="Of the rounds and the predictor.")] = 5e-4,
    head_factor: Annotated[float, typer.Option(help="The heads' rate over the backbone's.")] = 1.0,
    pseudo_threshold: Annotated[float, typer.Option(help="Ignore less confident pseudo-labels.")] = 0.0,
    start_from: Annotated[Path | None, typer.Option(help="Run whose source network to use again.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 50,
    phantom_train: Annotated[int, typer.Option(help="Training cases of a phantom.")] = 16,
    phantom_test: Annotated[int, typer.Option(help="Test cases of a phantom.")] = 8,
    phantom_size: Annotated[str, typer.Option(help="small or full.")] = "small",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
) -> None:
    """Train on the source, adapt to the target, judge, and write a run's folder."""
    given = {name: value for name, value in locals().items() if name not in ("out", "option", "spacing", "resume")}
    from prostate_uda.display import RichProgress, results_table
    from prostate_uda.recipes import AdaptSettings
    from prostate_uda.recipes import adapt as recipe

    settings = AdaptSettings(**given, options=_options(option or []), spacing_mm=spacing)
    record = recipe(settings, out, resume=resume, progress=RichProgress(console))
    console.print(results_table(record["results"], method))
    console.print(f"{out}: run.json, cases.csv, predictions/, pictures/, bundle/")


@app.command()
def infer(
    images: Annotated[list[Path], typer.Argument(help="NIfTI, NRRD or MHA files, or DICOM series folders.")],
    bundle: Annotated[Path, typer.Option(help="A run's folder or its bundle/.")],
    out: Annotated[Path, typer.Option(help="Folder for the label maps.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Segment scans; each label map lies on its scan's own grid."""
    from prostate_uda.display import RichProgress
    from prostate_uda.recipes import infer as recipe

    for path in recipe(images, bundle, out, device=device, progress=RichProgress(console)):
        console.print(str(path))


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Folder of predicted label maps.")],
    labels: Annotated[Path, typer.Argument(help="Folder of true label maps, same names.")],
    label_names: Annotated[str | None, typer.Option(help="The truth's label values [default: 1=PZ,2=TZ].")] = None,
    out: Annotated[Path | None, typer.Option(help="CSV to write.")] = None,
) -> None:
    """Dice, HD95 and volumes of predictions, case by case."""
    from prostate_uda.display import scores_table
    from prostate_uda.recipes import evaluate as recipe

    rows, means = recipe(predictions, labels, label_names=label_names, out=out)
    console.print(scores_table("Dice (%)", {**{str(row["case"]): row for row in rows}, "mean": means}))


@phantom_app.command("make")
def phantom_make(
    domain: Annotated[str, typer.Argument(help="phantom-3t or phantom-1.5t.")],
    out: Annotated[Path, typer.Option(help="Folder to write, in the Decathlon layout.")],
    train: Annotated[int, typer.Option(help="Training cases.")] = 16,
    test: Annotated[int, typer.Option(help="Test cases.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the cohort.")] = 0,
    size: Annotated[str, typer.Option(help="small or full.")] = "small",
) -> None:
    """Write a phantom data set."""
    from prostate_uda.display import RichProgress
    from prostate_uda.recipes import make_phantom

    console.print(
        str(make_phantom(domain, out, train=train, test=test, seed=seed, size=size, progress=RichProgress(console)))
    )


@app.command()
def info(as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """What there is to choose from."""
    from prostate_uda.recipes import describe

    content = describe()
    if as_json:
        print(json.dumps(content))
        return
    for name, value in content.items():
        console.print(f"[bold]{name}[/bold]: {', '.join(value) if isinstance(value, list) else value}")


def _options(given: list[str]) -> dict[str, Any]:
    """``["ntm_mode=learned", "epsilon=0.1"]`` as a dictionary; values are read as JSON where they can be."""
    options = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingsError(f"--set {text!r}; allowed is name=value, such as --set ntm_mode=learned")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
        if isinstance(options[name], list):
            options[name] = tuple(options[name])
    return options


def main() -> None:
    """Run the command and turn the user's mistakes into one line and exit code 2."""
    logging.getLogger("ignite").setLevel(logging.WARNING)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and lookup(stream.encoding).name == "ascii":
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # LANG=C, as PEP 540 has it
    try:
        app()
    except ProstateUDAError as error:
        complaints.print(f"[bold red]error:[/bold red] {error}", soft_wrap=True, highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        complaints.print("interrupted; the same command with --resume goes on from the last checkpoint")
        sys.exit(130)
