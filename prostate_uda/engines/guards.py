"""Floor 4: what stops training that goes wrong, or warns of it: not a number, an NTM that runs away, a class lost.

What it costs: a step's losses and NTMs come to the host in one transfer, which the log needs anyway. Weights,
statistics and optimizers are looked at where a checkpoint is due, before it takes the place of the last one: a weight
that is not finite makes the next step's loss so. :mod:`prostate_uda.engines.looks` counts classes there, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from prostate_uda.errors import ProstateUDAError, SettingsError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.maths.noise import run_away
from prostate_uda.methods.base import Losses, State

LEAST = 1e-5
"""Share of all that is labelled below which a class counts as lost: some 20 voxels of a scan, which are no zone."""
COUNTED_AT_ONCE = 16
MEND = "begin anew with a lower learning rate, or look at the images (of volumes: 'prostate-uda data show')"


class TrainingError(ProstateUDAError):
    """Training cannot go on."""


class GuardError(TrainingError):
    """A guard stopped it: a number is not finite, or an NTM has run away."""


@dataclass(frozen=True, kw_only=True)
class Guards:
    """When a stage is stopped, and when it is warned of.

    Attributes:
        ntm_floor: A learned NTM has run away where a row's diagonal falls below this share of what it was at the start.
            From the usual 0.95 that is 1/3, at three classes the point where a label says no more of its class than
            chance; half the labels wrong leave 0.5, and no benchmark's matrix fell below 0.6. 0 never stops.
        looks: A class is lost that the network predicts on the target in none of so many looks in a row, one at each
            checkpoint, and did before; the first look is before the first step.

    Raises:
        SettingsError: a number out of its range.
    """

    ntm_floor: float = 0.35
    looks: int = 3

    def __post_init__(self) -> None:
        if not 0 <= self.ntm_floor < 1 or self.looks < 1:
            raise SettingsError(
                f"ntm_floor {self.ntm_floor}, looks {self.looks}; allowed are 0 ≤ ntm_floor < 1 (0 never stops) and 1 "
                "or more looks"
            )


class Readings(NamedTuple):
    """What a step reports, on the host.

    Attributes:
        losses: By name.
        ntm: ``(L, C, C)``, where the method has some.
    """

    losses: dict[str, float]
    ntm: Tensor | None


class Guard:
    """Reads what each step of a stage leaves, and stops it.

    Args:
        state: As the method prepared it, before a checkpoint is read into it: its NTMs are those of the start.
        settings: When.
        names: Of the classes; ``class 0`` and so on where they are left out.
    """

    def __init__(self, state: State, settings: Guards | None = None, names: Sequence[str] = ()) -> None:
        self.state, self.settings, self.names = state, settings or Guards(), names
        self.start = state.tensors["ntm"].detach().cpu().clone() if "ntm_logits" in state.tensors else None

    def read(self, losses: Losses, cases: Sequence[str] = ()) -> Readings:
        """A step's losses and NTMs; waits for the step.

        Args:
            losses: Of the step that the state has counted.
            cases: Of its batches, for the message.

        Raises:
            GuardError: one is not finite, or a learned NTM has run away.
        """
        found = read(losses, self.state.tensors.get("ntm"))
        if not all(map(isfinite, found.losses.values())):
            values = ", ".join(f"{name} {value:.3g}" for name, value in found.losses.items() if name != "loss")
            raise GuardError(f"loss is not finite at step {self.state.step} ({values}){_on(cases)}; {MEND}")
        if found.ntm is not None:
            self._check_ntm(found.ntm, cases)
        return found

    def _check_ntm(self, ntm: Tensor, cases: Sequence[str]) -> None:
        if not bool(ntm.isfinite().all()):
            raise GuardError(f"the NTM is not finite at step {self.state.step}{_on(cases)}; {MEND}")
        if self.start is None or not self.settings.ntm_floor:
            return
        away = run_away(ntm, self.start, self.settings.ntm_floor)
        if away:
            level, row = away[0]
            name = self.names[row] if self.names else f"class {row}"
            was, now = (float(one[level, row, row]) for one in (self.start, ntm))
            raise GuardError(
                f"the learned NTM has run away at step {self.state.step}: at level {level + 1} it takes {now:.2f} of "
                f"{name}'s labels for right, {was:.2f} at the start; begin anew with a smaller learned_rate or a "
                "stronger anchor"
            )

    def check_state(self, cases: Sequence[str] = ()) -> None:
        """Refuse to let a damaged state take the place of a good one.

        Args:
            cases: Of the last batches, for the message.

        Raises:
            GuardError: a weight, a statistic, a tensor or an optimizer is not finite; it names the first.
        """
        bad = not_finite(self.state.state_dict())
        if bad:
            raise GuardError(f"not finite after step {self.state.step}: {and_more(bad, 1)}{_on(cases)}; {MEND}")


def read(losses: Losses, ntm: Tensor | None) -> Readings:
    """Bring a step's scalars and NTMs to the host, in one transfer where they lie on one device.

    Args:
        losses: At least one.
        ntm: ``(L, C, C)``, or None.
    """
    parts = [*losses.values(), *(() if ntm is None else (ntm,))]
    device = parts[0].device
    values = torch.cat([part.detach().to(device).flatten() for part in parts]).cpu()
    numbers = dict(zip(losses, values[: len(losses)].tolist(), strict=True))
    return Readings(numbers, None if ntm is None else values[len(losses) :].view(ntm.shape))


def not_finite(content: Mapping[str, Any]) -> list[str]:
    """Which floating-point tensors of a state dictionary hold a number that is not finite, by where they are.

    Args:
        content: Nested dictionaries and lists, as a checkpoint holds them.
    """
    values = dict(_floating(content, ""))
    if isfinite(get_total_norm(values.values(), inf)):
        return []
    return [name for name, value in values.items() if not bool(value.isfinite().all())]


def _floating(content: object, path: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        if content.is_floating_point() and content.numel():
            yield path[1:], content.detach()
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _floating(value, f"{path}.{key}")
    elif isinstance(content, list | tuple):
        yield from _floating(dict(enumerate(content)), path)


def and_more(names: Sequence[str], count: int) -> str:
    """The first of some names, and how many more there are."""
    rest = len(names) - count
    return ", ".join(names[:count]) + (f" and {rest} more" if rest > 0 else "")


def _on(cases: Sequence[str]) -> str:
    """Where a message says which cases a batch was of."""
    return f" on {and_more(list(dict.fromkeys(cases)), 6)}" if cases else ""


class Marked(Protocol):
    """Images with labels, in memory or read when asked for: a :class:`~prostate_uda.data.slices.ImageSet`."""

    def __len__(self) -> int:
        """N."""

    def marks(self, index: Tensor) -> Tensor:
        """``(B, H, W)`` uint8 classes of these images, IGNORE where nothing is known."""


def label_counts(images: Marked, classes: int) -> Tensor:
    """How many pixels carry each label.

    Args:
        images: Labelled; every one is looked at.
        classes: C.

    Returns:
        ``(C,)`` int64; sums over the processes where each has its own cases.
    """
    counts = torch.zeros(classes, dtype=torch.int64)
    for index in torch.split(torch.arange(len(images)), COUNTED_AT_ONCE):
        label = images.marks(index).flatten()
        counts += label[label != IGNORE].long().bincount(minlength=classes)
    return counts


def vanished(counts: Tensor, names: Sequence[str], least: float = LEAST) -> list[str]:
    """The classes that have vanished from labels or predictions; all of them where nothing is counted.

    Args:
        counts: ``(C,)``, pixels of each class.
        names: C names.
        least: Share of all that is counted, below which a class counts as lost.
    """
    enough = least * float(counts.sum())
    return [name for name, count in zip(names, counts.tolist(), strict=True) if count <= enough]
