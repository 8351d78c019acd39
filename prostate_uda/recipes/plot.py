"""Floor 5: ``plot``: figures made of what a run logged."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prostate_uda.errors import CheckpointError, SettingsError, ShapeError
from prostate_uda.methods import METHODS, MetaCorrection, build_method
from prostate_uda.recipes.record import Record, writing
from prostate_uda.review.figures import save_figure
from prostate_uda.review.ntm import NtmRound, class_names, level_names, ntm_figure

FORMATS = (".png", ".pdf", ".svg")
SLACK = 0.01
"""How far a row's sum may be from one: logs may hold rounded numbers."""

LONGEST = 60
"""Letters of a run's name in a headline."""


@dataclass(frozen=True)
class Plotted:
    """What was written, and the NTMs it ends with.

    Attributes:
        picture: The file.
        levels: Name of each level, shallow to deep.
        classes: Name of each class.
        last: ``(L, C, C)``, after the last step of the last round.
    """

    picture: Path
    levels: tuple[str, ...]
    classes: tuple[str, ...]
    last: NDArray[np.float64]


def plot_ntm(run: Path, out: Path | None = None) -> Plotted:
    """Draw the noise transition matrices of a run, finished or not, per level over its steps.

    Args:
        run: A run's folder.
        out: ``.png``, ``.pdf`` or ``.svg`` to write; by default ``pictures/ntm.png`` of the run.

    Raises:
        SettingsError: ``out`` has another suffix or cannot be written, or the run's method has no NTM.
        CheckpointError: no run there, no step of a round yet, or a damaged log; the message names file and line.
        ShapeError: a step's NTMs have another shape than those before.
    """
    out = picture_path(out, run / "pictures" / "ntm.png")
    settings = Record.read(run / "run.json").content["settings"]
    method, options = _method(run, settings), settings.get("options") or {}
    rounds = read_ntms(run)
    last = rounds[-1].matrices[-1]
    levels = _levels(len(last), options.get("level_weights", method.level_weights))
    mode = options.get("ntm_mode", method.ntm_mode)
    title = f"{shortened(run.resolve().name)}\nnoise transition matrices of {settings['method']}, NTM mode {mode}"
    figure = ntm_figure(rounds, title=title, levels=levels, noisy=mode == "per-step")
    with writing(out):
        save_figure(figure, out)
    return Plotted(out, levels, class_names(last.shape[-1]), last)


def picture_path(out: Path | None, default: Path) -> Path:
    """Where a figure goes.

    Args:
        out: What the user asks for, or None.
        default: Where it goes otherwise.

    Raises:
        SettingsError: another suffix than those of :data:`FORMATS`.
    """
    path = default if out is None else out
    if path.suffix.lower() not in FORMATS:
        raise SettingsError(f"{path} has suffix {path.suffix!r}; allowed are {', '.join(FORMATS)}")
    return path


def read_ntms(run: Path) -> tuple[NtmRound, ...]:
    """The NTMs that a run logged, rounds in their order; a last line that was cut off is left out.

    Args:
        run: A run's folder.

    Raises:
        CheckpointError: no step of a round yet, or a damaged log.
        ShapeError: a step's NTMs have another shape than those before.
    """
    found = ((path.stem.removeprefix("round_"), path) for path in (run / "logs").glob("round_*.jsonl"))
    logs = {int(number): path for number, path in found if number.isdecimal()}
    rounds: list[NtmRound] = []
    shape: tuple[int, ...] | None = None
    for number, path in sorted(logs.items()):
        matrices = _read_log(path, shape)
        if len(matrices):
            rounds.append(NtmRound(number, matrices))
            shape = matrices.shape[1:]
    if not rounds:
        raise CheckpointError(f"{run} has no step of a round yet (logs/round_1.jsonl); wait for adapt, or --resume it")
    return tuple(rounds)


def _read_log(path: Path, shape: tuple[int, ...] | None) -> NDArray[np.float64]:
    """``(S, L, C, C)``, one entry per whole line; ``shape`` is ``(L, C, C)`` where it is known."""
    try:
        *lines, _ = path.read_bytes().split(b"\n")  # behind the last: a killed run's, whose resumption does it again
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); bring it back, or run adapt again") from error
    matrices: list[NDArray[np.float64]] = []
    for number, line in enumerate(lines, start=1):
        matrix = _read_line(line, number, f"{path}, line {number}")
        shape = shape or matrix.shape
        if matrix.shape != shape:
            raise ShapeError(
                f"{path}, line {number}: NTMs of shape {matrix.shape} after some of shape {shape}; all steps of a run "
                "have the same; run adapt again"
            )
        matrices.append(matrix)
    return np.array(matrices)


def _read_line(line: bytes, step: int, where: str) -> NDArray[np.float64]:
    """``(L, C, C)`` of the step that belongs in this line."""
    mend = "bring back the log as adapt wrote it, or run adapt again"
    try:
        entry = json.loads(line)
        logged = entry["step"]
    except (ValueError, RecursionError, TypeError, LookupError) as error:
        raise CheckpointError(f"{where} is no JSON object with a step; {mend}") from error
    if logged != step:
        raise CheckpointError(f"{where} is of step {logged!r}, there belongs step {step}; {mend}")
    if "ntm" not in entry:
        raise CheckpointError(f"{where} has no 'ntm' (earlier versions did not log it); run adapt again")
    try:
        matrix = np.array(entry["ntm"], dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise CheckpointError(f"{where}: 'ntm' is no (L, C, C) list of numbers; {mend}") from error
    if matrix.ndim != 3 or matrix.size == 0 or matrix.shape[1] != matrix.shape[2]:
        raise ShapeError(f"{where}: 'ntm' has shape {matrix.shape}, allowed is (L, C, C); {mend}")
    if not ((matrix >= -SLACK).all() and (abs(matrix.sum(axis=-1) - 1) <= SLACK).all()):
        raise CheckpointError(f"{where}: 'ntm' has rows that are no distributions (sum 1); {mend}")
    return matrix


def _method(run: Path, settings: Mapping[str, Any]) -> MetaCorrection:
    """The run's method as it is without options, once it is one with NTMs."""
    having = {name: found for name in METHODS if isinstance(found := build_method(name), MetaCorrection)}
    name = settings.get("method")
    if name not in having:
        raise SettingsError(f"{run} was adapted with {name}, which has no NTM; {', '.join(having)} have NTMs")
    return having[name]


def shortened(name: str) -> str:
    """A run's name, so that there is room for the legend beside it."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}…{name[-LONGEST // 2 :]}"


def _levels(count: int, weights: Sequence[float]) -> tuple[str, ...]:
    """Names of the levels; one of weight zero took no part."""
    told = [f"weight {weight}" if weight else "weight 0: took no part, stays at its start" for weight in weights]
    names = level_names(count)
    return tuple(f"{name}, {what}" for name, what in zip(names, told, strict=True)) if len(told) == count else names
