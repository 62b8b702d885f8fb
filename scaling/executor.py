"""The executor interface, and the one that uses this machine's own processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Protocol

import psutil

from scaling.ladder import Ladder
from scaling.runs import Job, RunSpec

MEMORY_PER_CPU_WORKER_BYTES = 700 * 2**20
MAX_DEATHS = 2


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

    def run(self, jobs: Sequence[Job]) -> Iterator[Ended]:
        """Run all jobs, in order of their places; yields each as it ends."""

    def close(self) -> None:
        """End what still runs."""


class LocalExecutor:
    """Processes of this machine, forked from a warm parent that has torch and Lightning loaded.

    A tiny CPU model gets one thread, so as many run as there are cores and memory; on GPUs each run gets devices of its
    own. A worker whose parent dies ends itself at once, so that a killed command leaves nothing running.
    """

    def __init__(self, study_path: Path, ladder: Ladder, workers: int | None = None) -> None:
        """Start nothing yet; `workers` is the number of runs at a time, found from the machine when None."""
        self._study_path = study_path
        self._ladder = ladder
        self._workers = workers or default_workers(ladder)
        self._context = multiprocessing.get_context("forkserver")
        warm_up()
        self._running: dict[int, tuple[BaseProcess, connection.Connection, Job, int]] = {}

    @property
    def workers(self) -> int:
        """How many jobs run at once."""
        return self._workers

    def run(self, jobs: Sequence[Job]) -> Iterator[Ended]:
        """Run all jobs; yields each as it ends. A process that dies without a word is started once more."""
        waiting = [(job, 0) for job in reversed(jobs)]
        free = set(range(self._workers))
        try:
            while waiting or self._running:
                while waiting and free:
                    job, deaths = waiting.pop()
                    self._start(job, free.pop(), deaths)
                for place, ended, deaths in self._wait():
                    free.add(place)
                    if ended.error == DIED and deaths + 1 < MAX_DEATHS:
                        waiting.append((ended.job, deaths + 1))
                    else:
                        yield ended
        finally:
            self.close()

    def close(self) -> None:
        """Kill what still runs; its checkpoint and its spool file stay."""
        for process, receiver, _, _ in self._running.values():
            process.kill()
            process.join()
            receiver.close()
        self._running.clear()

    def _start(self, job: Job, place: int, deaths: int) -> None:
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_work, args=(self._study_path, job, self._environment(job, place), sender), daemon=False
        )
        with main_hidden():
            process.start()
        sender.close()
        self._running[place] = (process, receiver, job, deaths)

    def _wait(self) -> list[tuple[int, Ended, int]]:
        ready = connection.wait([process.sentinel for process, *_ in self._running.values()])
        ended = []
        for place, (process, receiver, job, deaths) in list(self._running.items()):
            if process.sentinel not in ready:
                continue
            process.join()
            try:
                error: str | None = receiver.recv() if receiver.poll() else DIED
            except EOFError:
                error = DIED
            receiver.close()
            del self._running[place]
            ended.append((place, Ended(job, error), deaths))
        return ended

    def _environment(self, job: Job, place: int) -> dict[str, str]:
        if self._ladder.accelerator == "cpu":
            return {}
        devices = job.rung.devices if isinstance(job, RunSpec) else 1
        return {"CUDA_VISIBLE_DEVICES": ",".join(str(place * devices + index) for index in range(devices))}


def _work(study_path: Path, job: Job, environment: dict[str, str], sender: connection.Connection) -> None:
    # Imported in the worker alone: the command itself needs neither torch nor Lightning to order runs.
    from scaling.worker import work

    work(study_path, job, environment, sender)


def warm_up() -> None:
    """Start the parent of the workers, which loads torch and Lightning while this process goes on; safe to repeat."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["scaling.worker"])
    with main_hidden():
        forkserver.ensure_running()


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
