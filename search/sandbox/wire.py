"""Messages between a minder and its inmate: a short JSON header and raw bytes, read as from an enemy."""

from __future__ import annotations

import json
import math
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from data.errors import ScaleproofError
from scaling.training import FailedError

HEADER_BYTES = 2**16
SLICE_SECONDS = 0.04
"""How often whoever waits looks after the one at the other end."""
READ_BYTES = 2**20

_FRAME = struct.Struct("<IQ")


class WireError(FailedError):
    """The other end said what it may not say, or not now: that ends its run."""


class ClosedError(ScaleproofError):
    """The other end is gone."""


@dataclass(frozen=True, slots=True)
class Message:
    """What was said: its kind, and what belongs to it, checked by whoever asks for it."""

    kind: str
    fields: Mapping[str, Any]
    payload: bytearray

    def whole(self, name: str, low: int, high: int) -> int:
        """A whole number between two bounds, both included; raises WireError for anything else."""
        value = self.fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise WireError(f"It spoke out of turn: {name} of its message {self.kind!r} is no number from {low} to {high}.")

    def real(self, name: str) -> float:
        """A number, or NaN where it said null; raises WireError for anything else."""
        value = self.fields.get(name)
        if value is None:
            return math.nan
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300:
            return float(value)
        raise WireError(f"It spoke out of turn: {name} of its message {self.kind!r} is no number.")

    def text(self, name: str, longest: int) -> str:
        """Text, cut to a length, every character but printable ASCII escaped; "" where it gave none."""
        value = self.fields.get(name)
        return escaped(value if isinstance(value, str) else "", longest)


class Wire:
    """One end of a channel. `watch` is called every few milliseconds while this end waits, and may raise."""

    def __init__(self, channel: socket.socket, watch: Callable[[], None] = lambda: None) -> None:
        """Take over the channel."""
        self._channel = channel
        self._watch = watch
        self._looked = time.monotonic()
        channel.setblocking(False)

    def send(self, kind: str, payload: bytes | bytearray | memoryview = b"", /, **fields: object) -> None:
        """Say something. Raises ClosedError, and whatever the watch raises while the other end does not listen."""
        header = json.dumps({"kind": kind, **fields}, allow_nan=False).encode()
        body = memoryview(payload).cast("B")
        self._write(memoryview(_FRAME.pack(len(header), len(body)) + header))
        self._write(body)

    def receive(self, *kinds: str, payload: int = 0) -> Message:
        """Wait for a message of one of these kinds, with a payload of at most so many bytes.

        Raises:
            WireError: when something else is said; ClosedError when nothing more can be; whatever the watch raises.
        """
        length, size = _FRAME.unpack(self._read(_FRAME.size))
        if length > HEADER_BYTES:
            raise WireError(f"It spoke out of turn: a message's head has {length} bytes.")
        fields = _parsed(self._read(length))
        kind = fields.pop("kind", None)
        if kind not in kinds:
            raise WireError(f"It spoke out of turn: {escaped(str(kind), 40)!r} where {' or '.join(kinds)} was due.")
        if size > payload:
            raise WireError(f"It spoke out of turn: {size} bytes come with {kind!r}, {payload} at most may.")
        return Message(kind, fields, self._read(size))

    def expect(self, kind: str, size: int) -> bytearray:
        """Wait for the payload of a message of this kind, of exactly so many bytes; raises as `receive` does."""
        payload = self.receive(kind, payload=size).payload
        if len(payload) != size:
            raise WireError(f"It spoke out of turn: {len(payload)} bytes come with {kind!r}, {size} are due.")
        return payload

    def _write(self, left: memoryview) -> None:
        while left:
            try:
                left = left[self._channel.send(left) :]
            except BlockingIOError:
                self._wait(select.POLLOUT)
            except OSError as error:
                raise ClosedError("It closed its channel.") from error
            self._look()

    def _read(self, size: int) -> bytearray:
        # Grown as bytes come: a size that is only announced costs nothing.
        got = bytearray()
        while len(got) < size:
            try:
                part = self._channel.recv(min(READ_BYTES, size - len(got)))
            except BlockingIOError:
                self._wait(select.POLLIN)
                continue
            except OSError as error:
                raise ClosedError("It closed its channel.") from error
            if not part:
                raise ClosedError("It closed its channel.")
            got += part
            self._look()
        return got

    def _wait(self, for_what: int) -> None:
        poll = select.poll()
        poll.register(self._channel, for_what)
        poll.poll(SLICE_SECONDS * 1000)
        self._look()

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked >= SLICE_SECONDS:
            self._looked = now
            self._watch()


def escaped(text: str, longest: int) -> str:
    """Hostile text made printable ASCII, and cut."""
    plain = text[:longest].encode("unicode_escape").decode("ascii")
    return plain if len(plain) <= longest else plain[:longest]


def _parsed(header: bytearray) -> dict[str, Any]:
    try:
        fields = json.loads(bytes(header), parse_constant=_refused)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise WireError("It spoke out of turn: the head of its message is no JSON object.")
    return fields


def _refused(constant: str) -> None:
    raise ValueError(constant)
