"""What the processes of a cell use, as their kernel counts it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass

from search.sandbox.limits import CellError, Limits, in_units

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
BLOCK_BYTES = 4096
HOLDERS = {"1", "2"}  # bubblewrap's init, and what holds the cell open

_PROPORTIONAL = re.compile(rb"^Pss:\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Usage:
    """What all inmates use together; memory is resident, and counts a page that several share once for each."""

    memory_bytes: int
    processes: int
    threads: int


def measure(proc: int) -> Usage:
    """Sum over the processes in the opened /proc of a cell."""
    counted = [one for one in (_one(proc, name) for name in _inmates(proc)) if one is not None]
    return Usage(sum(memory for memory, _ in counted), len(counted), sum(threads for _, threads in counted))


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


def hold_files_to(most: int, folder: str) -> None:
    """Raise CellError when the files below a folder take more than `most` bytes of disk; follows no links."""
    if _taken(folder, most) > most:
        raise CellError("files", f"It wrote more than {in_units(most)} of files.")


def _inmates(proc: int) -> list[str]:
    with suppress(OSError):
        return [name for name in os.listdir(proc) if name.isdecimal() and name not in HOLDERS]
    return []


def _one(proc: int, process: str) -> tuple[int, int] | None:
    """Resident bytes and threads of one process, from the fields after its name, which may hold anything."""
    said = _read(proc, f"{process}/stat")
    if not said:
        return None
    fields = said.rpartition(b")")[2].split()
    return int(fields[21]) * PAGE_BYTES, int(fields[17])


def _shared_once(proc: int, most_processes: int) -> int:
    """Resident bytes of all processes, a page that several share counted once in all.

    Raises CellError where they become too many meanwhile: this takes so long that one who forks could outrun it.
    """
    total = 0
    for process in _inmates(proc):
        _hold_number(len(_inmates(proc)), most_processes)
        proportional = _PROPORTIONAL.search(_read(proc, f"{process}/smaps_rollup") or b"")
        plain = _one(proc, process)
        total += int(proportional[1]) * 2**10 if proportional else plain[0] if plain else 0
    return total


def _read(proc: int, path: str) -> bytes | None:
    """A file of a process; None when it may not be read, or its process has ended."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY, dir_fd=proc)
        try:
            return os.read(descriptor, 2**14)
        finally:
            os.close(descriptor)
    return None


def _taken(folder: str, most: int) -> int:
    """Bytes of disk below a folder, counted up to where they are more than `most`; each name counts a block."""
    taken = 0
    waiting = [folder]
    while waiting and taken <= most:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    taken += _blocks(entry)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    if taken > most:
                        break
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            # Closed to its owner, or deeper than a path can be long: what cannot be counted is too much.
            return most + 1
    return taken


def _blocks(entry: os.DirEntry[str]) -> int:
    with suppress(FileNotFoundError):
        return BLOCK_BYTES + entry.stat(follow_symlinks=False).st_blocks * 512
    return 0
