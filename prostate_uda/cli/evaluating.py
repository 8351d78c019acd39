"""``evaluate``: predictions against a truth, or against what a reviewer made of them."""

from pathlib import Path
from typing import Annotated

import typer

from prostate_uda.cli.apps import app, console
from prostate_uda.errors import SettingsError

REVIEW = "Against a reviewer's corrections"


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Predicted label maps: RUN/predictions/adapted, or infer's OUT.")],
    labels: Annotated[Path | None, typer.Argument(help="Folder of true label maps, same names.")] = None,
    label_names: Annotated[
        str | None, typer.Option(help="The label values of truth or corrected masks (default: 1=PZ,2=TZ).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV to write.")] = None,
    corrected: Annotated[
        Path | None,
        typer.Option(
            help="Folder of corrected masks (NIfTI, NRRD, .seg.nrrd) and downloaded verdicts.", rich_help_panel=REVIEW
        ),
    ] = None,
    verdicts: Annotated[
        Path | None,
        typer.Option(help="JSON or CSV from report.html, where it lies elsewhere.", rich_help_panel=REVIEW),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(help="mm; a contour this near to the predicted one is no added path.", rich_help_panel=REVIEW),
    ] = 0.0,
) -> None:
    """Dice, HD95 and volumes of predictions, case by case; with --corrected, what a reviewer changed in them."""
    if (labels is None) == (corrected is None):
        raise SettingsError(
            "give either the folder of true label maps or --corrected with the folder of corrected masks"
        )
    if corrected is None and (verdicts is not None or tolerance):
        raise SettingsError("--verdicts and --tolerance are of corrected masks; give their folder with --corrected")
    if corrected is not None:
        _corrections(predictions, corrected, (verdicts, label_names, tolerance), out)
    elif labels is not None:
        _scores(predictions, labels, label_names, out)


def _scores(predictions: Path, labels: Path, label_names: str | None, out: Path | None) -> None:
    from prostate_uda.display import RichProgress, scores_table
    from prostate_uda.recipes import evaluate as recipe

    rows, means = recipe(predictions, labels, label_names=label_names, out=out, progress=RichProgress(console))
    console.print(scores_table({**{str(row["case"]): row for row in rows}, "mean": means}))


def _corrections(
    predictions: Path, corrected: Path, given: tuple[Path | None, str | None, float], out: Path | None
) -> None:
    from prostate_uda.display import RichProgress, corrections_table
    from prostate_uda.recipes.corrections import CorrectionSettings, corrections

    found = corrections(predictions, corrected, CorrectionSettings(*given), out=out, progress=RichProgress(console))
    console.print(corrections_table(found.rows, found.counts, mean=found.means, total=found.totals))
