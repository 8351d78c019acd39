"""Floor 5: ``cite``: what to cite with a method."""

from collections.abc import Sequence

from prostate_uda.errors import SettingsError, UnknownNameError
from prostate_uda.methods import METHODS
from prostate_uda.methods.citations import BIBTEX, CITATIONS, FOUNDATION


def cite(methods: Sequence[str] = (), *, everything: bool = False) -> str:
    """BibTeX of the toolkit's foundation and of the methods, each entry once.

    Args:
        methods: Names in ``METHODS``.
        everything: Those of all methods.

    Raises:
        UnknownNameError: no such method.
        SettingsError: a method whose source nobody wrote down.
    """
    keys = [FOUNDATION]
    for name in METHODS if everything else methods:
        if name not in METHODS:
            raise UnknownNameError("method", name, METHODS)
        if name not in CITATIONS:
            raise SettingsError(f"{name} has no citation yet; add its source to prostate_uda/methods/citations.py")
        keys += CITATIONS[name]
    return "\n\n".join(BIBTEX[key] for key in dict.fromkeys(keys))
