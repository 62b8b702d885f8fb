"""Reading a streamed answer, but not for ever: signs of life keep a connection open, and are no answer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.claude.backoff import TroubleError
from search.claude.errors import StoppedError

if TYPE_CHECKING:
    import httpx2
    from anthropic import Stream

_LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds for one answer: in all, and from when the search is to end."""

    answer_seconds: float = 1800.0
    stopping_seconds: float = 30.0


def in_time(stream: Stream[Any], stopping: threading.Event, limits: Limits) -> Generator[Any, None, None]:
    """The events of a stream; its connection is cut once a limit is passed.

    Raises TroubleError when the answer takes too long, StoppedError when the search is to end.
    """
    watch = _Watch(stream.response, stopping, limits)
    kind = ""
    try:
        for event in stream:
            kind = event.type
            yield event
    except Exception:
        if watch.over is None:
            raise
    finally:
        watch.end()
    # What came whole is paid for, and taken.
    if watch.over is not None and kind != "message_stop":
        raise watch.over


class _Watch:
    """A thread that cuts a connection: the one that reads waits in a call that nothing else can end."""

    def __init__(self, response: httpx2.Response, stopping: threading.Event, limits: Limits) -> None:
        self.over: TroubleError | StoppedError | None = None
        self._response, self._stopping, self._limits = response, stopping, limits
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._wait, name="deadline", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._done.set()
        self._thread.join()

    def _wait(self) -> None:
        began, limits = time.monotonic(), self._limits
        until = began + limits.answer_seconds
        stop_at = None
        while not self._done.wait(_LOOK_SECONDS):
            now = time.monotonic()
            if stop_at is None and self._stopping.is_set():
                stop_at = now + limits.stopping_seconds
            if stop_at is not None and now >= stop_at:
                self.over = StoppedError("The search is to end; the answer under way is not waited for.")
            elif now >= until:
                self.over = TroubleError(f"no whole answer in {limits.answer_seconds / 60:.0f} minutes")
            if self.over is not None:
                _cut(self._response)
                return


def _cut(response: httpx2.Response) -> None:
    stream = response.extensions.get("network_stream")
    connection = None if stream is None else stream.get_extra_info("socket")
    # Closing it would not wake the reader. An encrypted socket's own method would take its state away meanwhile.
    with suppress(OSError):
        if isinstance(connection, socket.socket):
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
