"""``infer`` and ``review``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from prostate_uda.cli.apps import app, console, one_voice, say

FAILED = 3
"""Exit code where some scans could not be segmented and the others were."""

HOW, WHAT = "How to segment", "What is written"
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Flips = Annotated[bool, typer.Option("--flips", help="See each slice mirrored, too.", rich_help_panel=HOW)]
Largest = Annotated[
    bool, typer.Option("--keep-largest", help="Keep the gland's largest connected piece.", rich_help_panel=HOW)
]
Inside = Annotated[
    bool,
    typer.Option("--tz-inside", help="Find the gland first, fill it, then part it into zones.", rich_help_panel=HOW),
]
Doubt = Annotated[
    str,
    typer.Option("--uncertainty", help="entropy, or levels: how far the heads disagree.", rich_help_panel=HOW),
]
Precision = Annotated[str, typer.Option(help="float32, or bf16 (faster where known).", rich_help_panel=HOW)]
BatchSize = Annotated[int, typer.Option(help="Slices per forward pass; 0 for a good one.", rich_help_panel=HOW)]
Psa = Annotated[
    str | None,
    typer.Option(help="PSA in ng/mL of the one scan, or a CSV: case,psa.", rich_help_panel=WHAT),
]
Keep = Annotated[
    bool,
    typer.Option(
        "--keep-identifiers",
        help="Let names and reports tell whose scan it is, as DICOM headers and folders do.",
        rich_help_panel=WHAT,
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Keep what an interrupted call has done.")]


@app.command()
def infer(
    images: Annotated[
        list[Path], typer.Argument(help="NIfTI, NRRD or MHA files, folders of them, or DICOM series folders.")
    ],
    bundle: Annotated[Path, typer.Option(help="A run's folder or its bundle/.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    review: Annotated[
        bool,
        typer.Option(
            "--review/--labels-only",
            help="Maps, .seg.nrrd, DICOM SEG and report.html, or label maps and a table alone.",
            rich_help_panel=WHAT,
        ),
    ] = True,
    psa: Psa = None,
    flips: Flips = False,
    keep_largest: Largest = False,
    tz_inside: Inside = False,
    doubt: Doubt = "entropy",
    follow: Annotated[
        bool,
        typer.Option(
            "--follow/--centred", help="Follow a gland away from the scan's middle, or not.", rich_help_panel=HOW
        ),
    ] = True,
    precision: Precision = "float32",
    batch_size: BatchSize = 0,
    device: Device = "auto",
    resume: Resume = False,
    keep_identifiers: Keep = False,
) -> None:
    """Segment scans; each label map lies on its scan's own grid. Exit code 3: some scans failed, see failures.csv."""
    given = {name: value for name, value in locals().items() if name not in ("images", "bundle", "out")}
    from prostate_uda.display import RichProgress
    from prostate_uda.recipes import InferSettings
    from prostate_uda.recipes import infer as recipe

    with one_voice():
        found = recipe(images, bundle, out, InferSettings(**given), progress=RichProgress(console))
    _tell(found, out)


@app.command()
def review(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run of adapt.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the results (default: RUN/review).")] = None,
    psa: Psa = None,
    flips: Flips = False,
    keep_largest: Largest = False,
    tz_inside: Inside = False,
    doubt: Doubt = "entropy",
    precision: Precision = "float32",
    batch_size: BatchSize = 0,
    device: Device = "auto",
    keep_identifiers: Keep = False,
) -> None:
    """Ready a run's result on its target's scans for a radiologist: maps, .seg.nrrd, DICOM SEG, report.html."""
    given = {name: value for name, value in locals().items() if name not in ("run", "out")}
    from prostate_uda.display import RichProgress
    from prostate_uda.recipes import InferSettings
    from prostate_uda.recipes import review as recipe

    place = out or run / "review"
    with one_voice():
        found = recipe(run, place, InferSettings(**given), progress=RichProgress(console))
    _tell(found, place)


def _tell(found: Any, out: Path) -> None:  # noqa: ANN401  the recipe's own, not imported before it is needed
    """The files, and what could not be segmented."""
    for path in found.labels:
        say(path)
    if found.report is not None:
        say(f"{found.report}: open it in a browser")
    if found.failures:
        say(f"{len(found.failures)} of {len(found.failures) + len(found.labels)} scans failed: {out / 'failures.csv'}")
        raise typer.Exit(FAILED)
