"""The executor interface, and the one that uses this machine's own processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import connection, forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Protocol, TypeVar

import psutil

from data.errors import ScaleproofError
from scaling.ladder import Ladder
from scaling.runs import Job, RunSpec
from scaling.stopping import StoppedError, Stopping

MEMORY_PER_CPU_WORKER_BYTES = 700 * 2**20
MAX_DEATHS = 2
TRUSTED_WORKER = "scaling.worker"
"""The module that does jobs in the plain process of a worker."""
PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "PYTHONPATH", "PYTHONHASHSEED", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
PASSED_ON_PREFIXES = ("LC_", "OMP_", "MKL_", "CUDA_", "NVIDIA_", "NCCL_", "TORCH", "TRITON_", "PYTORCH_")

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Ended:
    """A job whose process has ended; `error` is None when it did its work, and left it in the spool."""

    job: Job
    error: str | None


class Executor(Protocol):
    """Runs jobs somewhere; each leaves its rows in a spool file of its own, and nothing else comes back."""

    @property
    def workers(self) -> int:
        """How many jobs run at once."""

    @property
    def free(self) -> int:
        """How many more jobs would start at once."""

    @property
    def running(self) -> int:
        """How many jobs run now."""

    def submit(self, job: Job) -> None:
        """Start a job; call it while a worker is free."""

    def wait(self, wake: int | None = None) -> list[Ended]:
        """Wait until a job ends, or the file descriptor `wake` can be read; returns the jobs that have ended."""

    def close(self) -> None:
        """End what still runs."""


@dataclass(slots=True)
class _Running:
    """A job under way: its process, the pipe that its sentence comes through, its worker, how often it died before."""

    process: BaseProcess
    receiver: connection.Connection
    job: Job
    place: int
    deaths: int


class LocalExecutor:
    """Processes of this machine, forked from a warm parent that has torch and Lightning loaded.

    A tiny CPU model gets one thread, so as many run as there are cores and memory; on GPUs each run gets devices of its
    own. A worker whose parent dies ends itself at once, so that a killed command leaves nothing running. A process that
    dies without a word is started once more.
    """

    def __init__(
        self, study_path: Path, ladder: Ladder, workers: int | None = None, worker: str = TRUSTED_WORKER
    ) -> None:
        """Start nothing yet; `workers` is the number of runs at a time, found from the machine when None.

        `worker` names the module whose function `work` does a job in its process.
        """
        self._study_path = study_path
        self._ladder = ladder
        self._workers = workers or default_workers(ladder)
        self._worker = worker
        self._context = multiprocessing.get_context("forkserver")
        warm_up(worker)
        self._places = set(range(self._workers))
        self._running: list[_Running] = []

    @property
    def workers(self) -> int:
        """How many jobs run at once."""
        return self._workers

    @property
    def free(self) -> int:
        """How many more jobs would start at once."""
        return len(self._places)

    @property
    def running(self) -> int:
        """How many jobs run now."""
        return len(self._running)

    def submit(self, job: Job) -> None:
        """Start a job on a free worker."""
        self._start(job, self._places.pop(), deaths=0)

    def wait(self, wake: int | None = None) -> list[Ended]:
        """Wait until a job ends, or the file descriptor `wake` can be read; returns the jobs that have ended."""
        also = [] if wake is None else [wake]
        ready = connection.wait([*(one.process.sentinel for one in self._running), *also])
        ended: list[Ended] = []
        for one in [running for running in self._running if running.process.sentinel in ready]:
            error = self._end(one)
            if error == DIED and one.deaths + 1 < MAX_DEATHS:
                self._start(one.job, one.place, one.deaths + 1)
                continue
            self._places.add(one.place)
            ended.append(Ended(one.job, error))
        return ended

    def close(self) -> None:
        """Kill what still runs; its checkpoint and its spool file stay."""
        for one in list(self._running):
            one.process.kill()
            self._end(one)
            self._places.add(one.place)

    def _start(self, job: Job, place: int, deaths: int) -> None:
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_work, args=(self._worker, self._study_path, job, self._environment(job, place), sender)
        )
        with main_hidden():
            process.start()
        sender.close()
        self._running.append(_Running(process, receiver, job, place, deaths))

    def _end(self, one: _Running) -> str | None:
        one.process.join()
        try:
            error: str | None = one.receiver.recv() if one.receiver.poll() else DIED
        except EOFError:
            error = DIED
        one.receiver.close()
        one.process.close()
        self._running.remove(one)
        return error

    def _environment(self, job: Job, place: int) -> dict[str, str]:
        if self._ladder.accelerator == "cpu":
            return {}
        devices = job.rung.devices if isinstance(job, RunSpec) else 1
        return {"CUDA_VISIBLE_DEVICES": ",".join(str(place * devices + index) for index in range(devices))}


def _work(worker: str, study_path: Path, job: Job, environment: dict[str, str], sender: connection.Connection) -> None:
    # Imported in the worker alone: the command itself needs neither torch nor Lightning to order runs.
    import_module(worker).work(study_path, job, environment, sender)


def run_all(executor: Executor, jobs: Sequence[Job], stopping: Stopping | None = None) -> Iterator[Ended]:
    """Do all jobs, in order of their places; yields each as it ends.

    Raises:
        StoppedError: when the work was asked to stop, after the jobs that were under way have ended.
    """
    wake = None if stopping is None else stopping.fileno()
    waiting = list(reversed(jobs))
    try:
        while waiting or executor.running:
            stopped = stopping is not None and stopping.asked
            while waiting and executor.free and not stopped:
                executor.submit(waiting.pop())
            if stopped and not executor.running:
                raise StoppedError
            ended = executor.wait(None if stopped else wake)
            if stopping is not None:
                stopping.awake()
            yield from ended
    finally:
        executor.close()


def warm_up(worker: str = TRUSTED_WORKER) -> None:
    """Start the parent of the workers, which loads torch and Lightning while this process goes on; safe to repeat.

    It is given no more of the environment than it needs: what it forks may run code that a model wrote, and a key that
    was never there cannot be found in its memory.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload([worker])
    with main_hidden(), _environment_cut_down():
        forkserver.ensure_running()


