"""What the processes of a cell use, as their kernel counts it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from search.sandbox.limits import CellError, Limits, in_units

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
HOLDERS = {"1", "2"}  # bubblewrap's init, and what holds the cell open


@dataclass(frozen=True, slots=True)
class Usage:
    """What all inmates use together; memory is resident, and counts a page once per process."""

    memory_bytes: int
    processes: int
    threads: int

    def hold_to(self, limits: Limits) -> None:
        """Raise CellError for what is more than allowed."""
        if self.processes > limits.processes:
            raise CellError("processes", f"It started more than {limits.processes} processes.")
        if self.threads > limits.threads:
            raise CellError("threads", f"It started more than {limits.threads} threads.")
        if self.memory_bytes > limits.memory_bytes:
            raise CellError("memory", f"It used more than {in_units(limits.memory_bytes)} of memory.")


def measure(proc: int) -> Usage:
    """Sum over the processes in the opened /proc of a cell."""
    memory = processes = threads = 0
    with suppress(OSError):
        for name in os.listdir(proc):
            if not name.isdecimal() or name in HOLDERS:
                continue
            with suppress(OSError):
                pages, of_these = _one(proc, name)
                memory += pages * PAGE_BYTES
                threads += of_these
                processes += 1
    return Usage(memory, processes, threads)


def _one(proc: int, name: str) -> tuple[int, int]:
    """Resident pages and threads of one process, from the fields after its name, which may hold anything."""
    descriptor = os.open(f"{name}/stat", os.O_RDONLY, dir_fd=proc)
    try:
        fields = os.read(descriptor, 4096).rpartition(b")")[2].split()
    finally:
        os.close(descriptor)
    return int(fields[21]), int(fields[17])
