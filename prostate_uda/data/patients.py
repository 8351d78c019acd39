"""Floor 2: who is who: one patient under several file names, and folds that never part a patient."""

from collections.abc import Iterable, Mapping
from hashlib import sha256

from prostate_uda.data.domains.folder import FIRST_CHANNEL, LABEL_SUFFIXES
from prostate_uda.data.volumes import SUFFIXES
from prostate_uda.errors import DataError, SettingsError

ENDINGS = tuple(sorted((suffix.lower() for suffix in (*SUFFIXES, *LABEL_SUFFIXES, FIRST_CHANNEL)), key=len))
"""What a name may carry behind the patient's: file endings, what labels are called, nnU-Net's first channel."""


def patient(name: str) -> str:
    """The patient that an id or file name speaks of: lower case, without :data:`ENDINGS`.

    ``ProstateDx-01-0006_correctedLabels.nrrd`` and ``prostatedx-01-0006_0000`` are one patient.
    """
    bare = name.strip().lower()
    for ending in reversed(ENDINGS):
        if bare.endswith(ending) and len(bare) > len(ending):
            return patient(bare.removesuffix(ending))
    return bare


def check_leakage(parts: Mapping[str, Iterable[str]]) -> None:
    """Check that no patient is listed twice, be it in two parts or under two names in one.

    Args:
        parts: Name of a part (``"source train"``) to ids.

    Raises:
        DataError: A patient is; the message names both ids and parts.
    """
    seen: dict[str, tuple[str, str]] = {}
    for part, ids in parts.items():
        for name in ids:
            who = patient(name)
            if who in seen:
                before, other = seen[who]
                raise DataError(
                    f"one patient is {other!r} in {before} and {name!r} in {part}; a patient may be listed once; leave "
                    "one of them out, or rename one where two hospitals use the same number"
                )
            seen[who] = (part, name)


def folds(ids: Iterable[str], k: int, seed: int = 0) -> tuple[tuple[str, ...], ...]:
    """Part patients into ``k`` folds whose sizes differ by one at most.

    The order is that of SHA-256 over seed and patient, so the same folds come out on every machine, in whatever order
    ids are given.

    Args:
        ids: One per patient.
        k: Number of folds, from 2 to the number of patients.
        seed: Names the draw.

    Returns:
        ``k`` tuples of ids, each sorted; every id is in exactly one.

    Raises:
        SettingsError: ``k`` is out of range.
        DataError: Two ids are one patient.
    """
    given = sorted(ids)
    if not 2 <= k <= len(given):
        raise SettingsError(f"{k} folds of {len(given)} patients; allowed are 2 to {max(2, len(given))}")
    check_leakage({"the folds": given})
    drawn = sorted(given, key=lambda name: sha256(f"{seed}:{patient(name)}".encode()).digest())
    return tuple(tuple(sorted(drawn[start::k])) for start in range(k))