def in_worker(function: Callable[..., _Result], *arguments: object) -> _Result:
    """What `function(*arguments)` returns or raises, in a process of its own that has torch loaded.

    Both must be importable without torch; so this process needs none.
    """
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(function, arguments, sender))
    with main_hidden():
        process.start()
    sender.close()
    try:
        result, error = receiver.recv()
    except EOFError:
        raise ScaleproofError(DIED) from None
    finally:
        process.join()
    if error is not None:
        raise error
    answer: _Result = result
    return answer


def _answer(function: Callable[..., object], arguments: Sequence[object], sender: connection.Connection) -> None:
    die_with_parent()
    ignore_interrupts()
    try:
        sender.send((function(*arguments), None))
    except Exception as error:
        sender.send((None, error))


DIED = "The process died without a word; it may have been killed, or have run out of memory."


def default_workers(ladder: Ladder) -> int:
    """As many runs at once as this machine's cores and memory, or its GPUs, carry."""
    if ladder.accelerator == "gpu":
        import torch

        return max(1, torch.cuda.device_count() // max(rung.devices for rung in ladder.rungs))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, int(psutil.virtual_memory().available // MEMORY_PER_CPU_WORKER_BYTES)))


@contextmanager
def main_hidden() -> Iterator[None]:
    """Keep multiprocessing from running the calling script again in every worker, which would cost each its imports."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


@contextmanager
def _environment_cut_down() -> Iterator[None]:
    whole = dict(os.environ)
    for name in whole:
        if name not in PASSED_ON and not name.startswith(PASSED_ON_PREFIXES):
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(whole)


def die_with_parent() -> None:
    """End this process at once when the one that ordered its work dies, however it dies."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def ignore_interrupts() -> None:
    """Leave Ctrl-C to the parent, which ends its workers in order."""
    if sys.platform != "win32":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
