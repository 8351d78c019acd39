"""``prepare``, ``doctor``, ``data show`` and ``phantom make``."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from prostate_uda.cli.apps import app, console, data_app, phantom_app, prepare_app, say
from prostate_uda.errors import SettingsError

ANYTHING = {"ignore_unknown_options": True, "allow_extra_args": True}
Out = Annotated[Path, typer.Option(help="Folder to fill; an interrupted one is gone on with.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]
Names = Annotated[str | None, typer.Option(help="Label values, such as 1=TZ,2=PZ (default: 1=PZ,2=TZ).")]


@prepare_app.command("decathlon")
def prepare_decathlon(
    out: Out,
    archive: Annotated[Path | None, typer.Option(help="Task05_Prostate.tar, or the folder it unpacks to.")] = None,
    mirror: Annotated[str | None, typer.Option(help="Base address with Task05_Prostate.tar.")] = None,
    as_json: AsJson = False,
) -> None:
    """Medical Segmentation Decathlon, Task05: downloaded unless --archive is given (229 MB), checked, converted."""
    from prostate_uda.display import RichProgress
    from prostate_uda.recipes import prepare_decathlon as recipe

    _tell(recipe(out, archive=archive, mirror=mirror, progress=RichProgress(console, quiet=as_json)), as_json)


@prepare_app.command("nci-isbi13")
def prepare_nci_isbi13(
    out: Out,
    dicom: Annotated[Path | None, typer.Option(help="Folder with the DICOM series, in any layout.")] = None,
    segmentations: Annotated[Path | None, typer.Option(help="The challenge's NRRD labels: zip or folder.")] = None,
    half: Annotated[str, typer.Option(help="1.5t (ProstateDx), 3t (Prostate3T) or both.")] = "1.5t",
    unlabelled: Annotated[bool, typer.Option(help="Keep patients that are no case of the challenge, too.")] = False,
    mirror: Annotated[str | None, typer.Option(help="Base address of manifests and label zips.")] = None,
    nbia: Annotated[str | None, typer.Option(help="Base address of the DICOM series (NBIA).")] = None,
    as_json: AsJson = False,
) -> None:
    """NCI-ISBI 2013: DICOM series from TCIA and the challenge's labels, placed by world coordinates."""
    from prostate_uda.display import RichProgress
    from prostate_uda.recipes import prepare_nci_isbi13 as recipe

    told = recipe(
        out,
        dicom=dicom,
        segmentations=segmentations,
        half=half,
        unlabelled=unlabelled,
        mirror=mirror,
        nbia=nbia,
        progress=RichProgress(console, quiet=as_json),
    )
    _tell(told, as_json)


@prepare_app.command("folder")
def prepare_folder(
    images: Annotated[Path, typer.Argument(help="NIfTI, NRRD or MHA files, or DICOM folders.")],
    out: Out,
    labels: Annotated[Path | None, typer.Option(help="Folder of labels not beside the images.")] = None,
    label_names: Names = None,
    as_json: AsJson = False,
) -> None:
    """Your own scans, in any layout that the domain `folder` knows."""
    from prostate_uda.display import RichProgress
    from prostate_uda.recipes import prepare_folder as recipe

    quiet = RichProgress(console, quiet=as_json)
    _tell(recipe(out, images, labels=labels, label_names=label_names, progress=quiet), as_json)


@prepare_app.command("gta5", hidden=True, context_settings=ANYTHING)
@prepare_app.command("synthia", hidden=True, context_settings=ANYTHING)
@prepare_app.command("cityscapes", hidden=True, context_settings=ANYTHING)
def prepare_scenes(context: typer.Context) -> None:
    """Nothing: driving scenes are read as they are unpacked."""
    raise SettingsError(
        f"{context.info_name} needs no preparing: unpack it and name its folder to adapt and compare, as --source-root "
        "or --target-root; docs/scenes.md has the layout"
    )


