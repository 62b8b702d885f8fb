"""What the processes of a cell use, as their kernel counts it."""

from __future__ import annotations

import errno
import math
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass

from search.sandbox.limits import CellError, Limits, in_units

BLOCK_BYTES = 4096
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
HOLDERS = {"1", "2"}  # bubblewrap's init, and what holds the cell open

_PROPORTIONAL = re.compile(rb"^Pss:\s+(\d+) kB$", re.MULTILINE)
_RESIDENT = re.compile(rb"^VmRSS:\s+(\d+) kB$", re.MULTILINE)
_TABLES = re.compile(rb"^VmPTE:\s+(\d+) kB$", re.MULTILINE)
_THREADS = re.compile(rb"^Threads:\s+(\d+)$", re.MULTILINE)
_ALONE = re.compile(rb"^Threads:\s+1$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Usage:
    """What all inmates use together; memory is resident, and counts a page that several share once for each.

    The kernel's tables of pages count too: pages that are only read cost nothing but their place in a table.
    """

    memory_bytes: int
    processes: int
    threads: int


def measure(proc: int) -> Usage:
    """Sum over the processes in the opened /proc of a cell."""
    counted = [one for one in (_one(proc, name) for name in _inmates(proc)) if one is not None]
    return Usage(sum(memory for memory, _ in counted), len(counted), sum(threads for _, threads in counted))


def cpu_seconds(proc: int) -> float:
    """CPU seconds, user and system, that the processes in the opened /proc of a cell have used.

    The kernel counts for each process in ticks of some 10 ms what all its threads used, those that have ended among
    them, and the children that it has waited for; and for each thread that lives in nanoseconds, as of its last sleep
    or tick. A process counts with the larger of both: exact as long as its threads live. Orphans that have ended count
    with bubblewrap's init, which waits for them. NaN where nothing can be read.
    """
    told = [_cpu_seconds(proc, process) for process in (*HOLDERS, *_inmates(proc))]
    counted = [one for one in told if one is not None]
    return sum(counted) if counted else math.nan


def _cpu_seconds(proc: int, process: str) -> float | None:
    said = _read(proc, f"{process}/stat")
    # What precedes the last parenthesis is the process's name, which it chooses.
    ticks = [int(one) for one in said.rpartition(b")")[2].split()[11:15]] if said else []
    if len(ticks) < 4:
        return None
    threads = (_read(proc, f"{process}/task/{name}/schedstat") for name in _threads(proc, process))
    exact = sum(int(one.split()[0]) for one in threads if one) / 1e9
    return max(exact, sum(ticks[:2]) / TICKS_PER_SECOND) + sum(ticks[2:]) / TICKS_PER_SECOND


def _threads(proc: int, process: str) -> list[str]:
    with suppress(OSError):
        return _listed(proc, f"{process}/task")
    return []


def hold_to(limits: Limits, proc: int) -> None:
    """Raise CellError for what the processes in the opened /proc of a cell use beyond their limits."""
    usage = measure(proc)
    _hold_number(usage.processes, limits.processes)
    if usage.threads > limits.threads:
        raise CellError("threads", f"It started more than {limits.threads} threads.")
    # Forks share their pages, so the exact sum is taken, at some milliseconds, where the quick one is too large.
    if usage.memory_bytes > limits.memory_bytes and _shared_once(proc, limits.processes) > limits.memory_bytes:
        raise CellError("memory", f"It used more than {in_units(limits.memory_bytes)} of memory.")


def _hold_number(processes: int, most: int) -> None:
    if processes > most:
        raise CellError("processes", f"It started more than {most} processes.")


def hold_files_to(limits: Limits, folder: str, proc: int, target: str) -> None:
    """Raise CellError when the files of a folder, which a cell has at `target`, take too much disk, or are too many.

    Those count that lie below it, no links followed, and those without a name that a process in /proc has open.
    """
    taken, names = _taken(folder, limits)
    nameless = _nameless(proc, target) if names <= limits.names else {}
    _hold_names(names + len(nameless), limits.names)
    if taken + sum(nameless.values()) > limits.folder_bytes:
        raise CellError("files", f"It wrote more than {in_units(limits.folder_bytes)} of files.")


def refuse_hidden_files(proc: int, target: str) -> None:
    """Raise CellError when a process in the opened /proc of a cell maps a file that nobody could count.

    Such a file was removed from the folder that the cell has at `target`, and is not open: it keeps its size, which can
    be read nowhere. Takes a millisecond for each process.
    """
    mapped = _removed_but_mapped(proc, target)
    # What was just let go of is no longer mapped when one looks again.
    if mapped and (mapped - _nameless(proc, target).keys()) & _removed_but_mapped(proc, target):
        raise CellError("files", "It mapped a file of its folder and removed it.")


def hold_names_to(limits: Limits, folder: int) -> None:
    """Raise CellError when the file system of an opened folder, which is memory, holds too many names."""
    held = os.fstatvfs(folder)
    _hold_names(held.f_files - held.f_ffree, limits.names)


def _hold_names(names: int, most: int) -> None:
    if names > most:
        raise CellError("names", f"It made more than {most} files and folders.")


def _inmates(proc: int) -> list[str]:
    with suppress(OSError):
        return [name for name in os.listdir(proc) if name.isdecimal() and name not in HOLDERS]
    return []


def _one(proc: int, process: str) -> tuple[int, int] | None:
    """Memory and threads of one process; its name comes before them, in which the kernel escapes the ends of lines."""
    said = _read(proc, f"{_teller(proc, process)}/status")
    if not said:
        return None
    threads = _THREADS.search(said)
    return _kilobytes(_RESIDENT, said) + _kilobytes(_TABLES, said), int(threads[1]) if threads else 0


def _teller(proc: int, process: str) -> str:
    """The folder that tells what a process has: its own, or another thread's where the first one has ended."""
    said = _read(proc, f"{process}/status") or b""
    if _RESIDENT.search(said) or _ALONE.search(said):
        return process
    threads = [f"{process}/task/{name}" for name in _listed(proc, f"{process}/task")]
    return next((one for one in threads if _has_memory(proc, one)), process)


def _has_memory(proc: int, process: str) -> bool:
    """Whether it lives: one that has ended, and that nobody has asked for its end yet, has none."""
    return _RESIDENT.search(_read(proc, f"{process}/status") or b"") is not None


def _kilobytes(pattern: re.Pattern[bytes], said: bytes) -> int:
    """The number that a line gives, in bytes; 0 where there is none, as for a process that has ended."""
    found = pattern.search(said)
    return int(found[1]) * 2**10 if found else 0


def _shared_once(proc: int, most_processes: int) -> int:
    """Bytes of all processes, a page that several share counted once in all.

    Raises CellError where they become too many meanwhile: this takes so long that one who forks could outrun it.
    """
    total = 0
    for process in _inmates(proc):
        _hold_number(len(_inmates(proc)), most_processes)
        teller = _teller(proc, process)
        said = _read(proc, f"{teller}/status") or b""
        proportional = _kilobytes(_PROPORTIONAL, _read(proc, f"{teller}/smaps_rollup") or b"")
        total += (proportional or _kilobytes(_RESIDENT, said)) + _kilobytes(_TABLES, said)
    return total


def _read(proc: int, path: str) -> bytes | None:
    """A file of a process; None when it may not be read, or its process has ended."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY, dir_fd=proc)
        try:
            return b"".join(iter(lambda: os.read(descriptor, 2**14), b""))
        finally:
            os.close(descriptor)
    return None


def _listed(proc: int, path: str) -> list[str]:
    """The names in a folder of a process; none when its process has ended. Raises PermissionError."""
    with suppress(FileNotFoundError, ProcessLookupError):
        descriptor: int = os.open(path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=proc)
        try:
            return os.listdir(descriptor)
        finally:
            os.close(descriptor)
    return []


def _nameless(proc: int, target: str) -> dict[int, int]:
    """By its number, the bytes of each file that was removed from a folder, or never had a name, and is open."""
    found: dict[int, int] = {}
    for process in _inmates(proc):
        for path in _held(proc, _teller(proc, process)):
            with suppress(OSError):
                held = os.stat(path, dir_fd=proc)
                if stat.S_ISREG(held.st_mode) and not held.st_nlink and _lay_in(proc, path, target):
                    found[held.st_ino] = BLOCK_BYTES + held.st_blocks * 512
    return found


def _held(proc: int, process: str) -> list[str]:
    """Links to its program and to what it has open."""
    try:
        return [f"{process}/exe", *(f"{process}/fd/{name}" for name in _listed(proc, f"{process}/fd"))]
    except PermissionError as error:
        # Of what has ended, nobody but root may look; what lives can close itself to all but root, and does not.
        if not _has_memory(proc, process):
            return []
        raise CellError("files", "It hid which files it has open.") from error


def _lay_in(proc: int, link: str, target: str) -> bool:
    """Whether an open file is of the folder; taken for one of it where its path is too long to be told."""
    try:
        return os.readlink(link, dir_fd=proc).startswith(f"{target}/")
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG


def _removed_but_mapped(proc: int, target: str) -> set[int]:
    """The numbers of the files of a folder that are mapped and have lost their names."""
    found: set[int] = set()
    line = re.compile(rb"^\S+ \S+ \S+ \S+ (\d+) +" + re.escape(target.encode()) + rb"/.* \(deleted\)$", re.MULTILINE)
    for process in _inmates(proc):
        maps = _read(proc, f"{_teller(proc, process)}/maps") or b""
        if b" (deleted)\n" in maps:  # rare, and quicker to see than a line
            found.update(map(int, line.findall(maps)))
    return found


def _taken(folder: str, limits: Limits) -> tuple[int, int]:
    """Bytes of disk and names below a folder, counted up to where they are too many; each name counts a block."""
    taken, names, most = 0, 0, limits.folder_bytes
    waiting = [folder]
    while waiting and taken <= most and names <= limits.names:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    taken += _blocks(entry)
                    names += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    if taken > most or names > limits.names:
                        break
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            # Closed to its owner, or deeper than a path can be long: what cannot be counted is too much.
            return most + 1, names
    return taken, names


def _blocks(entry: os.DirEntry[str]) -> int:
    with suppress(FileNotFoundError):
        return BLOCK_BYTES + entry.stat(follow_symlinks=False).st_blocks * 512
    return 0
