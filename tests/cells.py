"""Cells for tests: whether this machine has them, and a wait for what becomes of an inmate."""

import select
import socket
from collections.abc import Callable, Sequence

import pytest

from search.sandbox.bubblewrap import Mount
from search.sandbox.cell import Cell
from search.sandbox.holder import available
from search.sandbox.limits import Limits

MISSING = available()
needs_bubblewrap = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

SMALL = Limits(memory_bytes=2**32, processes=8, file_bytes=2**20, output_bytes=2**14, wall_seconds=20.0)


def said_in_a_cell(
    work: Callable[[socket.socket], None], mounts: Sequence[Mount] = (), limits: Limits = SMALL
) -> tuple[bytes, str]:
    """What an inmate sent until it ended, and what it printed. Raises CellError when it does what it may not."""
    with Cell(mounts, limits) as cell:
        said = wait(cell, cell.run(work))
        return said, cell.output_tail


def wait(cell: Cell, channel: socket.socket) -> bytes:
    """All that comes on the channel until the inmate has ended."""
    said = b""
    while cell.ended is None:
        cell.check()
        if select.select([channel], [], [], 0.02)[0]:
            said += channel.recv(2**16)
    cell.check()
    while part := channel.recv(2**16):
        said += part
    return said
