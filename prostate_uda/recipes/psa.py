"""Floor 5: serum PSA of scans, from the command or a table."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from prostate_uda.errors import SettingsError


def read_psa(given: str | None, names: Sequence[str]) -> dict[str, float]:
    """PSA in ng/mL by scan; scans that a table does not have are left out.

    Args:
        given: A number for the only scan, or a CSV with the columns ``case`` and ``psa``.
        names: Of the scans.

    Raises:
        SettingsError: no such table or number, a negative value, a number for several scans, a table with two rows of
            a scan, or with none of any.
    """
    if given is None:
        return {}
    try:
        value = float(given)
    except ValueError:
        return _table(Path(given), names)
    if len(names) != 1:
        told = f"PSA {given} for {len(names)} scans, such as {names[0]!r}"
        raise SettingsError(f"{told}; give a CSV with the columns case (a result's name) and psa (ng/mL)")
    return {names[0]: _checked(value, given)}


def _table(path: Path, names: Sequence[str]) -> dict[str, float]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        what = "is no number and no file" if not path.exists() else "is no table that can be read"
        raise SettingsError(f"PSA {path} {what}; give ng/mL with a decimal point, or a CSV") from error
    if not rows or not {"case", "psa"} <= set(rows[0]):
        raise SettingsError(f"{path} has no rows with the columns case and psa; name them so")
    ours = [row for row in rows if row["case"] in names]
    if not ours:
        theirs = " and ".join(repr(row["case"]) for row in rows[:2])
        told = f"{path} has no row of any scan: it names {theirs}, scans are {' and '.join(map(repr, names[:2]))}"
        raise SettingsError(f"{told}; name cases like scans")
    found, seen = {}, set()
    for row in ours:
        if row["case"] in seen:
            raise SettingsError(f"{path} has two rows of {row['case']!r}; keep one of them")
        seen.add(row["case"])
        if (row["psa"] or "").strip():
            try:
                found[row["case"]] = _checked(float(row["psa"]), row["psa"])
            except ValueError as error:
                raise SettingsError(f"{path}: PSA {row['psa']!r} of {row['case']} is no number; give ng/mL") from error
    return found


def _checked(value: float, given: str) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise SettingsError(f"PSA {given}; allowed is 0 or more ng/mL")
    return value
