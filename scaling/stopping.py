"""Asked to stop: at the first signal after the runs under way, at the second at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType


class StoppedError(KeyboardInterrupt):
    """The work was asked to stop, and did; what has ended is kept.

    Also how a wait ends whose outcome nobody wants any more.
    """


class Stopping:
    """Whether to stop, and a file descriptor that wakes whoever waits; see `heed_signals`.

    `event` is for threads that wait for something else: once it is set, they are to end. `wake` may be called from any
    thread, for any news.
    """

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.event = threading.Event()
        self._asked = False
        self._readable, self._writable = os.pipe()
        os.set_blocking(self._readable, False)
        os.set_blocking(self._writable, False)

    @property
    def asked(self) -> bool:
        """Whether to stop."""
        return self._asked

    def ask(self) -> None:
        """Ask to stop."""
        self._asked = True
        self.release()
        self.wake()

    def release(self) -> None:
        """Let threads that wait for something else end: nobody wants what they wait for."""
        self.event.set()

    def wake(self) -> None:
        """Make `fileno` readable."""
        with suppress(BlockingIOError, OSError):
            os.write(self._writable, b"x")

    def fileno(self) -> int:
        """A descriptor that can be read once somebody called `wake`."""
        return self._readable

    def awake(self) -> None:
        """Make `fileno` wait again."""
        with suppress(BlockingIOError):
            while os.read(self._readable, 4096):
                pass

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._readable)
        os.close(self._writable)


@contextmanager
def heed_signals(stopping: Stopping, say: Callable[[str], None]) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into a question to stop, the second into KeyboardInterrupt.

    Only the main thread can; elsewhere signals stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stopping.asked:
            raise KeyboardInterrupt
        stopping.ask()
        say("Stopping after what is under way; ask again to stop at once.")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
