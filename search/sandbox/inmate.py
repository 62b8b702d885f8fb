"""What a forked process does on its way into a cell, in this order, before any foreign code runs in it."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from search.sandbox import namespaces
from search.sandbox.limits import Limits

KEPT_VARIABLES = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG")
OPEN_FILES = 1024
COULD_NOT_ENTER = 125

Work = Callable[[socket.socket], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """Where an inmate goes and what it keeps: its end of the channel, where its output and its end are told."""

    init: int
    limits: Limits
    gpu: bool
    loopback: bool
    folder: str
    owner: int
    channel: socket.socket
    output: int
    status: int


def enter_and_work(entry: Entry, work: Work) -> NoReturn:
    """Enter the cell, fork once, since only a child is in its pid namespace, wait for that child and tell its end."""
    try:
        _settle(entry)
        namespaces.enter(entry.init)
        namespaces.drop_rights(gpu=entry.gpu, loopback=entry.loopback)
        namespaces.die_with(entry.owner)
        waiting = os.getpid()
        child = os.fork()
        if not child:
            _work(entry, work, waiting)
        _close_all_but({0, 1, 2, entry.status})
        _, status = os.waitpid(child, 0)
        os.write(entry.status, status.to_bytes(4, "little"))
    except BaseException:
        traceback.print_exc()
        os.write(entry.status, (COULD_NOT_ENTER << 8).to_bytes(4, "little"))
    os._exit(0)


def _settle(entry: Entry) -> None:
    """Leave the terminal, the owner's signal handlers, its environment, its input and its output behind."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(entry.output, 1)
    os.dup2(entry.output, 2)
    _bound_numbers_of_files()
    sys.stdout = open(1, "w", encoding="utf-8", errors="replace", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="replace", buffering=1, closefd=False)  # noqa: SIM115
    _forget_environment()


def _bound_numbers_of_files() -> None:
    """Let no open file get a number far above those in use: in the cell, this process cannot list its own."""
    used = max(int(one.name) for one in Path("/proc/self/fd").iterdir())
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(used + 1, min(now, OPEN_FILES)), most))


def _close_all_but(kept: set[int]) -> None:
    """Close what the owner had open, and what libraries open anew in a fork."""
    below = 0
    for descriptor in (*sorted(kept), resource.getrlimit(resource.RLIMIT_NOFILE)[0]):
        if below < descriptor:  # an empty range that starts at 0 would close everything
            os.closerange(below, descriptor)
        below = descriptor + 1


def _empty_all_but(kept: set[int]) -> None:
    """Put nothing in the place of every other open file: some libraries end a fork in which theirs are closed."""
    for descriptor in [int(one.name) for one in Path("/proc/self/fd").iterdir()]:
        if descriptor not in kept:
            os.dup2(0, descriptor, inheritable=False)


def _forget_environment() -> None:
    """Replace the environment, and wipe the one that this process was started with out of its own memory."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    os.environ.clear()
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    if start < end:
        ctypes.memset(start, 0, end - start)
    os.environ.update(kept, PATH="/usr/bin:/bin", HOME="/tmp", TMPDIR="/tmp", USER="inmate", LANG="C.UTF-8")


def _work(entry: Entry, work: Work, waiting: int) -> NoReturn:
    status = 1
    try:
        namespaces.die_with(waiting)
        _empty_all_but({0, 1, 2, entry.channel.fileno()})
        os.chdir(entry.folder)
        _limit(entry.limits, gpu=entry.gpu)
        gc.freeze()
        work(entry.channel)
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status & 0xFF)


def _limit(limits: Limits, *, gpu: bool) -> None:
    """Bounds that the kernel keeps by itself, between two looks of the owner."""
    bounds = {
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    if not gpu:
        # Above the owner's limit, so that the owner names what was done. CUDA reserves far more than it uses.
        bounds[resource.RLIMIT_DATA] = _data_bytes() + limits.memory_bytes + limits.memory_bytes // 4
    if _counts_processes_by_namespace():
        bounds[resource.RLIMIT_NPROC] = limits.threads + 2
    for bound, value in bounds.items():
        _, most = resource.getrlimit(bound)
        least = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(bound, (least, least))


def _data_bytes() -> int:
    return int(Path("/proc/self/statm").read_bytes().split()[5]) * resource.getpagesize()


def _counts_processes_by_namespace() -> bool:
    """From Linux 5.14 on; before, the user's other programs would count against the inmate."""
    release = platform.release().split(".")
    return len(release) > 1 and (int(release[0]), int("".join(filter(str.isdigit, release[1])) or 0)) >= (5, 14)