def _tell(told: dict[str, Any], as_json: bool) -> None:
    """What was prepared."""
    if as_json:
        print(json.dumps(told))
        return
    repaired, odd, gone = (len(told[kind]) for kind in ("repaired", "warnings", "left_out"))
    say(
        f"{told['out']}: {told['cases']} cases ({told['labelled']} labelled, {told['test']} test; "
        f"{told['converted']} converted now), {repaired} repaired, {odd} with warnings, {gone} left out"
    )
    say(f"each case in {told['out']}/prepare_report.json", style="dim")


@app.command()
def doctor(
    place: Annotated[str, typer.Argument(help="A folder, or a domain with --root.")],
    root: Annotated[Path | None, typer.Option(help="Folder of the domain's files.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Folder of labels not beside the images.")] = None,
    label_names: Names = None,
    role: Annotated[str | None, typer.Option(help="source, where labels are needed, or target.")] = None,
    against: Annotated[str | None, typer.Option(help="The other folder or domain: shared patients, alike?")] = None,
    against_root: Annotated[Path | None, typer.Option(help="Its folder, where it is a domain.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with data and how to mend it, before any training; exit code 2 where something is."""
    from prostate_uda.display import RichProgress, findings_table
    from prostate_uda.recipes import Place, read_role
    from prostate_uda.recipes import doctor as recipe

    found = recipe(
        Place.of(place, root=root, labels=labels, label_names=label_names),
        against=None if against is None else Place.of(against, root=against_root),
        role=read_role(role),
        progress=RichProgress(console, quiet=as_json),
    )
    if as_json:
        print(json.dumps(found.record()))
    else:
        console.print(findings_table(found.table()))
        counts = f"{found.count('error')} errors, {found.count('warning')} warnings"
        told = f"{found.place}: {found.cases} cases, {found.readable} readable, {found.labelled} labelled; {counts}"
        say(told)
    if not found.healthy:
        sys.exit(2)


@data_app.command("show")
def data_show(
    places: Annotated[list[str], typer.Argument(help="Folders, or domains that need none.")],
    out: Annotated[Path, typer.Option(help="Folder for sheet.png and sheet.html.")],
    root: Annotated[Path | None, typer.Option(help="Folder of a domain, where one is named.")] = None,
    labels: Annotated[list[Path] | None, typer.Option(help="Labels' folder of each place, in order.")] = None,
    normalize: Annotated[str, typer.Option(help="Presets with commas, or all.")] = "zscore",
    limit: Annotated[int, typer.Option(help="Most cases of each place.")] = 6,
    slices: Annotated[int, typer.Option(help="Slices shown of each case.")] = 1,
) -> None:
    """A contact sheet: slices with contours, histograms before and after normalization."""
    from prostate_uda.display import RichProgress
    from prostate_uda.recipes import Place, show
    from prostate_uda.transforms import NORMALIZATIONS

    beside = [*(labels or ()), *[None] * len(places)]
    shown = show(
        [Place.of(text, root=root, labels=folder) for text, folder in zip(places, beside, strict=False)],
        out,
        normalize=list(NORMALIZATIONS) if normalize == "all" else normalize.split(","),
        limit=limit,
        slices=slices,
        progress=RichProgress(console),
    )
    for path in (shown.picture, shown.page):
        if path is not None:
            say(path)


@phantom_app.command("make")
def phantom_make(
    domain: Annotated[str, typer.Argument(help="phantom-3t or phantom-1.5t.")],
    out: Annotated[Path, typer.Option(help="Folder to write, in the Decathlon layout.")],
    train: Annotated[int, typer.Option(help="Training cases.")] = 16,
    test: Annotated[int, typer.Option(help="Test cases.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the cohort.")] = 0,
    size: Annotated[Literal["small", "full"], typer.Option(help="small or full.")] = "small",
) -> None:
    """Write a phantom data set."""
    from prostate_uda.display import RichProgress
    from prostate_uda.recipes import make_phantom

    say(make_phantom(domain, out, train=train, test=test, seed=seed, size=size, progress=RichProgress(console)))
