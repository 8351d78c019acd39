"""Floor 5: results and records that do not tell whose scan it was, unless they are asked to."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from prostate_uda.data.domains import Case, Split
from prostate_uda.data.identities import Identity, identity_of
from prostate_uda.engines.observers import Progress
from prostate_uda.errors import SettingsError
from prostate_uda.recipes.settings import AdaptSettings
from prostate_uda.review.report_page import without_folders


def pseudonyms(scans: Mapping[str, Path], progress: Progress) -> dict[str, str]:
    """What each scan's results are called: its name, or a pseudonym where a DICOM folder is named after its patient.

    Args:
        scans: By their names.
        progress: Is told each pseudonym with the name it stands for, which nothing on disk tells.

    Raises:
        SettingsError: two scans would get one name.
    """
    found = {}
    for name, image in scans.items():
        who = identity_of(image, name)
        found[name] = who.pseudonym if who.in_text(name) else name
        if found[name] != name:
            progress.note(f"{found[name]} is {name}: named after the patient; --keep-identifiers keeps the name")
    for name in found:
        if found[name] != name and list(found.values()).count(found[name]) > 1:
            raise SettingsError(f"two scans would be named {found[name]}; rename one, or run infer once for each")
    return found


def told(reason: str, who: Identity | None) -> str:
    """A reason in one line, without folders and what names the patient; as it is where ``who`` is None."""
    line = " ".join(reason.split())
    return line if who is None else who.hidden(without_folders(line))


def place(image: Path, who: Identity | None) -> str:
    """What tells where a scan lies: a hash of its path; the path itself where ``who`` is None."""
    path = str(image.resolve())
    return path if who is None else f"sha256:{sha256(path.encode(errors='surrogateescape')).hexdigest()}"


def check_names(cases: Iterable[Case], paths: Iterable[Path] = ()) -> None:
    """Refuse DICOM folders named after their patients: a case's id goes into records, tables, pictures and file names.

    Args:
        cases: Of a run.
        paths: That its record tells, each folder of which may be named so, too.

    Raises:
        SettingsError: one is.
    """
    parts = {part: path for path in paths for part in path.parts}
    for case in cases:
        who = identity_of(case.image, case.id)
        if who.in_text(case.id):
            raise SettingsError(
                f"{case.image} is named after its patient, and a run's records and pictures carry the name; rename the "
                "folder (and its label), or give --keep-identifiers"
            )
        part = next(filter(who.in_text, parts), None)
        if part is not None:
            raise SettingsError(
                f"{part!r} in {parts[part]} names the patient of {case.id}, and a run's records carry the path; rename "
                "it, or give --keep-identifiers"
            )


def check_run(settings: AdaptSettings, domains: Iterable[Split], more: Iterable[Path] = ()) -> None:
    """Refuse names of patients in what a run's record tells: its cases, and the paths among its settings.

    Args:
        settings: Of the run; with ``keep_identifiers`` nothing is looked at.
        domains: Whose cases.
        more: Paths that are told beside the settings.

    Raises:
        SettingsError: there is one.
    """
    if not settings.keep_identifiers:
        cases = [case for split in domains for case in (*split.train, *split.test)]
        check_names(cases, [*(value for value in vars(settings).values() if isinstance(value, Path)), *more])
