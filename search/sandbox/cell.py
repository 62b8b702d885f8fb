"""A cell: a fork of this process runs in it, sees what is mounted, and leaves nothing but words on its channel."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from search.sandbox.bubblewrap import Mount, arguments
from search.sandbox.holder import Holder
from search.sandbox.inmate import Entry, Work, enter_and_work
from search.sandbox.limits import CellError, Limits, in_units
from search.sandbox.usage import cpu_seconds, hold_files_to, hold_names_to, hold_to, refuse_hidden_files

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

TAIL_BYTES = 4096
CHUNK_BYTES = 2**16
CLOSE_LOOK_SECONDS = 0.5
"""Between two looks at all that an inmate maps, each of which takes a millisecond."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How an inmate ended: by its exit status, or by a signal."""

    status: int | None
    signal: int | None


class _Channel(socket.socket):
    """The owner's end of a channel, which knows when something last went either way."""

    def __init__(self, plain: socket.socket) -> None:
        super().__init__(fileno=plain.detach())
        self.used = time.monotonic()

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        said = super().recv(bufsize, flags)
        self.used = time.monotonic()
        return said

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        sent = super().send(data, flags)
        self.used = time.monotonic()
        return sent


class Cell:
    """One cell for one inmate; everything in it dies when the block is left, or when this process is killed.

    The inmate is a fork, so it holds a copy of all that this process has in its memory: start it before anything is
    read that it may not see. Use a cell from the thread that made it: it dies with that thread.
    """

    def __init__(
        self,
        mounts: Sequence[Mount],
        limits: Limits,
        gpu: bool = False,
        *,
        loopback: bool = False,
        hidden: Sequence[Path] = (),
    ) -> None:
        """Decide what the inmate will see and may use; nothing is started yet.

        hidden: files and folders that it may not see, wherever they lie.
        loopback: its processes may speak with each other over the internet's protocols, in a network of their own.
        """
        self._mounts = tuple(mounts)
        self._limits = limits
        self._gpu = gpu
        self._loopback = loopback
        self._hidden = tuple(hidden)
        self._tail = b""
        self._printed = 0
        self._started = self._looked_closely = 0.0
        self._child: int | None = None
        self._ended: Ended | None = None
        self._open: list[int] = []
        self._channel: _Channel | None = None
        self.stopped_by: CellError | None = None

    def __enter__(self) -> Self:
        """Open the cell; some 10 ms. Raises ScaleproofError when bubblewrap cannot."""
        self._holder = Holder(arguments(self._mounts, self._limits, gpu=self._gpu, hidden=self._hidden))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill everything in it, and wait for its end."""
        self._holder.kill()
        if self._child is not None:
            with suppress(ChildProcessError):
                os.waitpid(self._child, 0)
        self._holder.close()
        for descriptor in self._open:
            os.close(descriptor)
        if self._channel is not None:
            self._channel.close()

    def run(self, work: Work) -> socket.socket:
        """Fork an inmate that calls work(its end of a channel) in the cell; returns the other end. Once per cell."""
        assert self._child is None, "a cell has one inmate"
        self._output, output = os.pipe()
        self._status, status = os.pipe()
        self._open = [self._output, self._status]
        os.set_blocking(self._output, False)
        os.set_blocking(self._status, False)
        own, inside = socket.socketpair()
        self._channel = _Channel(own)
        entry = Entry(
            init=self._holder.init,
            limits=self._limits,
            gpu=self._gpu,
            loopback=self._loopback,
            folder=self._folder(),
            owner=os.getpid(),
            channel=inside,
            output=output,
            status=status,
        )
        sys.stdout.flush()
        sys.stderr.flush()
        self._started = time.monotonic()
        self._child = os.fork()
        if not self._child:
            enter_and_work(entry, work)
        inside.close()
        os.close(output)
        os.close(status)
        return self._channel

    def kill(self) -> None:
        """Kill everything in it, without waiting for its end; the rest is closed when the block is left."""
        self._holder.kill()

    def check(self) -> None:
        """Look at the inmate without waiting: output, time, memory, processes, files, end; call it every 50 ms.

        Raises CellError when it did what it may not, or died: by a signal, or with a status that is not 0;
        `stopped_by` keeps it.
        """
        try:
            self._look()
        except CellError as error:
            self.stopped_by = error
            raise

    def _look(self) -> None:
        self._drain()
        if self._printed > self._limits.output_bytes:
            raise CellError("output", f"It wrote more than {in_units(self._limits.output_bytes)} to its output.")
        self._hold_to_its_time()
        hold_to(self._limits, self._holder.processes)
        for folder in self._holder.memory_folders:
            hold_names_to(self._limits, folder)
        self._hold_files()
        if self.ended is not None:
            self._drain()
            _judge(self.ended)

    def _hold_files(self) -> None:
        now, processes = time.monotonic(), self._holder.processes
        looks_closely = now - self._looked_closely > CLOSE_LOOK_SECONDS
        self._looked_closely = now if looks_closely else self._looked_closely
        for mount in self._mounts:
            if mount.writable:
                hold_files_to(self._limits, str(mount.source), processes, mount.target)
                if looks_closely:
                    refuse_hidden_files(processes, mount.target)

    def cpu_seconds(self) -> float:
        """CPU seconds of all that has run in it, on the kernel's account; NaN where that cannot be read."""
        return cpu_seconds(self._holder.processes)

    @property
    def ended(self) -> Ended | None:
        """How the inmate ended; None while it lives. What it left behind lives until the cell is closed."""
        if self._ended is None and self._child is not None:
            with suppress(BlockingIOError):
                self._ended = _read_end(os.read(self._status, 4))
        return self._ended

    @property
    def output_tail(self) -> str:
        """The end of what it printed, at most 4 KiB. Hostile text: quote it where it is shown."""
        return self._tail.decode(errors="replace")

    def _hold_to_its_time(self) -> None:
        now, limits = time.monotonic(), self._limits
        if now - self._started > limits.wall_seconds:
            raise CellError("time", f"It ran longer than {limits.wall_seconds:g} s.")
        if self._channel is not None and now - self._channel.used > limits.silent_seconds:
            raise CellError("silence", f"It said nothing for {limits.silent_seconds:g} s.")

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while self._printed <= self._limits.output_bytes:
                said = os.read(self._output, CHUNK_BYTES)
                if not said:
                    break
                self._printed += len(said)
                self._tail = (self._tail + said)[-TAIL_BYTES:]

    def _folder(self) -> str:
        return next((mount.target for mount in self._mounts if mount.writable), "/")


def _read_end(told: bytes) -> Ended:
    """From the four bytes of a wait status; none at all when the cell was killed over its head."""
    if not told:
        return Ended(None, signal.SIGKILL)
    status = int.from_bytes(told, "little")
    if os.WIFSIGNALED(status):
        return Ended(None, os.WTERMSIG(status))
    return Ended(os.WEXITSTATUS(status), None)


def _judge(ended: Ended) -> None:
    if ended.signal is not None:
        hint = "; the machine may have run out of memory" if ended.signal == signal.SIGKILL else ""
        raise CellError("died", f"It died of signal {ended.signal} ({_signal_name(ended.signal)}){hint}.")
    if ended.status:
        raise CellError("died", f"It ended with status {ended.status} instead of its result.")


def _signal_name(number: int) -> str:
    return next((one.name for one in signal.Signals if one == number), "unknown")
