"""Floor 2: what is wrong with data, as a table knows it: how bad, where, what, and how to mend it."""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Self

from prostate_uda.errors import ProstateUDAError

Level = Literal["error", "warning", "ok"]
LEVELS: tuple[Level, ...] = ("error", "warning", "ok")
"""The worst first: an error stops or spoils a run, a warning wants a look, ok says what was found in order."""

SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Args:
        level: How bad.
        check: Short and stable name of what was checked (``"grid"``), for programs.
        where: The case, file or folder.
        what: What is wrong, or right.
        mend: What to do; empty where there is nothing to do.
    """

    level: Level
    check: str
    where: str
    what: str
    mend: str = ""

    @classmethod
    def of(cls, error: ProstateUDAError, check: str, where: str, path: Path | None = None) -> Self:
        """An error of ours as a line: our messages say what came and, behind the last semicolon, what to do.

        Args:
            error: What was raised.
            check: What was checked.
            where: The case, file or folder.
            path: Of the file that the message begins with, which the line need not repeat.
        """
        what, _, mend = str(error).removeprefix(f"{path}: ").rpartition("; ")
        return cls("error", check, where, what or mend, mend if what else "")

    def record(self) -> dict[str, str]:
        """As JSON knows it."""
        return asdict(self)


def error(check: str, where: str, what: str, mend: str) -> Finding:
    """What stops or spoils a run."""
    return Finding("error", check, where, what, mend)


def warning(check: str, where: str, what: str, mend: str) -> Finding:
    """What wants a look."""
    return Finding("warning", check, where, what, mend)


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sorted by level, else as they came."""
    return tuple(sorted(findings, key=lambda finding: LEVELS.index(finding.level)))


def together(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The same findings for a person: one line where more than :data:`SHOWN` cases have the same thing wrong.

    The line says how many, names the first and, where they differ in numbers, tells the first one's.
    """
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        words = re.sub(r"[\d.]+", "#", finding.what)
        groups.setdefault((finding.level, finding.check, words), []).append(finding)
    lines: list[Finding] = []
    for group in groups.values():
        if len(group) <= SHOWN:
            lines += group
            continue
        named = ", ".join(finding.where for finding in group[:SHOWN])
        differ = len({finding.what for finding in group}) > 1
        what = f"{group[0].what} (the first of {len(group)})" if differ else group[0].what
        lines.append(replace(group[0], where=f"{len(group)} times: {named}, ...", what=what))
    return worst_first(lines)
