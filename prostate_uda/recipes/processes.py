"""Floor 5: one run in several processes: entering and leaving their group, what each has for its own, what they share.

``torchrun`` starts the same command N times. Every process has its own patients and its part of each batch; the first
one alone checks, judges and writes. Without torchrun all this is one process that is the first and has everything.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import ignite.distributed as idist
import torch

from prostate_uda.data.domains import Case
from prostate_uda.data.patients import patient
from prostate_uda.errors import ProstateUDAError, SettingsError
from prostate_uda.recipes.settings import pick_device

PATIENCE = timedelta(days=7)
"""How long a process waits for the others: the first one prepares and judges alone. A dead one is noticed at once."""

HEAD_START = 3.0
"""Seconds that the first process has to tell a mistake: torchrun ends all processes as soon as one of them is gone."""


class ElsewhereError(ProstateUDAError):
    """Another process cannot go on, for the reason that is told."""


@contextmanager
def processes(device: str) -> Iterator[torch.device]:
    """Enter the group that torchrun's environment describes, and leave it however it ends.

    Args:
        device: As in the settings; ``auto`` and ``cuda`` give each process a GPU of its own.

    Raises:
        SettingsError: a device that this machine does not have, or that the processes cannot share.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield pick_device(device)
        return
    mine = _own_device(device, int(os.environ.get("LOCAL_RANK", "0")))
    idist.initialize("nccl" if mine.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield mine
    finally:
        idist.finalize()


def _own_device(name: str, local_rank: int) -> torch.device:
    found = pick_device(name)
    if found == torch.device("cuda"):
        if local_rank >= torch.cuda.device_count():
            raise SettingsError(
                f"more processes than the {torch.cuda.device_count()} GPUs of this machine; start one per GPU"
            )
        return torch.device("cuda", local_rank)
    if found.type != "cpu":
        raise SettingsError(f"device {name!r} for several processes; allowed are auto, cuda and cpu")
    if torch.cuda.is_available():
        raise SettingsError(
            "several processes on the CPU of a machine with a GPU; say CUDA_VISIBLE_DEVICES= before torchrun, or leave "
            "out --device"
        )
    return found


def is_first() -> bool:
    """Whether this is the process that checks, judges and writes."""
    return bool(idist.get_rank() == 0)


@contextmanager
def together() -> Iterator[None]:
    """A piece of work that ends when all processes have done it; where one cannot, none goes on.

    Raises:
        ElsewhereError: another process made a user's mistake out of it.
    """
    mistake: ProstateUDAError | None = None
    try:
        yield
    except ProstateUDAError as error:
        mistake = error
    _agree(mistake)


@contextmanager
def first_alone() -> Iterator[None]:
    """A piece of work that the others begin when the first process has done it, and find in the cache what it made.

    Raises:
        ElsewhereError: the first process cannot go on.
    """
    if is_first():
        with together():
            yield
    else:
        _agree(None)
        yield


def _agree(mistake: ProstateUDAError | None) -> None:
    reasons = [] if idist.get_world_size() == 1 else idist.all_gather(["" if mistake is None else str(mistake)])
    if any(reason for (reason,) in reasons) and not is_first():
        time.sleep(HEAD_START)
    if mistake is not None:
        raise mistake
    for (reason,) in reasons:
        if reason:
            raise ElsewhereError(reason)


def own_share(batch_size: int) -> int:
    """How many slices of each batch this process draws.

    Raises:
        SettingsError: the batch cannot be parted evenly.
    """
    count = idist.get_world_size()
    if batch_size % count:
        raise SettingsError(
            f"batch_size is {batch_size} for {count} processes, it is all their slices together; allowed is a "
            f"multiple of {count}"
        )
    return int(batch_size // count)


def own_name(name: str) -> str:
    """What a stream of random numbers is called that each process has for its own."""
    return name if idist.get_world_size() == 1 else f"{name}, process {idist.get_rank()}"


def own_cases(cases: Sequence[Case], role: str) -> tuple[Case, ...]:
    """The cases of this process's patients.

    Args:
        cases: The same everywhere.
        role: Of the domain, for the message.

    Raises:
        SettingsError: a process would have no patient.
    """
    count, rank = int(idist.get_world_size()), int(idist.get_rank())
    found = shares(cases, count)
    patients = sum(map(bool, found))
    if patients < count and count > 1:
        raise SettingsError(
            f"{count} processes for {patients} patients to learn from in the {role}; start {max(patients, 1)} or fewer"
        )
    return found[rank]


def shares(cases: Sequence[Case], count: int) -> list[tuple[Case, ...]]:
    """Cases in ``count`` shares: every ``count``-th patient in the order of the cases, none in two shares."""
    patients = list(dict.fromkeys(patient(case.id) for case in cases))
    places = {name: place % count for place, name in enumerate(patients)}
    return [tuple(case for case in cases if places[patient(case.id)] == share) for share in range(count)]
