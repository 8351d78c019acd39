"""Floor 5: one run in several processes: entering and leaving their group, what each has for its own, what they share.

``torchrun`` starts the same command N times. Every process has its own patients and its part of each batch; the first
one alone checks, judges and writes. Without torchrun all this is one process that is the first and has everything.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import ignite.distributed as idist
import torch
import torch.distributed as dist

from prostate_uda.data.domains import Case
from prostate_uda.data.patients import patient
from prostate_uda.errors import ProstateUDAError, SettingsError
from prostate_uda.recipes.devices import pick_device

PATIENCE = timedelta(days=7)
"""How long a process waits for the others: the first one prepares and judges alone. A dead one is noticed at once."""

HEAD_START = timedelta(seconds=3)
"""How long a process that has nothing to tell stays: torchrun ends all processes as soon as one of them is gone."""


class ElsewhereError(ProstateUDAError):
    """Another process cannot go on, for the reason that is told."""


def launched() -> tuple[int, int]:
    """Which of how many processes this is, as torchrun's environment has it; ``(0, 1)`` where there is but one.

    Raises:
        SettingsError: there are several, and nothing says which one this is.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1 and "RANK" not in os.environ:
        raise SettingsError(
            f"WORLD_SIZE is {count} and RANK is not set; start with torchrun, or unset WORLD_SIZE for one process"
        )
    return (int(os.environ["RANK"]), count) if count > 1 else (0, 1)


def first_to_tell() -> bool:
    """Whether no other process of this launch has told yet why it cannot go on: the rest is what follows from it.

    Asked of torchrun's store, which outlives every process; where nobody answers, True.
    """
    try:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = dist.TCPStore(  # type: ignore[attr-defined]  # documented, but torch does not list it
            address, port, is_master=False, wait_for_workers=False, timeout=HEAD_START
        )
        return bool(store.add(f"prostate-uda/told/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", 1) == 1)
    except (dist.DistError, KeyError):
        return True


@contextmanager
def processes(device: str) -> Iterator[torch.device]:
    """Enter the group that torchrun's environment describes, and leave it when all is done.

    A process that fails leaves without farewell, which would wait for those that wait for it; torchrun ends them.

    Args:
        device: As in the settings; ``auto`` and ``cuda`` give each process a GPU of its own.

    Raises:
        SettingsError: a device that this machine does not have, or that the processes cannot share.
        ElsewhereError: another process is gone.
    """
    if launched() == (0, 1):
        yield pick_device(device)
        return
    mine = _own_device(device, int(os.environ.get("LOCAL_RANK", "0")))
    idist.initialize("nccl" if mine.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield mine
    except Exception as error:
        if "by peer" not in str(error):  # what gloo says of a connection that is closed or reset
            raise
        msg = "another process has ended without a word, for want of memory perhaps; what started it says which"
        raise ElsewhereError(msg) from error
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
    if mistake is not None:
        raise mistake
    for number, (reason,) in enumerate(reasons):
        if reason:
            raise ElsewhereError(f"process {number}: {reason}")


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
