"""``adapt`` and ``info``."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from prostate_uda.cli.apps import app, console, one_voice, say
from prostate_uda.errors import SettingsError

DATA, TRAINING, ADAPTATION, PHANTOMS = "Data", "Network and source training", "Adaptation", "Phantoms"


@app.command()
def adapt(
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    source: Annotated[
        str, typer.Option(help="Labelled domain; `info` lists them.", rich_help_panel=DATA)
    ] = "phantom-3t",
    target: Annotated[str, typer.Option(help="Unlabelled domain.", rich_help_panel=DATA)] = "phantom-1.5t",
    source_root: Annotated[
        Path | None, typer.Option(help="Folder of the source's files.", rich_help_panel=DATA)
    ] = None,
    target_root: Annotated[
        Path | None, typer.Option(help="Folder of the target's files.", rich_help_panel=DATA)
    ] = None,
    source_labels: Annotated[
        Path | None, typer.Option(help="Folder of labels not beside the images.", rich_help_panel=DATA)
    ] = None,
    target_labels: Annotated[
        Path | None, typer.Option(help="Likewise; read by the final evaluation only.", rich_help_panel=DATA)
    ] = None,
    data_list: Annotated[
        Path | None, typer.Option(help="Who is learned from and tested on; see data_lists/.", rich_help_panel=DATA)
    ] = None,
    fold: Annotated[
        int | None, typer.Option(help="Of a list of folds, the one to test on.", rich_help_panel=DATA)
    ] = None,
    source_label_names: Annotated[
        str | None, typer.Option(help="Label values, such as 1=TZ,2=PZ.", rich_help_panel=DATA)
    ] = None,
    target_label_names: Annotated[
        str | None, typer.Option(help="Likewise (default: 1=PZ,2=TZ).", rich_help_panel=DATA)
    ] = None,
    method: Annotated[
        str, typer.Option(help="How to adapt; `info` lists the methods.", rich_help_panel=ADAPTATION)
    ] = "metacorrection",
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A setting of the method, name=value; docs/methods has them.", rich_help_panel=ADAPTATION
        ),
    ] = None,
    network: Annotated[
        str, typer.Option(help="`info` lists the networks.", rich_help_panel=TRAINING)
    ] = "deeplab-small",
    weights: Annotated[
        Path | None, typer.Option(help="ImageNet ResNet state dict (.pth).", rich_help_panel=TRAINING)
    ] = None,
    depth: Annotated[
        int, typer.Option(help="Adjacent slices seen: 1 is 2D, 3 or 5 is 2.5D.", rich_help_panel=TRAINING)
    ] = 1,
    spacing: Annotated[
        float | None, typer.Option(help="In-plane mm (default: 1.5 phantoms, 0.8 scans).", rich_help_panel=DATA)
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            help="In-plane pixels (default: 96 phantoms, 192 scans); rows of a crop for pictures (96 phantoms, 512).",
            rich_help_panel=DATA,
        ),
    ] = None,
    normalize: Annotated[
        str,
        typer.Option(help="Intensity normalization (default: zscore; of pictures: imagenet).", rich_help_panel=DATA),
    ] = "",
    augment: Annotated[
        str, typer.Option(help="Training augmentation (default: plain; recommended: strong).", rich_help_panel=DATA)
    ] = "",
    warm_up: Annotated[
        str,
        typer.Option(
            help="What round 1 starts from: none, adversarial, ltir (default: none; recommended, intrada: adversarial)",
            rich_help_panel=ADAPTATION,
        ),
    ] = "",
    source_steps: Annotated[int, typer.Option(help="Steps of source training.", rich_help_panel=TRAINING)] = 600,
    predictor_steps: Annotated[
        int, typer.Option(help="Steps of the domain predictor.", rich_help_panel=ADAPTATION)
    ] = 150,
    steps: Annotated[int, typer.Option(help="Steps of each round.", rich_help_panel=ADAPTATION)] = 300,
    rounds: Annotated[
        int, typer.Option(help="Rounds of pseudo-labels and adaptation.", rich_help_panel=ADAPTATION)
    ] = 1,
    batch_size: Annotated[int, typer.Option(help="Images per domain and step.", rich_help_panel=TRAINING)] = 8,
    algorithm: Annotated[str, typer.Option(help="adam or sgd.", rich_help_panel=TRAINING)] = "adam",
    learning_rate: Annotated[float, typer.Option(help="Rate of source training.", rich_help_panel=TRAINING)] = 2e-3,
    adapt_rate: Annotated[
        float, typer.Option(help="Rate of the rounds and the predictor.", rich_help_panel=ADAPTATION)
    ] = 5e-4,
    head_factor: Annotated[
        float, typer.Option(help="The heads' rate over the backbone's.", rich_help_panel=TRAINING)
    ] = 1.0,
    pseudo_threshold: Annotated[
        float,
        typer.Option(
            help="Ignore less confident pseudo-labels; only with a method that would keep all.",
            rich_help_panel=ADAPTATION,
        ),
    ] = 0.0,
    ntm_floor: Annotated[
        float,
        typer.Option(
            help="Stop where a learned NTM's diagonal falls below this share of its start; 0 never stops.",
            rich_help_panel=ADAPTATION,
        ),
    ] = 0.35,
    label_noise: Annotated[
        str,
        typer.Option(
            help="For experiments: symmetric, asymmetric or boundary:RATE into pseudo-labels.",
            rich_help_panel=ADAPTATION,
        ),
    ] = "none",
    start_from: Annotated[
        Path | None,
        typer.Option(
            help="Run whose source network to use again (and its pseudo-labels, where the rule is the same).",
            rich_help_panel=ADAPTATION,
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(help="float32, tf32 (GPUs), or bf16 (autocast; weights stay float32).", rich_help_panel=TRAINING),
    ] = "float32",
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="Channels last in memory.", rich_help_panel=TRAINING)
    ] = False,
    prefetch: Annotated[
        int, typer.Option(help="Batches made ahead in a thread; 0 for none.", rich_help_panel=TRAINING)
    ] = 2,
    seed: Annotated[int, typer.Option(help="Seed of everything that is random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 50,
    phantom_train: Annotated[int, typer.Option(help="Training cases of a phantom.", rich_help_panel=PHANTOMS)] = 16,
    phantom_test: Annotated[int, typer.Option(help="Test cases of a phantom.", rich_help_panel=PHANTOMS)] = 8,
    phantom_size: Annotated[str, typer.Option(help="small or full.", rich_help_panel=PHANTOMS)] = "small",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    keep_identifiers: Annotated[
        bool,
        typer.Option("--keep-identifiers", help="Let cases be named after patients.", rich_help_panel=DATA),
    ] = False,
) -> None:
    """Train on the source, adapt to the target, judge, and write a run's folder.

    Your own scans: adapt --source folder --source-root IMAGES --source-labels LABELS --target folder --target-root
    SCANS --out runs/mine
    """
    given = {name: value for name, value in locals().items() if name not in ("out", "option", "spacing", "resume")}
    from prostate_uda.display import RichProgress, run_table
    from prostate_uda.recipes import AdaptSettings
    from prostate_uda.recipes import adapt as recipe

    with one_voice():
        settings = AdaptSettings(**given, options=read_options(option or []), spacing_mm=spacing)
        record = recipe(settings, out, resume=resume, progress=RichProgress(console))
    console.print(run_table(record))
    say(f"{out}: run.json, cases.csv, predictions/, pictures/, bundle/")


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


def read_options(given: Sequence[str], flag: str = "--set", example: str = "ntm_mode=learned") -> dict[str, Any]:
    """``["ntm_mode=learned", "epsilon=0.1"]`` as a dictionary; values are read as JSON where they can be.

    Args:
        given: Each of them.
        flag: Where they come from, for the error.
        example: What may follow it.

    Raises:
        SettingsError: one is no ``name=value``.
    """
    options = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingsError(f"{flag} {text!r}; allowed is name=value, such as {flag} {example}")
        try:
            options[name] = json.loads(value)
        except (ValueError, RecursionError):
            options[name] = value
        if isinstance(options[name], list):
            options[name] = tuple(options[name])
    return options
