"""Floor 5: how the runs of a comparison are started: one after the other here, in processes, or on a cluster.

A launcher starts a run and can tell whether it has ended. Whether it went well is on disk: ``run.json`` says done, or
there is a complaint.
"""

import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch

from prostate_uda.engines.observers import Progress, Silent
from prostate_uda.errors import ProstateUDAError, SettingsError
from prostate_uda.recipes.adapt import adapt
from prostate_uda.recipes.record import whole
from prostate_uda.recipes.settings import AdaptSettings

MINUTES = 24 * 60
"""How long a cluster's job may take where the user does not say; submitit's own default is five minutes."""


class Job(Protocol):
    """A run that was started."""

    def done(self) -> bool:
        """Whether it has ended, well or not."""


class Launcher(Protocol):
    """A way to start runs.

    Attributes:
        room: How many runs may be under way at once.
    """

    room: int

    def start(self, settings: AdaptSettings, out: Path, complaint: Path) -> Job:
        """Begin the run, or go on with it: see :func:`attempt`."""

    def stop(self) -> None:
        """End what is still under way; the runs can be resumed."""


def attempt(settings: AdaptSettings, out: Path, complaint: Path, progress: Progress | None = None) -> None:
    """One run, begun or resumed; what stops it is written down and stops no other.

    Args:
        settings: Of the run.
        out: Its folder.
        complaint: File for what went wrong: a line, and a bug's traceback below.
        progress: Is told how far it is.
    """
    try:
        adapt(settings, out, resume=(out / "run.json").exists(), progress=progress)
    except Exception as error:  # noqa: BLE001  it is told at the end, beside what the other runs came to
        told = str(error) if isinstance(error, ProstateUDAError) else f"{type(error).__name__}: {error}"
        more = "" if isinstance(error, ProstateUDAError) else traceback.format_exc()
        _complain(complaint, told, more)


def _complain(complaint: Path, told: str, more: str = "") -> None:
    """Write down why a run failed: a line, and what else there is below."""
    complaint.parent.mkdir(parents=True, exist_ok=True)
    with whole(complaint) as partial:
        partial.write_text(" ".join(told.split()) + "\n" + more, encoding="utf-8")


class Ended:
    """A run that was over when :meth:`Here.start` returned."""

    def done(self) -> bool:
        """Yes."""
        return True


class Here:
    """One run after the other in this process, with its bars.

    Args:
        progress: Is told how far each run is.
    """

    room = 1

    def __init__(self, progress: Progress | None = None) -> None:
        self.progress = progress or Silent()

    def start(self, settings: AdaptSettings, out: Path, complaint: Path) -> Job:
        """Do it all."""
        attempt(settings, out, complaint, self.progress)
        return Ended()

    def stop(self) -> None:
        """Nothing is under way."""


class Process:
    """A run in a process of its own."""

    def __init__(self, process: multiprocessing.process.BaseProcess) -> None:
        self.process = process

    def done(self) -> bool:
        """Whether the process is gone."""
        return not self.process.is_alive()


class Processes:
    """Runs in processes that are begun anew for each, so that one that is killed takes no other with it.

    Args:
        jobs: How many at once; they share the threads that torch would use here.
    """

    def __init__(self, jobs: int) -> None:
        self.room, self.threads = jobs, max(1, torch.get_num_threads() // jobs)
        self._started: list[Process] = []

    def start(self, settings: AdaptSettings, out: Path, complaint: Path) -> Job:
        """In a new interpreter: a fork would share torch's threads and the GPU."""
        process = multiprocessing.get_context("spawn").Process(
            target=_alone, args=(settings, out, complaint, self.threads), daemon=True
        )
        with _environment(OMP_NUM_THREADS=str(self.threads)):
            process.start()
        self._started.append(Process(process))
        return self._started[-1]

    def stop(self) -> None:
        """Terminate them: a run may be killed at any time."""
        for job in self._started:
            job.process.terminate()
            job.process.join()


def _alone(settings: AdaptSettings, out: Path, complaint: Path, threads: int) -> None:
    """What a process of its own does; it ends with the one that started it, however that one ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
    torch.set_num_threads(threads)
    attempt(settings, out, complaint)


def _end_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


@contextmanager
def _environment(**changes: str) -> Iterator[None]:
    """Environment variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class Cluster:
    """Runs as jobs of a cluster, by submitit.

    Args:
        folder: For submitit's scripts and logs, on a disk that all machines share.
        options: What submitit's ``update_parameters`` takes: ``timeout_min``, ``gpus_per_node``, ``slurm_partition``.
        jobs: How many may be queued or running at once; None for all that can be.
        name: ``slurm``, or ``local`` for submitit's own processes on this machine.

    Raises:
        SettingsError: there is no such cluster here, or an option it does not know.
    """

    def __init__(
        self, folder: Path, options: Mapping[str, Any], *, jobs: int | None = None, name: str = "slurm"
    ) -> None:
        import submitit  # here, for it is needed by few

        self.name = name
        self.room = jobs or sys.maxsize
        self._started: list[submitit.Job[None]] = []
        try:
            self.executor = submitit.AutoExecutor(folder=folder, cluster=name)
            self.executor.update_parameters(
                **{"name": "prostate-uda", "timeout_min": MINUTES, "stderr_to_stdout": True, **options}
            )
        except (RuntimeError, NameError, TypeError, ValueError) as error:
            told = " ".join(str(error).split())
            raise SettingsError(f"{name} cannot be used so: {told}; mend --slurm, or use --launcher local") from error

    def start(self, settings: AdaptSettings, out: Path, complaint: Path) -> Job:
        """Queue it.

        Raises:
            SettingsError: the cluster refuses the first job. One refused later is a run that failed.
        """
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            self._started.append(self.executor.submit(attempt, settings, out, complaint))
        except (FailedJobError, FailedSubmissionError) as error:
            told = f"{self.name} refuses the job: {' '.join(str(error).split())}; mend --slurm, or use --launcher local"
            if not self._started:
                raise SettingsError(told) from error
            _complain(complaint, told)
            return Ended()
        return self._started[-1]

    def stop(self) -> None:
        """Cancel what is queued or running."""
        for job in self._started:
            if not job.done():
                job.cancel(check=False)
