"""A minder's conversation with its inmate, in which whatever the inmate does wrong ends the run by name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from scaling.loading import RecipeError
from scaling.runs import IN_EVALUATION, REJECTED
from scaling.training import FailedError
from search.sandbox.cell import Cell
from search.sandbox.inmate import Work
from search.sandbox.limits import CellError
from search.sandbox.wire import ClosedError, Message, Wire, WireError, escaped

SECONDS_TO_END = 2.0
"""How long an inmate that closed its channel may take to end."""
TEXT_CHARACTERS = 600
TAIL_CHARACTERS = 1500
LINE_CHARACTERS = 160

HUSHED = f"{IN_EVALUATION}: {{}}."
KNOWN_ERRORS = frozenset(
    {
        "AssertionError",
        "AttributeError",
        "IndexError",
        "KeyError",
        "MemoryError",
        "OutOfMemoryError",
        "RecipeError",
        "RuntimeError",
        "TypeError",
        "ValueError",
    }
)
"""What is said by name: each more is a word that an inmate can choose."""
ENDED = "it ended before it was done; the machine may have run out of memory"


class Talk:
    """Starts an inmate in a cell and speaks with it, with an eye on the cell while this waits.

    Every method raises FailedError, or RecipeError where the recipe broke its contract, for what the inmate does wrong.
    """

    def __init__(self, cell: Cell, work: Work, text: str) -> None:
        """Run `work` in the cell; `text` is the recipe, whose lines are quoted where it crashes."""
        self._cell, self._lines = cell, text.splitlines()
        self._hushed = False
        self._wire = Wire(cell.run(work), cell.check)

    def hush(self) -> None:
        """Repeat nothing of what the inmate says from here on: it is about to read held-out text."""
        self._hushed = True

    def send(self, kind: str, payload: bytes | bytearray | memoryview = b"", /, **fields: object) -> None:
        """Say something."""
        with self._judged():
            self._wire.send(kind, payload, **fields)

    def cpu_seconds(self) -> float:
        """CPU seconds that the processes of its cell have used so far; see `Cell.cpu_seconds`."""
        return self._cell.cpu_seconds()

    def hear(self, *kinds: str, payload: int = 0) -> Message:
        """Wait for a message of one of these kinds, with at most so many bytes."""
        with self._judged():
            message = self._wire.receive(*kinds, "failed", payload=payload)
        if message.kind == "failed":
            raise self._failure(message)
        return message

    def expect(self, kind: str, size: int) -> bytearray:
        """Wait for exactly so many bytes."""
        payload = self.hear(kind, payload=size).payload
        with self._judged():
            if len(payload) != size:
                raise WireError(f"It spoke out of turn: {len(payload)} bytes come with {kind!r}, {size} are due.")
        return payload

    @contextmanager
    def _judged(self) -> Iterator[None]:
        try:
            yield
        except CellError as error:
            raise self._stopped(error) from error
        except WireError as error:
            if not self._hushed:
                raise
            raise _hushed("it spoke out of turn") from error
        except ClosedError as error:
            raise self._end() from error

    def _end(self) -> FailedError | RecipeError:
        """Why the channel is closed: what it said last, or how it died."""
        with suppress(WireError, ClosedError, CellError):
            return self._failure(self._wire.receive("failed"))
        deadline = time.monotonic() + SECONDS_TO_END
        try:
            while self._cell.ended is None and time.monotonic() < deadline:
                self._cell.check()
                time.sleep(0.005)
            self._cell.check()
        except CellError as error:
            return self._stopped(error)
        if self._hushed:
            return _hushed(ENDED)
        if self._cell.ended is None:
            return FailedError("It closed its channel and did not end.")
        return FailedError("It ended without giving its result.")

    def _stopped(self, error: CellError) -> FailedError:
        """Limits are the harness's own words; how it died, an inmate may choose."""
        return _hushed(ENDED) if self._hushed and error.kind == "died" else FailedError(str(error))

    def _failure(self, message: Message) -> FailedError | RecipeError:
        if self._hushed:
            name = message.fields.get("name")
            return _hushed(name if isinstance(name, str) and name in KNOWN_ERRORS else "another error")
        text = message.text("text", TEXT_CHARACTERS)
        if message.fields.get("contract") == 1:
            return RecipeError(text)
        return FailedError("\n".join([text, *self._quoted(message.fields.get("frames"))])[:TAIL_CHARACTERS])

    def _quoted(self, frames: object) -> Iterator[str]:
        """The recipe's own lines that an error passed, the innermost last; none where the frames make no sense."""
        for frame in frames if isinstance(frames, list) else ():
            match frame:
                case [int(number), str(name)] if 0 < number <= len(self._lines):
                    line = escaped(self._lines[number - 1].strip(), LINE_CHARACTERS)
                    yield f"> line {number}, in {escaped(name, 40)}: {line}"


def _hushed(what: str) -> FailedError:
    return FailedError(REJECTED + HUSHED.format(what))
