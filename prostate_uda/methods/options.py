"""Floor 3: what a user wrote for a method's settings, checked against the types that its fields have."""

from collections.abc import Mapping
from dataclasses import fields
from math import isfinite
from typing import Any, Literal, get_args, get_origin, get_type_hints

from prostate_uda.errors import SettingsError


def check_options(name: str, method: type, options: Mapping[str, object]) -> None:
    """Check that each option is a field of the method and has its type; ranges are the method's own matter.

    Args:
        name: Of the method, for messages.
        method: A dataclass.
        options: By field name, as JSON or Python has them.

    Raises:
        SettingsError: no such field, or a value of another type.
    """
    known = [entry.name for entry in fields(method)]
    hints = get_type_hints(method)
    for option, value in options.items():
        if option not in known:
            raise SettingsError(f"{name} has no option {option!r}; choose one of: {', '.join(sorted(known))}")
        wanted = _unfit(hints[option], value)
        if wanted:
            raise SettingsError(f"{name}: {option} is {value!r}; allowed is {wanted}")


def _unfit(hint: Any, value: object) -> str:  # noqa: ANN401  a type is any
    """What the type allows, where the value is none of it; empty where it is."""
    if get_origin(hint) is Literal:
        return "" if value in get_args(hint) else " or ".join(repr(choice) for choice in get_args(hint))
    if get_origin(hint) is tuple:
        fit = isinstance(value, tuple) and bool(value) and all(not _unfit(float, item) for item in value)
        return "" if fit else "a list of numbers, such as [0.1,1]"
    if hint is bool:
        return "" if isinstance(value, bool) else "true or false"
    if hint is int:
        return "" if isinstance(value, int) and not isinstance(value, bool) else "a whole number"
    if hint is float:
        fit = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
        return "" if fit else "a number"
    raise TypeError(f"a method's field has type {hint}; teach methods/options.py about it")
